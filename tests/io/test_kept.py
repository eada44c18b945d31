"""What is kept is found again; a fault of its file, of whatever kind, means that nothing was."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from echat_eval.io import kept as module
from echat_eval.io.kept import keep, kept


def text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


def deep(path: Path) -> None:
    path.write_text("[" * 200_000)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def memory(path: Path) -> None:
    path.symlink_to("/proc/self/mem")


@pytest.mark.parametrize(
    "make",
    [text(""), text("[1]"), text('{"a": Infinity}'), text("{"), deep, Path.mkdir, os.mkfifo, device, memory],
)
def test_a_faulty_file_holds_nothing_and_can_be_replaced(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    make(path)
    assert kept(path) == {}
    keep(path, {"a": 1})
    assert kept(path) == ({} if path.is_dir() else {"a": 1})


def test_only_plain_json_of_bounded_size_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    keep(path, {"a": "\udcff"})
    keep(path, {"a": float("nan")})
    assert not list(tmp_path.iterdir())
    keep(path, {"a": 1})
    keep(tmp_path / "a.json" / "b.json", {"a": 1})
    assert kept(path) == {"a": 1}
    monkeypatch.setattr(module, "_MAX_BYTES", 3)
    assert kept(path) == {}
