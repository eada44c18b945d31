"""A command that has nothing to do reads no row; whatever has changed since, it works out what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.runner import pipeline
from echat_eval.testing import ScriptedSystem
from tests.support.scripted_parts import hum, length, loudness
from tests.support.scripted_run import QUICK_RETRY, evaluated
from tests.support.tones import write_task


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with every command that looks at the rows."""
    seen: list[str] = []
    whole = pipeline.Pipeline

    def count(*args: Any, **options: Any) -> Any:
        seen.append("rows")
        return whole(*args, **options)

    monkeypatch.setattr(pipeline, "Pipeline", count)
    return seen


def again(folder: Path, data: Path, **options: Any) -> Any:
    given = {"annotators": [loudness()], "scorers": [length()], "system": ScriptedSystem(hum), **options}
    return evaluated(folder, data, given.pop("system"), **given)


def change_score(folder: Path) -> None:
    file = folder / "scores.jsonl"
    first, *rest = file.read_text().splitlines(keepends=True)
    row = json.loads(first)
    file.write_text("".join([json.dumps({**row, "key": "0" * 64}) + "\n", *rest]))


def cut_last_response(folder: Path) -> None:
    file = folder / "responses.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


def lose_request(folder: Path) -> None:
    next((folder / "requests").iterdir()).unlink()


def lose_reply(folder: Path) -> None:
    next((folder / "audio").iterdir()).unlink()


def forge(folder: Path) -> None:
    (folder / ".settled.json").write_text('{"of": []}')


def keep(folder: Path) -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("damage", "options", "looked"),
    [
        (keep, {}, False),
        (change_score, {}, True),
        (cut_last_response, {}, True),
        (lose_request, {}, True),
        (lose_reply, {}, True),
        (forge, {}, True),
        (keep, {"system": ScriptedSystem(hum, fingerprint="other")}, True),
        (keep, {"annotators": [loudness(fingerprint="other")]}, True),
        (keep, {"scorers": [length(fingerprint="other")]}, True),
        (keep, {"scorers": [length(), length("more")]}, True),
        (keep, {"scorers": [length(needs=())]}, True),
        (keep, {"retry_policy": replace(QUICK_RETRY, failed_again=True)}, True),
        (keep, {"retry_policy": replace(QUICK_RETRY, tries=3)}, True),
    ],
)
def test_only_an_unchanged_command_on_an_unchanged_folder_reads_no_row(
    damage: Callable[[Path], None],
    options: dict[str, Any],
    looked: bool,
    tmp_path: Path,
    tones: Path,
    counted: list[str],
) -> None:
    run = again(tmp_path / "run", tones)
    rows = run.every_response(), run.every_annotation()
    counted.clear()
    damage(tmp_path / "run")
    repeated = again(tmp_path / "run", tones, **options)
    assert bool(counted) is looked
    assert len(repeated.every_response()) == 8
    if not options and damage is not cut_last_response:
        assert (repeated.every_response(), repeated.every_annotation()) == rows


def test_a_changed_sample_is_noticed_and_another_place_is_none(
    tmp_path: Path, tones: Path, counted: list[str]
) -> None:
    again(tmp_path / "run", tones)
    file = write_task(tmp_path / "moved") / "samples.jsonl"
    counted.clear()
    again(tmp_path / "run", tmp_path / "moved")
    assert not counted
    file.write_text(file.read_text().replace("I am sorry, 0.", "I am so sorry, 0."))
    again(tmp_path / "run", tmp_path / "moved")
    assert counted
