"""A run folder that is used again loses no finished row, and an unfinished run is not shown as a whole one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.cli.compare_gate import compare_command
from echat_eval.cli.leaderboard import leaderboard
from echat_eval.cli.report import report
from echat_eval.cli.run import run, score
from echat_eval.errors import BadData, Exit, UsageError
from echat_eval.store.ledger import pending
from echat_eval.store.run_folder import RunFolder


def run_command(tones: Path, out: Path, system: str, *more: str) -> Any:
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


def invoke(command: Any, *words: object) -> Any:
    return CliRunner().invoke(command, list(map(str, words)), standalone_mode=False)


@pytest.fixture
def finished_run(tones: Path, tmp_path: Path) -> Path:
    assert run_command(tones, tmp_path / "finished_run", "canned").return_value == Exit.DONE
    return tmp_path / "finished_run"


@pytest.fixture
def unfinished_run(finished_run: Path) -> Path:
    """A run without its last rows, as after a kill."""
    for name in ("responses", "annotations", "scores"):
        lines = (finished_run / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (finished_run / f"{name}.jsonl").write_text("".join(lines[: len(lines) // 2]))
    return finished_run


@pytest.mark.parametrize("system", ["canned", "echo"])
def test_a_command_with_fewer_samples_is_refused_and_deletes_nothing(
    tones: Path, finished_run: Path, system: str
) -> None:
    before = {path.name: path.read_bytes() for path in finished_run.glob("*.jsonl")}
    done = run_command(tones, finished_run, system, "--limit", "2")
    assert isinstance(done.exception, UsageError)
    assert "excludes 6 of those samples, which would delete their replies" in str(done.exception)
    assert {path.name: path.read_bytes() for path in finished_run.glob("*.jsonl")} == before


def test_a_command_with_more_samples_must_include_the_earlier_systems(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "grown"
    assert run_command(tones, out, "canned", "--limit", "2").return_value == Exit.DONE
    done = run_command(tones, out, "echo")
    assert isinstance(done.exception, UsageError)
    assert "'canned' has answered 2 of the 8 samples of 'emotion' in this command" in str(done.exception)
    assert "--system canned" in str(done.exception)
    assert run_command(tones, out, "echo", "--system", "canned").return_value == Exit.DONE
    assert len(RunFolder.existing(out).responses()) == 16


def test_an_unfinished_run_is_reported_and_the_same_command_completes_it(
    tones: Path, unfinished_run: Path
) -> None:
    done = invoke(score, unfinished_run)
    assert isinstance(done.exception, BadData)
    assert "'canned' has 4 responses to 8 samples: the run was interrupted" in str(done.exception)
    assert run_command(tones, unfinished_run, "canned").return_value == Exit.DONE
    assert "nfinished run" not in invoke(leaderboard, unfinished_run).output


def test_an_unfinished_run_is_marked_wherever_it_is_shown_and_is_not_exported(
    unfinished_run: Path, tmp_path: Path
) -> None:
    shown = invoke(leaderboard, unfinished_run)
    assert shown.return_value == Exit.CANNOT_TELL
    assert "Unfinished run: 'canned' has 4 responses to 8 samples. Every number is of the" in shown.output
    done = invoke(report, unfinished_run, "--only", "tables", "--out", tmp_path / "pack")
    assert done.exit_code == 0, done.output
    for name in ("overview.md", "overview.tex"):
        (text,) = (path.read_text() for path in (tmp_path / "pack").rglob(name))
        assert "Unfinished run: " in text
        assert "has 4 responses to 8 samples" in text
    for words in (
        ("scores", "--out", tmp_path / "s.csv"),
        ("hub", "--dataset", "a/b", "--out", tmp_path / "hub"),
    ):
        refused = (
            CliRunner()
            .invoke(
                command_line,
                ["export", words[0], str(unfinished_run), *map(str, words[1:])],
                standalone_mode=False,
            )
            .exception
        )
        assert isinstance(refused, BadData)
        assert "'canned' has 4 responses to 8 samples: the run was interrupted" in str(refused)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "finished_run", "pack"]


def test_a_system_that_never_began_is_named(tones: Path, tmp_path: Path) -> None:
    assert run_command(tones, tmp_path / "run", "canned").return_value == Exit.DONE
    run = RunFolder.existing(tmp_path / "run")
    assert pending(run) is None
    manifest = run.manifest()
    systems = {**manifest.systems, "later": manifest.systems["canned"]}
    with run.writing() as folder:
        folder.write_manifest(replace(manifest, systems=systems))
    assert pending(RunFolder.existing(tmp_path / "run")) == "'later' has no response"


def test_an_unfinished_run_is_not_compared(tones: Path, unfinished_run: Path, tmp_path: Path) -> None:
    assert run_command(tones, tmp_path / "other", "canned").return_value == Exit.DONE
    done = invoke(compare_command, tmp_path / "other", unfinished_run)
    assert isinstance(done.exception, BadData)
    assert "4 responses to 8 samples" in str(done.exception)


def test_a_system_name_in_two_runs_needs_an_alias(tones: Path, finished_run: Path, tmp_path: Path) -> None:
    assert run_command(tones, tmp_path / "new", "canned", "--system", "reference").return_value == Exit.DONE
    new = tmp_path / "new"
    clash = invoke(leaderboard, finished_run, new)
    assert isinstance(clash.exception, BadData)
    assert f"NEW={new}:canned" in str(clash.exception)
    shown = invoke(leaderboard, f"old={finished_run}", f"new={new}:canned")
    assert shown.return_value == Exit.DONE, shown.exception
    assert set(re.findall(r"(\S+) \(floor\)", shown.output)) == {"old", "new"}
    several = invoke(leaderboard, f"old={new}")
    assert isinstance(several.exception, UsageError)
    assert f"old={new}:SYSTEM" in str(several.exception)


def test_latency_of_runs_with_overlap_is_not_comparable(
    tones: Path, finished_run: Path, tmp_path: Path
) -> None:
    assert run_command(tones, tmp_path / "alone", "canned", "--no-overlap").return_value == Exit.DONE
    shown = invoke(compare_command, finished_run, tmp_path / "alone").output
    assert (
        f"note: seconds: not comparable: {finished_run} was annotated and scored while it was responding"
        in shown
    )
    assert "where every pair is tied, nothing changed" in shown
    shown = invoke(compare_command, tmp_path / "alone", tmp_path / "alone").output
    assert "not comparable" not in shown


@pytest.mark.parametrize("command", [leaderboard, report])
def test_an_output_folder_that_cannot_be_created_is_reported_first(finished_run: Path, command: Any) -> None:
    (finished_run.parent / "file").write_text("x")
    done = invoke(command, finished_run, "--out", finished_run.parent / "file" / "out")
    assert isinstance(done.exception, UsageError)
    assert "file/out: cannot be written: " in str(done.exception)
    assert "choose another --out" in str(done.exception)
