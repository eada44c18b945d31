"""Rows of tables in any usual file: CSV, TSV, JSON Lines, JSON, Parquet, a saved data set, an AudioFolder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from echat_eval.errors import BadData, UsageError
from echat_eval.importers.draft import read_objects
from echat_eval.io.jsonl import loads, scan_rows
from echat_eval.io.schema import shorten
from echat_eval.io.text import codec_of

__all__ = ["TABLE_SUFFIXES", "columns_of", "read_rows", "table_files"]

#: Suffixes of tables.
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".arrow")
#: Limit for one cell of a CSV file; a reply or a dialogue in JSON is far shorter.
MAX_CELL_CHARACTERS = 2**20
#: Names of the file that lists the audio of an AudioFolder.
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_DELIMITERS = (",", ";", "\t")
#: Rows in which a column may be absent from a file of JSON objects before it counts as missing.
_PEEKED = 200

#: (location, row), or (location, why the line is no row).
Row = tuple[str, Mapping[str, Any] | str]


def table_files(source: Path, pattern: str | None = None) -> list[Path]:
    """Return the table files of a source, in order.

    Args:
        source: a file; a folder that holds Parquet files, a data set saved by the `datasets` library, an
            AudioFolder or one table.
        pattern: glob of the files below the folder, if it holds several tables.

    Raises:
        UsageError: no table there, or several of which one must be named.
    """
    if source.is_file():
        if source.suffix.lower() not in TABLE_SUFFIXES:
            raise UsageError(
                f"{source}: expected a table ({', '.join(TABLE_SUFFIXES)}) or a folder; convert it, or name "
                "another data format"
            )
        return [source]
    if pattern is not None:
        found = sorted(path for path in source.glob(pattern) if path.is_file())
        if not found:
            raise UsageError(f"{source}: no file matches {pattern!r} below it")
        return found
    if (source / "dataset_dict.json").is_file():
        return _saved(_only_split(source))
    if (source / "state.json").is_file():
        return _saved(source)
    metadata = [path for name in _METADATA for path in sorted(source.rglob(name))]
    if metadata:
        return [_only_one(source, metadata)]
    parquet = sorted(source.rglob("*.parquet"))
    if parquet:
        return _one_split(source, parquet)
    return [_only_one(source, sorted(p for p in source.rglob("*") if p.suffix.lower() in TABLE_SUFFIXES))]


def _only_one(source: Path, found: Sequence[Path]) -> Path:
    if not found:
        raise UsageError(f"{source}: no table ({', '.join(TABLE_SUFFIXES)}) below it")
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(source)) for path in found[:5])
        raise UsageError(f"{source}: several tables below it ({names}); name one, or several with --files")
    return found[0]


def _only_split(source: Path) -> Path:
    splits: Any = _json_file(source / "dataset_dict.json").get("splits")
    if not isinstance(splits, list) or not all(isinstance(split, str) for split in splits) or not splits:
        raise BadData(f"{source / 'dataset_dict.json'}: names no splits; save the data set again")
    if len(splits) > 1:
        raise UsageError(f"{source}: holds the splits {', '.join(splits)}; name one: {source / splits[0]}")
    split = str(splits[0])
    if Path(split).name != split:
        raise BadData(f"{source / 'dataset_dict.json'}: split {shorten(split)} is no folder's name")
    return source / split


def _saved(folder: Path) -> list[Path]:
    """Return the files of a data set that `save_to_disk` wrote, as its state lists them."""
    listed: Any = _json_file(folder / "state.json").get("_data_files")
    entries = listed if isinstance(listed, list) else []
    names = [str(entry.get("filename")) for entry in entries if isinstance(entry, dict)]
    if not names or any(Path(name).name != name for name in names):
        raise BadData(f"{folder / 'state.json'}: lists no data files; save the data set again")
    if gone := [name for name in names if not (folder / name).is_file()]:
        raise BadData(f"{folder / gone[0]}: no such file; copy the whole saved data set")
    return [folder / name for name in names]


def _one_split(source: Path, files: list[Path]) -> list[Path]:
    """Return Parquet files of one split; the hub names them `SPLIT-00000-of-00003.parquet`."""
    splits = sorted({path.parent / path.name.partition("-")[0] for path in files if "-of-" in path.name})
    if len(splits) > 1:
        names = ", ".join(str(split.relative_to(source)) for split in splits[:8])
        raise UsageError(
            f"{source}: Parquet files of several splits or subsets below it ({names}); choose with --files "
            f"'{splits[0].relative_to(source)}-*.parquet'"
        )
    return files


def _json_file(path: Path) -> Mapping[str, Any]:
    try:
        value = loads(path.read_bytes())
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise BadData(f"{path}: not JSON: {error}") from error
    return value if isinstance(value, dict) else {}


def columns_of(path: Path) -> list[str]:
    """Return the names of a table's columns; of JSON objects, the keys of the first rows.

    Raises:
        BadData: the file cannot be read.
    """
    if path.suffix.lower() in (".parquet", ".arrow"):
        from echat_eval.importers.arrow_files import arrow_columns

        return arrow_columns(path)
    names: dict[str, None] = {}
    for number, (_, row) in enumerate(read_rows(path)):
        if number >= _PEEKED:
            break
        if isinstance(row, Mapping):
            names.update(dict.fromkeys(row))
            if path.suffix.lower() in (".csv", ".tsv"):
                break
    return list(names)


def read_rows(path: Path) -> Iterator[Row]:
    """Yield (location, row) of a table, one at a time; in place of a faulty line, why it is no row.

    Raises:
        BadData: the file as a whole cannot be read.
    """
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        yield from _csv_rows(path)
    elif kind in (".parquet", ".arrow"):
        from echat_eval.importers.arrow_files import arrow_rows

        yield from arrow_rows(path)
    elif kind == ".json":
        for location, value in read_objects(path):
            yield location, value if isinstance(value, dict) else "not a JSON object"
    else:
        try:
            for number, row in scan_rows(path):
                yield f"{path.name}:{number}", row
        except OSError as error:
            raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error


def _csv_rows(path: Path) -> Iterator[Row]:
    limit = csv.field_size_limit(MAX_CELL_CHARACTERS)
    try:
        with path.open("rb") as raw:
            codec = codec_of(raw.read(4))
            raw.seek(0)
            with io.TextIOWrapper(raw, encoding=codec, newline="") as file:
                first = file.readline()
                reader = csv.reader([first], delimiter=(delimiter := _delimiter(path, first)))
                names = _header(path, next(reader, []))
                reader = csv.reader(file, delimiter=delimiter, strict=True)
                for cells in reader:
                    if not any(cells):
                        continue
                    location = f"{path.name}:{reader.line_num + 1}"
                    if len(cells) != len(names):
                        yield location, f"has {len(cells)} cells, the header {len(names)}"
                    else:
                        yield location, dict(zip(names, cells, strict=True))
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeError as error:
        raise BadData(f"{path}: is not {codec.upper().removesuffix('-SIG')}; save it as UTF-8") from error
    except csv.Error as error:
        raise BadData(f"{path}:{reader.line_num + 1}: not a row of a CSV file: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _delimiter(path: Path, header: str) -> str:
    """Return what separates the names: a tab in .tsv; in .csv the most frequent of comma, semicolon, tab."""
    return "\t" if path.suffix.lower() == ".tsv" else max(_DELIMITERS, key=header.count)


def _header(path: Path, names: list[str]) -> list[str]:
    if not any(names):
        raise BadData(f"{path}:1: expected the names of the columns, found an empty line")
    names = [name.strip() for name in names]
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise BadData(f"{path}:1: column '{twice[0]}' twice; rename one of them")
    return names
