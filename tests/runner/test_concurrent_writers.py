"""A run folder that is used again: nothing that was done is dropped, and no part is shown as the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli.compare_gate import compare_command
from echat_eval.cli.leaderboard import leaderboard
from echat_eval.cli.report import report
from echat_eval.cli.run import run, score
from echat_eval.errors import BadData, Exit, UsageError
from echat_eval.store.run_folder import RunFolder


def asked(tones: Path, out: Path, system: str, *more: str) -> Any:
    return CliRunner().invoke(
        run,
        [
            "--data",
            str(tones),
            "--task",
            "emotion",
            "--system",
            system,
            "--annotator",
            "acoustics",
            "--no-cache",
            "--out",
            str(out),
            *more,
        ],
        standalone_mode=False,
    )


def said(command: Any, *words: object) -> Any:
    return CliRunner().invoke(command, list(map(str, words)), standalone_mode=False)


@pytest.fixture
def whole(tones: Path, tmp_path: Path) -> Path:
    assert asked(tones, tmp_path / "whole", "canned").return_value == Exit.DONE
    return tmp_path / "whole"


@pytest.fixture
def part(whole: Path) -> Path:
    """A run whose last replies are not there, as after a kill."""
    for name in ("responses", "annotations", "scores"):
        lines = (whole / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (whole / f"{name}.jsonl").write_text("".join(lines[: len(lines) // 2]))
    return whole


@pytest.mark.parametrize("system", ["canned", "echo"])
def test_fewer_samples_than_are_answered_are_refused_and_nothing_is_deleted(
    tones: Path, whole: Path, system: str
) -> None:
    before = {path.name: path.read_bytes() for path in whole.glob("*.jsonl")}
    done = asked(tones, whole, system, "--limit", "2")
    assert isinstance(done.exception, UsageError)
    assert "leaves 6 of those samples out, which would delete them" in str(done.exception)
    assert {path.name: path.read_bytes() for path in whole.glob("*.jsonl")} == before


def test_more_samples_than_another_system_has_answered_are_refused_unless_it_is_named(
    tones: Path, tmp_path: Path
) -> None:
    out = tmp_path / "grown"
    assert asked(tones, out, "canned", "--limit", "2").return_value == Exit.DONE
    done = asked(tones, out, "echo")
    assert isinstance(done.exception, UsageError)
    assert "'canned' has answered 2 of the 8 samples of 'emotion'" in str(done.exception)
    assert "--system canned" in str(done.exception)
    assert asked(tones, out, "echo", "--system", "canned").return_value == Exit.DONE
    assert len(RunFolder.existing(out).responses()) == 16


def test_a_part_is_no_bug_of_ours_and_the_same_command_completes_it(tones: Path, part: Path) -> None:
    done = said(score, part)
    assert isinstance(done.exception, BadData)
    assert "'canned' has 4 responses to 8 samples: it was broken off" in str(done.exception)
    assert asked(tones, part, "canned").return_value == Exit.DONE
    assert "NOT FINISHED" not in said(leaderboard, part).output


def test_the_leaderboard_of_a_part_says_that_it_is_one(part: Path) -> None:
    assert f"NOT FINISHED ({part}): 'canned' has 4 responses to 8 samples" in said(leaderboard, part).output


def test_a_part_is_not_compared(tones: Path, part: Path, tmp_path: Path) -> None:
    assert asked(tones, tmp_path / "other", "canned").return_value == Exit.DONE
    done = said(compare_command, tmp_path / "other", part)
    assert isinstance(done.exception, BadData)
    assert "4 responses to 8 samples" in str(done.exception)


def test_one_name_in_two_runs_is_told_apart(tones: Path, whole: Path, tmp_path: Path) -> None:
    assert asked(tones, tmp_path / "new", "canned", "--system", "reference").return_value == Exit.DONE
    new = tmp_path / "new"
    clash = said(leaderboard, whole, new)
    assert isinstance(clash.exception, BadData)
    assert f"NEW={new}:canned" in str(clash.exception)
    shown = said(leaderboard, f"old={whole}", f"new={new}:canned")
    assert shown.return_value == Exit.DONE, shown.exception
    assert {line.split()[0] for line in shown.output.splitlines() if "(floor)" in line} == {"old", "new"}
    several = said(leaderboard, f"old={new}")
    assert isinstance(several.exception, UsageError)
    assert f"old={new}:SYSTEM" in str(several.exception)


def test_times_of_replies_that_were_heard_meanwhile_are_no_fair_race(
    tones: Path, whole: Path, tmp_path: Path
) -> None:
    assert asked(tones, tmp_path / "alone", "canned", "--no-overlap").return_value == Exit.DONE
    shown = said(compare_command, whole, tmp_path / "alone").output
    assert f"note: seconds: no fair race: {whole} was heard and scored while it was asked" in shown
    assert "where every pair is tied, nothing changed" in shown
    shown = said(compare_command, tmp_path / "alone", tmp_path / "alone").output
    assert "no fair race" not in shown


@pytest.mark.parametrize("command", [leaderboard, report])
def test_a_folder_that_cannot_be_made_is_told_before_any_work(whole: Path, command: Any) -> None:
    (whole.parent / "file").write_text("x")
    done = said(command, whole, "--out", whole.parent / "file" / "out")
    assert isinstance(done.exception, UsageError)
    assert "file/out: cannot be written: " in str(done.exception)
    assert "choose another --out" in str(done.exception)
