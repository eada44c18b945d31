"""Folders that a killed command left half made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from echat_eval.errors import Busy, UsageError
from echat_eval.io.hashing import file_sha256
from echat_eval.io.unfinished import JOURNAL, Journal, NewFolder, is_half_made
from tests.support.kills import contents, disk_steps, killed_before_step

COMMAND = "echat-eval export requests"


def make(out: Path, source: Path) -> None:
    with NewFolder(out, COMMAND, beside=[f"{out.name}.key"]) as folder:
        folder.write("audio/a.wav", b"sound a")
        folder.copy("audio/b.wav", source, file_sha256(source))
        folder.write("audio/unused.wav", b"unused")
        folder.remove("audio/unused.wav")
        folder.write("rows.jsonl", "{}\n")
        folder.write(f"../{out.name}.key", "key")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.wav"
    path.write_bytes(b"sound b")
    return path


def killed(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, step: int = 5) -> Path:
    """Return a folder that was half made when its command was killed."""
    out = tmp_path / "out"
    assert killed_before_step(step, lambda: make(out, source), monkeypatch)
    assert is_half_made(out)
    return out


def test_the_same_command_replaces_its_half_made_folder(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole" / "out"
    steps = disk_steps(lambda: make(whole, source), monkeypatch)
    for step in range(steps):
        out = tmp_path / f"killed {step}" / "out"
        assert killed_before_step(step, lambda: make(out, source), monkeypatch)  # noqa: B023
        make(out, source)
        assert contents(out.parent) == contents(whole.parent), step


def test_a_finished_folder_is_refused(tmp_path: Path, source: Path) -> None:
    make(tmp_path / "out", source)
    assert not is_half_made(tmp_path / "out")
    with pytest.raises(UsageError, match="not empty; choose another --out"):
        make(tmp_path / "out", source)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="a file, expected a folder; choose another --out"):
        make(tmp_path / "file", source)


def add_file(out: Path) -> None:
    (out / "mine.txt").write_text("mine")


def add_folder(out: Path) -> None:
    (out / "mine").mkdir()


def add_link(out: Path) -> None:
    (out / "audio" / "mine").symlink_to(out)


def change_file(out: Path) -> None:
    (out / "audio" / "a.wav").write_bytes(b"mine")


def add_key(out: Path) -> None:
    out.with_name(f"{out.name}.key").write_text("mine")


@pytest.mark.parametrize("touch", [add_file, add_folder, add_link, change_file, add_key])
def test_a_half_made_folder_with_anything_of_the_user_is_refused(
    touch: Callable[[Path], None], tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = killed(tmp_path, source, monkeypatch)
    touch(out)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="move it away or choose another --out"):
        make(out, source)
    assert contents(tmp_path) == before


def test_another_command_is_refused(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = killed(tmp_path, source, monkeypatch)
    with pytest.raises(UsageError, match=f"`{COMMAND}` was interrupted"), NewFolder(out, "echat-eval import"):
        pass
    make(out, source)


def test_two_processes_do_not_write_one_folder(tmp_path: Path) -> None:
    with NewFolder(tmp_path / "out", COMMAND) as folder:
        folder.write("a", "a")
        with pytest.raises(Busy, match="another process"), NewFolder(tmp_path / "out", COMMAND):
            pass
    assert contents(tmp_path) == {"out/a": b"a"}


def test_a_failed_command_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), NewFolder(tmp_path / "out", COMMAND) as folder:
        folder.copy(folder.write("audio/a.wav", b"a").name, tmp_path / "nowhere", "0")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../victim", "/etc/victim", "a/../../victim", ""])
def test_a_journal_cannot_name_files_elsewhere(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    entry = f'{{"name": "{name}", "sha256": "0"}}'
    (out / JOURNAL).write_text(f'{{"made_by": "{COMMAND}"}}\n{entry}\n')
    (tmp_path / "victim").write_text("mine")
    with pytest.raises(UsageError, match="damaged"), NewFolder(out, COMMAND):
        pass
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_torn_journal_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / JOURNAL).write_text('{"made_by": "x"}\n{"name": "a", "sha256": "1"}\n{"name": "b", "sh')
    with Journal(out, "x") as journal:
        assert journal.earlier == {"a": {"1"}}
