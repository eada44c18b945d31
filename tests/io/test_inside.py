"""Names in rows lead to files of the row's folder only."""

from __future__ import annotations

from pathlib import Path

import pytest

from echat_eval.errors import BadData
from echat_eval.io.inside import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for name in ("in/a.wav", "in/deep/b.wav", "out/c.wav", "inside.wav"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "in" / "near.wav").symlink_to("a.wav")
    (tmp_path / "in" / "far.wav").symlink_to("../out/c.wav")
    (tmp_path / "in" / "farther").symlink_to("../out")
    (tmp_path / "in" / "beside.wav").symlink_to("../inside.wav")
    (tmp_path / "in" / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "also").symlink_to("in")
    return Folder(tmp_path / "also", "the task's folder")


@pytest.mark.parametrize(
    "name", ["a.wav", "deep/b.wav", "./a.wav", "near.wav", "not there.wav", "no/such/one"]
)
def test_files_of_the_folder(folder: Folder, name: str) -> None:
    assert folder.file(name) == folder.path / name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("far.wav", "a link that leaves the task's folder"),
        ("farther/c.wav", "a link that leaves the task's folder"),
        ("beside.wav", "a link that leaves the task's folder"),
        ("../out/c.wav", "leaves the task's folder; expected a relative path"),
        ("/etc/passwd", "leaves the task's folder; expected a relative path"),
        ("a\0.wav", "no such file"),
        ("\ud800.wav", "no such file"),
        ("x" * 5000, "no such file"),
        ("a.wav/b.wav", "no such file"),
    ],
)
def test_other_paths_are_refused(folder: Folder, name: str, message: str) -> None:
    with pytest.raises(BadData, match=message):
        folder.file(name)


def test_a_link_to_itself_is_no_file_elsewhere(folder: Folder) -> None:
    assert not folder.file("loop.wav").is_file()
