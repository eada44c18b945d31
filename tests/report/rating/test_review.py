"""Reviews of a task by people: blind sheets, decisions by majority, and the next version of the task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from echat_eval.checks.task_check import check_folder
from echat_eval.checks.task_report import write_report
from echat_eval.cli import command_line
from echat_eval.errors import BadData, UsageError
from echat_eval.ports import Silent
from echat_eval.report.rating.review import write_review
from echat_eval.report.rating.review_answers import Review, read_review
from echat_eval.report.rating.review_apply import apply_review
from echat_eval.task import Task, find_faults, load_folder
from tests.support.planted_task import read_rows, write_planted


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """A task of four groups: happy is s0, s2, s4, s6 and sad s1, s3, s5, s7."""
    return load_folder(write_planted(tmp_path / "mood", 4))


def sheet_of(task: Task, tmp_path: Path) -> Path:
    write_review(task, tmp_path / "sheet", only=None, seed=0, progress=Silent())
    return tmp_path / "sheet.key.json"


def answers(key: Path, rater: str, other: Mapping[str, Mapping[str, str]]) -> Path:
    """Write a rater's file: the intended labels, and `other` by sample."""
    facts = json.loads(key.read_text())
    ratings = []
    for item, ident in facts["items"].items():
        intended = {"emotion": "happy" if int(ident[1:]) % 2 == 0 else "sad", "use": "keep"}
        ratings += [
            {"item": item, "dimension": name, "value": value}
            for name, value in {**intended, **other.get(ident, {})}.items()
        ]
    path = key.with_name(f"{rater}.json")
    path.write_text(json.dumps({"sheet": facts["review"], "rater": rater, "ratings": ratings}))
    return path


def reviewed(task: Task, tmp_path: Path, *raters: Mapping[str, Mapping[str, str]]) -> Review:
    key = sheet_of(task, tmp_path)
    return read_review(key, [answers(key, f"r{n}", other) for n, other in enumerate(raters)], task)


def test_a_sheet_shows_no_intended_label(task: Task, tmp_path: Path) -> None:
    sheet_of(task, tmp_path)
    text = (tmp_path / "sheet" / "data" / "sheet.js").read_text()
    sheet = json.loads(json.loads(text[text.index(",") + 1 : text.rindex(")")]))
    assert sheet["review"] is True
    assert len(sheet["items"]) == 8
    assert len({json.dumps(item["cues"]) for item in sheet["items"]}) == 1  # the same choices for all
    assert not any(name in json.dumps(sheet["items"]) for name in ("s0", "g0", "Answer"))


def test_majorities_accept_relabel_and_reject(task: Task, tmp_path: Path) -> None:
    review = reviewed(
        task,
        tmp_path,
        {"s1": {"emotion": "happy"}, "s2": {"use": "recording"}, "s4": {"emotion": "fear"}},
        {"s1": {"emotion": "happy"}, "s2": {"use": "recording"}, "s4": {"emotion": "anger"}},
        {"s3": {"emotion": "happy"}, "s6": {"emotion": "cannot tell"}},
    )
    found = {ident: (d.outcome, d.reason or dict(d.cues)) for ident, d in review.decisions.items()}
    assert found["s1"] == ("relabel", {"emotion": "happy"})
    assert found["s2"] == ("reject", "people: bad recording")
    assert found["s3"] == found["s6"] == ("accept", {})  # one of three
    assert found["s4"] == ("reject", "people: no majority on the emotion")
    assert review.agreeing == {"emotion": (18, 24)}


def test_the_next_version_has_a_reason_for_every_dropped_row(task: Task, tmp_path: Path) -> None:
    review = reviewed(
        task, tmp_path, {"s1": {"emotion": "fear"}, "s3": {"emotion": "happy"}, "s4": {"use": "offensive"}}
    )
    out = tmp_path / "mood-2"
    for name in ("LICENCE", "DATA-CARD.md"):
        (task.folder / name).write_text(f"{name} of mood")
    dropped = apply_review(task, review, out)
    assert [(out / name).read_text() for name in ("LICENCE", "DATA-CARD.md")] == [
        "LICENCE of mood",
        "DATA-CARD.md of mood",
    ]
    assert dropped == {
        "s4": "people: offensive, or a stereotype",
        "s3": "relabelled as happy, like s2 of its group",
        "s2": "its contrast group has no other sample left",
        "s5": "its contrast group has no other sample left",
    }
    assert not find_faults(out)
    rows = {row["id"]: row for row in read_rows(out)}
    assert rows.keys() == {"s0", "s1", "s6", "s7"}
    assert rows["s1"]["cues"] == {"emotion": "fear"}
    assert "references" not in rows["s1"]
    assert rows["s1"]["note"].startswith("relabelled by people; before: emotion sad")
    assert load_folder(out).version == 2
    refused = [json.loads(line) for line in (out / "refused.jsonl").read_text().splitlines()]
    assert {row["id"]: row["reason"] for row in refused} == dropped
    assert not (out / "audio" / "4.wav").exists()


def test_answers_to_another_task_or_of_another_form_are_refused(task: Task, tmp_path: Path) -> None:
    key = sheet_of(task, tmp_path)
    good = answers(key, "r1", {})
    with pytest.raises(BadData, match="rater 'r1' also answers in"):
        read_review(key, [good, good], task)
    with pytest.raises(BadData, match="emotion is 'glad', expected"):
        read_review(key, [answers(key, "r2", {"s0": {"emotion": "glad"}})], task)
    yaml = task.folder / "task.yaml"
    yaml.write_text(yaml.read_text().replace("Planted", "Changed"))
    with pytest.raises(BadData, match="made of another state of task 'mood'"):
        read_review(key, [good], load_folder(task.folder))
    yaml.write_text(yaml.read_text().replace("redistributable: true\n", ""))
    with pytest.raises(UsageError, match="--with-audio"):
        write_review(load_folder(task.folder), tmp_path / "x", only=None, seed=0, progress=Silent())


def test_flagged_samples_are_reviewed_from_the_command_line(tmp_path: Path) -> None:
    folder = write_planted(tmp_path / "mood", 8, sound=lambda group, place: {"clip": float(group == 2)})
    write_report(check_folder(folder), tmp_path / "check")

    def call(*words: object) -> str:
        result = CliRunner().invoke(command_line, list(map(str, words)), standalone_mode=False)
        assert result.exception is None, result.exception
        return result.output

    flagged = tmp_path / "check" / "check.json"
    exported = call("rate", "export", folder, "--flagged", flagged, "--out", tmp_path / "sheet")
    assert "2 samples in" in exported
    key = tmp_path / "sheet.key.json"
    given = answers(key, "r1", {"s4": {"use": "recording"}})
    shown = call("rate", "import", "--key", key, given, "--task", folder, "--out", tmp_path / "mood-2")
    assert "2 samples reviewed: 1 accepted, 0 relabelled, 1 rejected" in shown
    assert "1 rows dropped: people: bad recording" in shown
    assert len(read_rows(tmp_path / "mood-2")) == 14
