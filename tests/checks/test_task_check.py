"""`check task` finds what is planted, refuses no clean task, and states what it did not check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from echat_eval.checks.task_check import check_folder
from tests.support.planted_task import LABELS, read_rows, sentence, write_planted, write_rows


def states(folder: Path, **options: Any) -> dict[str, str]:
    """Return check -> state of a task's findings."""
    return {finding.check: finding.state for finding in check_folder(folder, **options).findings}


def test_a_clean_task_is_not_refused(tmp_path: Path) -> None:
    checked = check_folder(write_planted(tmp_path / "clean"))
    assert not checked.refused
    found = {finding.check: finding for finding in checked.findings}
    assert found["words"].state == "pass"  # every sentence has each label once
    assert "by design" in found["words"].message
    assert {found[name].state for name in ("duration", "size", "format", "speaker", "source")} == {"pass"}
    assert {found[name].state for name in ("embedding", "words-spoken", "quality", "intended-label")} == {
        "not checked"
    }
    assert not any(finding.samples for finding in checked.findings)


def _own_words(group: int, place: int, row: dict[str, Any]) -> None:
    del row["contrast_group"]
    row["transcript"] = f"{('Great', 'Alas')[place]} {sentence(2 * group + place)}"


def _own_speaker(group: int, place: int, row: dict[str, Any]) -> None:
    row["speaker"] = f"p{place}"


def _own_source(group: int, place: int, row: dict[str, Any]) -> None:
    row["source"] = ("real", "synthetic")[place]


def _other_cue(group: int, place: int, row: dict[str, Any]) -> None:
    row["cues"]["age"] = ("child", "old")[place]


@pytest.mark.parametrize(
    ("check", "change", "sound"),
    [
        ("words", _own_words, {}),
        ("duration", None, {"seconds": (0.3, 0.4)}),
        ("level", None, {"level": (-20.0, -26.0)}),
        ("speaker", _own_speaker, {}),
        ("source", _own_source, {}),
        ("age", _other_cue, {}),
    ],
)
def test_a_planted_leak_is_refused(tmp_path: Path, check: str, change: Any, sound: dict[str, Any]) -> None:
    folder = write_planted(
        tmp_path / "planted",
        **({"change": change} if change else {}),
        sound=lambda group, place: {name: values[place] for name, values in sound.items()},
    )
    checked = check_folder(folder)
    assert [finding.check for finding in checked.findings if finding.state == "fault"] == [check]
    (fault,) = [finding for finding in checked.findings if finding.state == "fault"]
    assert fault.numbers["low"] > fault.numbers["allowed"]
    assert fault.remedy
    assert not check_folder(folder, allow=[check]).refused


def test_labels_in_order_of_the_file_are_refused(tmp_path: Path) -> None:
    folder = write_planted(tmp_path / "sorted")
    rows = sorted(read_rows(folder), key=lambda row: LABELS.index(row["cues"]["emotion"]))
    write_rows(folder, rows)
    assert states(folder)["order"] == "fault"
    write_rows(folder, [row for pair in zip(rows[:24], rows[24:], strict=True) for row in pair])
    assert states(folder)["order"] == "fault"  # happy, sad, happy, sad
