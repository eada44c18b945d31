"""Commands that write a folder, killed at any step: the same command finishes; a user's folder is refused.

A short form of bench/kill/commands.py.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.errors import UsageError
from echat_eval.io.unfinished import is_half_made
from echat_eval.store.run_folder import RunFolder
from tests.support.kills import contents, disk_steps, killed_before_step
from tests.support.tones import write_tone

#: Kills per command.
KILLS = 3


def words_of(command: str, run: RunFolder, folder: Path, tones: Path) -> list[str]:
    """Return the words of a command, up to the name of its output folder."""
    if command == "report":
        return ["report", str(run.path), "--only", "tables,page", "--out"]
    if command == "rate export":
        return ["rate", "export", str(run.path), "--samples", "2", "--out"]
    if command == "export requests":
        return ["export", "requests", "--data", str(tones), "--out"]
    if command == "gate accept":
        return ["gate", "accept", f"{run.path}:careful", "--to"]
    write_tone(folder / "source" / "0.wav", 200)
    write_tone(folder / "source" / "1.wav", 300)
    texts = {"<FEMALE>": "0.wav", "<MALE>": "1.wav"}
    rows = [
        {"key": name, "txt": "a", "wav": name, "extra": {"gender": label, "question": "q"}}
        for label, name in texts.items()
    ]
    (folder / "source" / "data.list").write_text("\n".join(map(json.dumps, rows)))
    options = ["--language", "en", "--source", "real", "--cue", "gender", "--name", "mine"]
    return ["import", "echat", str(folder / "source"), *options, "--out"]


COMMANDS = ["report", "rate export", "export requests", "gate accept", "import"]


def done(words: list[str], out: Path) -> Callable[[], object]:
    """Return a call of a command that raises if it fails."""

    def call() -> None:
        result = CliRunner().invoke(command_line, [*words, str(out)], standalone_mode=False)
        if result.exception is not None:
            raise result.exception

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_the_same_command_finishes_what_was_killed(
    command: str, usual_run: RunFolder, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = words_of(command, usual_run, tmp_path, tones)
    whole = tmp_path / "whole" / "out"
    steps = disk_steps(done(words, whole), monkeypatch)
    dice = random.Random(command)
    half_made = 0
    for step in dice.sample(range(steps), KILLS):
        out = tmp_path / f"killed-{step}" / "out"
        assert killed_before_step(step, done(words, out), monkeypatch)
        half_made += is_half_made(out)
        done(words, out)()
        assert set(contents(out.parent)) == set(contents(whole.parent)), step
    assert half_made


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_of_the_user_is_refused(
    command: str, usual_run: RunFolder, tones: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"not empty|may have been rated"):
        done(words_of(command, usual_run, tmp_path, tones), out)()
    assert contents(out) == {"mine.txt": b"mine"}


def test_a_report_that_was_killed_while_it_replaced_another_is_made_again(
    usual_run: RunFolder, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    report = done(words_of("report", usual_run, tmp_path, tones), out)
    report()
    whole = set(contents(out))
    page_alone = done(["report", str(usual_run.path), "--only", "page", "--out"], out)
    steps = disk_steps(page_alone, monkeypatch)
    assert killed_before_step(steps // 2, page_alone, monkeypatch)
    report()
    assert set(contents(out)) == whole


def test_a_half_made_baseline_is_no_baseline(
    usual_run: RunFolder, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, policy = tmp_path / "kept", tmp_path / "gate.yaml"
    policy.write_text("margin: 5\nmetrics:\n  marks: {}\n")
    accept = done(words_of("gate accept", usual_run, tmp_path, tones), out)
    accept()
    steps = disk_steps(accept, monkeypatch)
    assert killed_before_step(steps // 2, accept, monkeypatch)
    gate = done(["gate", f"{usual_run.path}:careful", "--policy", str(policy), "--against"], out)
    with pytest.raises(UsageError, match=r"`echat-eval gate accept` was interrupted .*; run it again"):
        gate()
