"""Table files of every kind give the same rows; a file that cannot be read is one clear line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from echat_eval.errors import BadData, NotInstalled, UsageError
from echat_eval.importers.table_files import columns_of, read_rows, table_files

ROWS = [{"id": "a", "text": "Hé, “you”"}, {"id": "b", "text": "line\nbreak; tab\t."}]
FEATURES = {"info": {"features": {"label": {"names": ["sad", "happy"], "_type": "ClassLabel"}}}}


def csv_text(delimiter: str) -> str:
    return f'id{delimiter}text\na{delimiter}"Hé, “you”"\n\nb{delimiter}"line\nbreak; tab\t."\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", csv_text(",").encode()),
        ("x.csv", csv_text(";").encode("utf-8-sig")),
        ("x.csv", csv_text("\t").encode("utf-16")),
        ("x.tsv", csv_text("\t").encode()),
        ("x.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS).encode()),
        ("x.json", json.dumps(ROWS).encode()),
    ],
)
def test_text_tables_give_the_same_rows(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert [row for _, row in read_rows(path)] == ROWS
    assert columns_of(path) == ["id", "text"]
    assert table_files(tmp_path) == [path]


def test_location_is_the_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("id,text\na,b\n\nc,d\n")
    assert [location for location, _ in read_rows(path)] == ["x.csv:2", "x.csv:4"]


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("x.csv", b"", "x.csv:1: expected the names of the columns, found an empty line"),
        ("x.csv", b"a,b,a\n1,2,3\n", "x.csv:1: column 'a' twice; rename one of them"),
        ("x.csv", b"a,b\n\xff,1\n", "x.csv: is not UTF-8; save it as UTF-8"),
        ("x.csv", b'a,b\n"1,2\n', "x.csv:2: not a row of a CSV file: unexpected end of data"),
        ("x.parquet", b"PAR1 no", "x.parquet: not a Parquet file, or damaged ("),
        ("x.arrow", b"nothing", "x.arrow: not an Arrow file of a saved data set, or damaged ("),
    ],
)
def test_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadData) as raised:
        list(read_rows(tmp_path / name))
    message = str(raised.value).removeprefix(f"{tmp_path}/")
    assert message.startswith(fault)
    assert "\n" not in message


def test_row_with_other_cells_than_the_header_is_a_fault_of_that_row(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2,3\n4,5\n")
    assert list(read_rows(tmp_path / "x.csv")) == [
        ("x.csv:2", "has 3 cells, the header 2"),
        ("x.csv:3", {"a": "4", "b": "5"}),
    ]


def write_parquet(path: Path, rows: list[dict[str, Any]], **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, **more)
    return path


def test_parquet_rows_have_numbers_and_names_of_classes(tmp_path: Path) -> None:
    table = pyarrow.Table.from_pylist([{"label": 1, "n": 0.5}, {"label": None, "n": None}])
    table = table.replace_schema_metadata({"huggingface": json.dumps(FEATURES)})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    assert list(read_rows(tmp_path / "x.parquet")) == [
        ("x.parquet#1", {"label": "happy", "n": 0.5}),
        ("x.parquet#2", {"label": None, "n": None}),
    ]


def test_broken_row_group_is_one_line(tmp_path: Path) -> None:
    rows = [{"id": f"row {number}", "text": "some words " * 9} for number in range(300)]
    path = write_parquet(tmp_path / "x.parquet", rows, row_group_size=100, compression="snappy")
    content = bytearray(path.read_bytes())
    second = pyarrow.parquet.ParquetFile(path).metadata.row_group(1).column(0)
    start = second.dictionary_page_offset or second.data_page_offset
    content[start : start + 200] = b"\xff" * 200
    path.write_bytes(bytes(content))
    with pytest.raises(BadData) as raised:
        list(read_rows(path))
    assert str(raised.value).startswith(f"{path}: row group 2 of 3 cannot be read (")
    assert str(raised.value).endswith("); fetch or write the file again")
    assert "\n" not in str(raised.value)


def test_data_set_saved_on_disk_is_read_as_its_state_lists(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "test"
    folder.mkdir(parents=True)
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["test"]}')
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    for name, row in zip(names, ROWS, strict=True):
        table = pyarrow.Table.from_pylist([row])
        with (
            pyarrow.OSFile(str(folder / name), "wb") as file,
            pyarrow.ipc.new_stream(file, table.schema) as out,
        ):
            out.write_table(table)
    files = table_files(tmp_path / "set")
    assert files == table_files(folder)
    assert [row for path in files for _, row in read_rows(path)] == ROWS
    (folder / names[1]).unlink()
    with pytest.raises(BadData, match="no such file; copy the whole saved data set"):
        table_files(folder)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "../../x.arrow"}]}')
    with pytest.raises(BadData, match="lists no data files"):
        table_files(folder)


def test_splits_are_never_mixed(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(UsageError, match=r"holds the splits train, test; name one: .*/train"):
        table_files(tmp_path)
    (tmp_path / "dataset_dict.json").unlink()
    for split in ("train", "test"):
        write_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet", ROWS)
    with pytest.raises(UsageError, match=r"\(data/test, data/train\); choose with --files 'data/test-\*"):
        table_files(tmp_path)
    assert [path.name for path in table_files(tmp_path, "data/test-*")] == ["test-00000-of-00001.parquet"]
    with pytest.raises(UsageError, match="no file matches 'x' below it"):
        table_files(tmp_path, "x")


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "x.parquet", ROWS)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(NotInstalled, match=r"needs pyarrow; install it: pip install 'echat-eval\[hub\]'"):
        list(read_rows(path))


def test_several_tables_are_refused(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("x\n1\n")
    with pytest.raises(UsageError, match=r"several tables below it \(a.csv, b.csv\); name one"):
        table_files(tmp_path)
    (tmp_path / "c.xlsx").write_text("x")
    with pytest.raises(UsageError, match=r"expected a table \(.csv, .tsv"):
        table_files(tmp_path / "c.xlsx")
