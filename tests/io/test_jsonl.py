"""Strict JSON Lines: round trips, torn lines, and rejection of invalid ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from echat_eval.errors import BadData
from echat_eval.io import jsonl


def test_rows_come_back_as_written(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "text": "línea\u2028中"}, {"a": None}, {"a": [1.5, True]}]
    with jsonl.Appender(tmp_path / "x.jsonl") as appender:
        for row in rows:
            appender.append(row)
    assert [row for _, row in jsonl.read_rows(tmp_path / "x.jsonl")] == rows


@pytest.mark.parametrize("torn", [b'{"a":2', b'{"a":2}', b"\xe4\xb8", b"x" * 70_000])
def test_a_torn_last_line_is_removed_and_reported(
    tmp_path: Path, torn: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a":1}\n' + torn)
    with jsonl.Appender(path) as appender:
        appender.append({"a": 3})
    assert [row["a"] for _, row in jsonl.read_rows(path)] == [1, 3]
    assert f"torn ({len(torn)} bytes)" in caplog.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": 1, "a": 2}', "the same key twice"),
        ("[1]", "expected an object, got list"),
        ("{", "not strict JSON"),
        ("[" * 100_000, "not strict JSON"),
    ],
)
def test_a_line_that_is_not_strict_json_is_rejected_with_its_number(
    tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"ok": 1}\n' + line + "\n")
    with pytest.raises(BadData, match=message) as caught:
        list(jsonl.read_rows(path))
    assert f"{path}:2:" in str(caught.value)


def test_a_scan_goes_on_after_a_faulty_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n[1]\n\n{"a": 2}\n{"a": 3')
    rows = list(jsonl.scan_rows(path))
    assert rows[:3] == [(1, {"a": 1}), (2, "expected an object, got list"), (4, {"a": 2})]
    number, fault = rows[3]
    assert number == 5
    assert isinstance(fault, str)
    assert fault.endswith("; the file ends in the middle of a row")


def test_nan_is_never_written() -> None:
    with pytest.raises(BadData, match="strict JSON"):
        jsonl.dumps({"score": float("nan")})


def test_a_full_disk_raises_an_error() -> None:
    with pytest.raises(OSError, match="No space left"), jsonl.Appender(Path("/dev/full")) as appender:
        appender.append({"a": 1})


def test_a_failed_atomic_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    jsonl.write_rows(path, [{"a": 1}])

    def rows() -> Iterator[dict[str, int]]:
        yield {"a": 2}
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        jsonl.write_rows(path, rows())
    assert path.read_text() == '{"a":1}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["x.jsonl"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (rb'{"a": "\ud800"}', "lone surrogate"),
        (rb'{"a": ["\uDC00\uD800"]}', "lone surrogate"),
        (rb'{"\udfff": 1}', "lone surrogate"),
        (b'{"a": 1e999}', "1e999 is too large"),
        (b'{"a": -1e999}', "too large"),
        (b'{"a": ' + b"9" * 6000 + b"}", "not strict JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_a_value_that_cannot_be_written_again_is_refused(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(BadData, match=r"x\.jsonl:2: ") as caught:
        list(jsonl.read_rows(path))
    assert reason in str(caught.value)


def test_pairs_of_surrogates_and_large_numbers_are_read() -> None:
    text = r'{"a": "\ud83d\ude00", "b": 1e308}'
    assert jsonl.loads(text) == jsonl.loads(text.encode()) == {"a": "\N{GRINNING FACE}", "b": 1e308}
