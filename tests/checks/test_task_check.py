"""`check task` finds what is planted, refuses no clean task, and states what it did not check."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from echat_eval.checks.softmax import fit_softmax
from echat_eval.checks.task_check import CHECKS, check_folder
from echat_eval.records import AudioRef
from echat_eval.task.split_draw import new_split
from tests.support.command_line import call_here
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
    assert found["embedding"].state == "pass"
    assert {found[name].state for name in ("words-spoken", "quality", "intended-label")} == {"not checked"}
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
        ("peak", None, {"spike": (0.0, 0.8)}),
        ("silence-before", None, {"before": (0.1, 0.2), "seconds": (0.4, 0.3)}),
        ("silence-after", None, {"after": (0.1, 0.2), "seconds": (0.4, 0.3)}),
        ("dc-offset", None, {"centre": (0.0, 0.02)}),
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


def test_labels_in_words_and_names_and_unseen_characters_are_for_people(tmp_path: Path) -> None:
    def change(group: int, place: int, row: dict[str, Any]) -> None:
        if group == 0:
            row["transcript"] = "I am so angry it moved."
        if group == 1 and place == 0:
            row["id"] = "happy_1"
        if group == 2 and place == 0:
            row["references"] = ["Go\x07 on with it."]

    checked = check_folder(write_planted(tmp_path / "named", change=change))
    found = {finding.check: finding for finding in checked.findings}
    assert not checked.refused
    assert set(found["named-in-words"].samples.values()) == {"'angry' in 'I am so angry it moved.'"}
    assert dict(found["named-in-names"].samples) == {"happy_1": "'happy' in the id happy_1"}
    assert list(found["unseen-characters"].samples.values()) == ["U+0007 in a reference"]


def test_bad_options_are_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_planted(tmp_path / "mood", 6)
    monkeypatch.setattr("echat_eval.checks.task_check.measure", None)  # nothing is measured
    (tmp_path / "a-file").touch()
    for options, line in (
        (["mood", "--allow", "durations"], "no such check. Did you mean 'duration'?"),
        (["mood", "--report", "a-file"], "a-file: a file, expected a folder"),
        (["mood", "--report", "mood"], "mood: not empty"),
        (["moody"], "or a bundled task: emotion, age"),
    ):
        done = call_here("check", "task", *options, cwd=folder.parent)
        assert (done.returncode, line in done.stderr) == (2, True), done.stderr
    done = call_here("check", "task", "emotion", "--form", cwd=tmp_path)
    assert (done.returncode, "no fault of form" in done.stdout) == (0, True)


def test_all_names_of_checks_are_listed(tmp_path: Path) -> None:
    checks = {finding.check for finding in check_folder(write_planted(tmp_path / "mood", 6)).findings}
    assert checks <= {*CHECKS}


def _found(folder: Path, **options: Any) -> dict[str, Any]:
    return {finding.check: finding for finding in check_folder(folder, **options).findings}


def test_duplicates_and_damaged_recordings_are_listed(tmp_path: Path) -> None:
    def change(group: int, place: int, row: dict[str, Any]) -> None:
        if group < 2:
            row["transcript"] = f"They left home late in the rain again{', too' * group}."

    def sound(group: int, place: int) -> dict[str, float]:
        return {
            "clip": float(group == 2),
            "level": -50.0 if group == 3 else -20.0,
            "before": 3.5 * (group == 4),
        }

    folder = write_planted(tmp_path / "mood", 8, change=change, sound=sound)
    rows = {row["id"]: row for row in read_rows(folder)}
    wave, rate = soundfile.read(folder / rows["s12"]["audio"])
    copy = folder / "audio" / "copy.flac"  # another rate, level and format
    soundfile.write(copy, 0.5 * resample_poly(wave, 2, 1), 2 * rate)
    rows["s15"] |= {"audio": "audio/copy.flac", "audio_sha256": hashlib.sha256(copy.read_bytes()).hexdigest()}
    write_rows(folder, list(rows.values()))
    found = _found(folder)
    assert len(found["similar-words"].samples) == 1
    assert found["same-sound"].state == "fault"  # happy and sad
    assert dict(found["same-sound"].samples) == {"s15": "the sound of s12"}
    for check, group in (("clipping", 2), ("far-level", 3), ("silence", 4)):
        assert found[check].samples.keys() == {f"s{2 * group}", f"s{2 * group + 1}"}, check
        assert found[check].state == "review"


def test_wording_is_listed_for_people(tmp_path: Path) -> None:
    def change(group: int, place: int, row: dict[str, Any]) -> None:
        if group == 1:
            row["references"] = ["The same to both."]
        elif place and group < 5:
            row["references"] = [
                ("You sound sad.", "", "Not sad, are you?", "Thank you, young man.", "Oh.")[group]
            ]

    found = _found(write_planted(tmp_path / "mood", 6, change=change))
    assert found["named-label"].samples.keys() == {"s1"}  # a negated label is none
    assert found["equal-references"].samples.keys() & {"s2", "s3"}
    assert dict(found["phrases"].samples) == {"s7": "'young man'"}
    for row in (rows := read_rows(tmp_path / "mood")):
        row["language"] = "de"
    write_rows(tmp_path / "mood", rows)
    assert _found(tmp_path / "mood")["phrases"].state == "not checked"


class Wrong:
    """An annotator that takes every voice for a happy one and has other words for one recording."""

    name, version = "wrong", "1"

    def __init__(self, other: Path) -> None:
        self.other = other

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        words = "nothing of the kind at all" if audio.path == self.other else sentence(0)
        return {"hypothesis": words, "emotion": "happy", "overall": 1.5 if audio.path == self.other else 3.0}

    def fingerprint(self) -> str:
        return "wrong"


def test_annotators_are_held_against_the_rows(tmp_path: Path) -> None:
    folder = write_planted(tmp_path / "mood", 8, change=lambda g, p, row: row.update(transcript=sentence(0)))
    rows = read_rows(folder)
    for row in rows:  # one group for each pair, with the same words
        row["contrast_group"] = None
    write_rows(folder, rows)
    found = _found(folder, annotators=[Wrong(folder / "audio" / "4.wav")])
    assert found["words-spoken"].samples.keys() == found["quality"].samples.keys() == {"s4"}
    assert found["words-spoken"].numbers["error_rate"] > 0
    assert found["intended-label"].numbers["confusion"] == [["happy", "happy", 8], ["sad", "happy", 8]]
    assert found["intended-label"].samples.keys() == {f"s{n}" for n in range(1, 16, 2)}
    assert "not above chance" in found["intended-label"].message


def test_a_trait_that_one_person_has_is_refused(tmp_path: Path) -> None:
    def change(group: int, place: int, row: dict[str, Any]) -> None:
        row["speaker"] = f"{place}-{group % 3}" if place else "old-one"

    folder = write_planted(tmp_path / "who", 12, change=change, cue="age", labels=("old", "child"))
    found = _found(folder)
    assert found["speaker"].state == "fault"
    assert found["speaker"].numbers == {"speakers": {"child": 3, "old": 1}}


def test_a_split_of_another_state_is_a_fault(tmp_path: Path) -> None:
    folder = write_planted(tmp_path / "mood", 8)
    assert "split" not in _found(folder)
    new_split(folder, {"dev": 0.5, "test": 0.5})
    assert _found(folder)["split"].state == "pass"
    write_rows(folder, read_rows(folder)[::-1])
    assert _found(folder)["split"].state == "pass"  # the order is no part of a task's hash
    rows = read_rows(folder)
    rows[0]["note"] = "changed"
    write_rows(folder, rows)
    assert "another state of the task" in _found(folder)["split"].message


def test_the_classifier_is_that_of_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    labels = rng.permutation([0] * 40 + [1] * 25 + [2] * 10)
    x = rng.normal(size=(75, 4)) + labels[:, None] * [0.5, -0.3, 0.0, 0.2]
    ours = fit_softmax(x, labels, labels_in_all=3, strength=2.0)
    theirs = linear.LogisticRegression(C=2.0, class_weight="balanced", tol=1e-8, max_iter=1000).fit(x, labels)
    assert ours.weights.T - ours.weights.T.mean(axis=0) == pytest.approx(theirs.coef_, abs=2e-3)
    assert (ours.predict(x) == theirs.predict(x)).all()
