"""Scripted turns and labels that words suggest in samples.jsonl: read, hashed, and refused with one line each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.errors import BadData
from echat_eval.records import Reply
from echat_eval.store.keys import request_for
from echat_eval.store.serialize import row_of_sample, sample_from
from echat_eval.store.turns import sample_of_turn
from echat_eval.task import find_faults, load_task
from echat_eval.task.row import MAX_LIVE_TURNS
from tests.support.tones import write_dialogues

Row = dict[str, Any]


def changed(root: Path, change: Callable[[Row], object]) -> Path:
    """Write a task of dialogues whose first row is changed; return its data folder."""
    file = write_dialogues(root) / "samples.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    change(rows[0])
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_scripted_turns_are_read_with_words_voice_and_labels(tmp_path: Path) -> None:
    write_dialogues(tmp_path)
    task = load_task("emotion", data=tmp_path)
    turns = task.samples[0].turns or ()
    assert [(t.role, t.text, t.cues and dict(t.cues)) for t in turns] == [
        ("user", "turn 1 of g0", {"emotion": "neutral"}),
        ("user", "turn 2 of g0", None),
    ]
    assert all(t.audio is not None and t.audio.path.is_file() for t in turns)
    assert {sample.history for sample in task.samples} == {()}


def test_the_hash_of_a_task_covers_its_turns_and_not_their_paths(tmp_path: Path) -> None:
    def hash_of(name: str, change: Callable[[Row], object]) -> str:
        return load_task("emotion", data=changed(tmp_path / name, change)).sha256

    def rename(row: Row) -> None:
        folder = tmp_path / "renamed" / "emotion"
        (folder / "audio" / "other.wav").write_bytes((folder / row["turns"][0]["audio"]).read_bytes())
        row["turns"][0]["audio"] = "audio/other.wav"

    plain = hash_of("plain", lambda row: None)
    assert hash_of("renamed", rename) == plain
    assert hash_of("words", lambda row: row["turns"][0].update(transcript="Else.")) != plain


def test_the_label_that_words_suggest_is_read_and_hashed(tmp_path: Path) -> None:
    plain = write_dialogues(tmp_path / "plain")
    file = write_dialogues(tmp_path / "marked") / "samples.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    marked = [
        {**row, "words_suggest": {"emotion": "happy"}} if row["contrast_group"] == "g0" else row
        for row in rows
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in marked))
    task = load_task("emotion", data=tmp_path / "marked")
    assert [sample.words_suggest for sample in task.samples] == [{"emotion": "happy"}] * 2 + [None] * 2
    assert task.sha256 != load_task("emotion", data=plain.parent).sha256
    sample = task.samples[0]
    assert sample_from(row_of_sample(sample, tmp_path), tmp_path) == sample
    assert sample_of_turn(sample, ()).words_suggest is None
    assert sample_of_turn(sample, (Reply(text="a"), Reply(text="b"))).words_suggest == {"emotion": "happy"}
    bare = replace(sample, words_suggest=None)
    assert request_for(bare) == request_for(sample)  # no system gets it


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda row: row.update(words_suggest={"emotion": "fine"}),
            "words_suggest: unknown emotion 'fine'; labels are",
        ),
        (
            lambda row: row.update(words_suggest={"age": "child"}),
            "'words_suggest' names 'age', and 'cues' does not; state the label of the voice, too",
        ),
        (lambda row: row.update(words_suggest="sad"), "'words_suggest' is 'sad', expected an object"),
        (
            lambda row: row.update(words_suggest={"emotion": "sad"}),
            "contrast group 'g0': the words are the same, and 'words_suggest' differs from line 1",
        ),
        (lambda row: row["turns"][1].pop("audio"), "turn 2: key 'audio' is missing; expected a path"),
        (lambda row: row["turns"][1].update(audio=None), "turn 2: key 'audio' is missing"),
        (lambda row: row["turns"][1].update(role="assistant"), "turn 2: unknown key 'role'"),
        (
            lambda row: row["turns"][0].update(cues={"emotion": "fine"}),
            "turn 1: unknown emotion 'fine'; labels are",
        ),
        (
            lambda row: row["turns"][0].update(cues=["sad"]),
            r"turn 1: 'cues' is \['sad'\], expected an object",
        ),
        (lambda row: row["turns"][0].update(transcript=" "), "turn 1: 'transcript' is ' '"),
        (lambda row: row["turns"][0].update(audio_sha256="0" * 64), "audio .*: sha256 is"),
        (lambda row: row.update(turns="two"), "'turns' is 'two', expected a list of objects"),
        (
            lambda row: row.update(history=[{"role": "user", "text": "Hi."}]),
            "'turns' beside 'history': expected one of them",
        ),
        (
            lambda row: row.update(turns=[row["turns"][0]] * (MAX_LIVE_TURNS + 1)),
            "'turns' has 11 turns, expected at most 10 before the last",
        ),
        (lambda row: row["turns"].reverse(), "contrast group 'g0': the audio of 'turns' differs from line 1"),
        (lambda row: row.pop("turns"), "contrast group 'g0': the audio of 'turns' differs from line 1"),
    ],
)
def test_each_fault_is_one_line(tmp_path: Path, change: Callable[[Row], object], message: str) -> None:
    data = changed(tmp_path, change)
    found = find_faults(data / "emotion")
    assert len(found) == 1, found
    with pytest.raises(BadData, match=message) as caught:
        load_task("emotion", data=data)
    assert "\n" not in str(caught.value)
