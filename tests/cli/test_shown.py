"""A run is shown from what a command kept, and from its rows as soon as anything has changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from echat_eval.api.shown import keep_shown
from echat_eval.cli.shown import kept
from echat_eval.leaderboard import view
from echat_eval.leaderboard.build import build_leaderboard
from echat_eval.leaderboard.view import LeaderboardView
from echat_eval.store.settled import view_mark
from tests.support.command_line import call_here


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with every leaderboard that is made from rows."""
    seen: list[str] = []
    build = build_leaderboard

    def count(*args: Any, **options: Any) -> Any:
        seen.append("built")
        return build(*args, **options)

    monkeypatch.setattr(view, "build_leaderboard", count)
    return seen


def change_score(folder: Path) -> None:
    file = folder / "scores.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        if row["metric"] == "empty_reply" and row["value"] is not None:
            row["value"] = 100.0
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_show_and_run_print_what_they_printed_until_something_changes(
    tmp_path: Path, tones: Path, counted: list[str]
) -> None:
    folder = tmp_path / "run"
    command = ("run", "--system", "canned", "--data", tones, "--task", "emotion", "--annotator", "acoustics")
    first = call_here(*command, "--out", folder, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    written = {path.name: path.read_bytes() for path in folder.glob("leaderboard.*")}
    counted.clear()
    again, shown = call_here(*command, "--out", folder, cwd=tmp_path), call_here("show", folder, cwd=tmp_path)
    assert not counted
    assert again.stdout == first.stdout
    assert again.stdout.startswith(shown.stdout)
    assert call_here("show", folder, "--headline", "empty_reply", cwd=tmp_path).stdout != shown.stdout
    counted.clear()

    for damage in (
        lambda: (folder / "leaderboard.md").write_text("edited"),
        lambda: (folder / "leaderboard.csv").unlink(),
    ):
        damage()
        assert call_here(*command, "--out", folder, cwd=tmp_path).stdout == first.stdout
        assert {path.name: path.read_bytes() for path in folder.glob("leaderboard.*")} == written
        assert counted.pop() == "built"

    change_score(folder)
    assert call_here("show", folder, cwd=tmp_path).stdout != shown.stdout
    assert counted


def test_edited_words_are_not_shown(tmp_path: Path) -> None:
    words = {"blocks": [], "beside": [], "notes": ["50.0"], "all_failed": False, "missing": False}
    keep_shown(tmp_path, words, view_mark(tmp_path))
    found = kept(tmp_path)
    assert found is not None
    assert found.notes == ["50.0"]
    file = tmp_path / ".shown.json"
    file.write_text(file.read_text().replace("50.0", "77.7"))
    assert kept(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", '{"of": 1}', '{"of": "", "shown": [1]}'])
def test_a_damaged_file_is_ignored(text: str, tmp_path: Path) -> None:
    (tmp_path / ".shown.json").write_text(text)
    assert kept(tmp_path) is None
    keep_shown(tmp_path, {"blocks": [1]}, view_mark(tmp_path))
    assert kept(tmp_path) is None


def test_no_fault_of_the_folder_or_of_what_is_kept_ends_a_command(
    tmp_path: Path, tones: Path, counted: list[str]
) -> None:
    folder = tmp_path / "run"
    command = ("run", "--system", "canned", "--data", tones, "--task", "emotion", "--annotator", "acoustics")
    first = call_here(*command, "--out", folder, cwd=tmp_path)
    kept_files = [folder / name for name in (".settled.json", ".written.json", ".shown.json")]
    assert all(path.is_file() for path in kept_files)

    def check(built: bool) -> None:
        for words in ((*command, "--out", folder), ("show", folder)):
            counted.clear()
            again = call_here(*words, cwd=tmp_path)
            assert (again.returncode, first.stdout.startswith(again.stdout)) == (0, True), again.stderr
            assert bool(counted) is built

    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).write_text("")
    call_here(*command, "--out", folder, cwd=tmp_path)
    check(built=False)
    (folder / "memory").symlink_to("/proc/self/mem")
    check(built=True)
    (folder / "memory").unlink()
    for path in kept_files:
        path.unlink()
        path.mkdir()
    check(built=True)


def test_a_folder_that_changes_under_a_leaderboard_is_read_again(
    tmp_path: Path, tones: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, write = tmp_path / "run", LeaderboardView.write
    command = ("run", "--system", "canned", "--data", tones, "--task", "emotion", "--annotator", "acoustics")

    def write_late(view: LeaderboardView, path: Path) -> list[Path]:
        change_score(folder)
        return write(view, path)

    with monkeypatch.context() as patch:
        patch.setattr(LeaderboardView, "write", write_late)
        first = call_here(*command, "--out", folder, cwd=tmp_path)
    old = (folder / "leaderboard.csv").read_bytes()
    shown = call_here("show", folder, cwd=tmp_path)
    assert not first.stdout.startswith(shown.stdout)
    counted.clear()
    call_here(*command, "--out", folder, cwd=tmp_path)
    assert counted
    assert (folder / "leaderboard.csv").read_bytes() != old
