"""Rows of a run folder: a damaged one is named with file and line, whatever is in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echat_eval.errors import BadData
from echat_eval.store.run_folder import RunFolder

SHA = "a" * 64
AUDIO = {"file": f"audio/{SHA}.wav", "sha256": SHA, "seconds": 1.5}
IDENTITY = {"key": "k", "system": "mine", "task": "emotion", "sample_id": "s1"}
REPLY = {"text": "Hello.", "audio": AUDIO, "perceived": {"emotion": "sad"}, "usage": {"tokens": 3}}
EVIDENCE = {
    "grades": {"empathy": 4},
    "points": [80.0],
    "variance": None,
    "reasons": ["kind"],
    "models": ["judge"],
    "servers": [""],
    "verdicts": ["v"],
    "prompt_sha256": [SHA],
    "heard": ["sad", 0.9],
    "tokens": [10, 5],
}
ROWS: dict[str, dict[str, Any]] = {
    "samples": {
        "task": "emotion",
        "id": "s1",
        "audio": AUDIO,
        "transcript": "Hi.",
        "cues": {"emotion": "sad"},
        "language": "en",
        "source": "real",
        "references": ["Oh."],
        "history": [{"role": "user", "text": "Hi.", "audio": AUDIO}],
    },
    "responses": {**IDENTITY, "state": "value", "reply": REPLY, "seconds": 0.5, "tries": 1},
    "annotations": {**IDENTITY, "annotator": "whisper", "state": "value", "values": {"hypothesis": "hi"}},
    "scores": {**IDENTITY, "metric": "wer", "state": "value", "value": 0.5, "evidence": EVIDENCE},
}
READERS: dict[str, Callable[[RunFolder], Any]] = {
    "samples": RunFolder.samples,
    "responses": RunFolder.responses,
    "annotations": RunFolder.annotations,
    "scores": RunFolder.scores,
}


def read(folder: Path, name: str, row: Any) -> Any:
    (folder / "samples.jsonl").write_text(json.dumps(ROWS["samples"]) + "\n")  # of all other rows
    (folder / f"{name}.jsonl").write_text(json.dumps(ROWS[name]) + "\n" + json.dumps(row) + "\n")
    return READERS[name](RunFolder(folder))


@pytest.mark.parametrize("name", ROWS)
def test_a_valid_row_is_read(tmp_path: Path, name: str) -> None:
    assert len(read(tmp_path, name, ROWS[name])) == 1


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("responses", {"system": ["mine"]}, "'system' is"),
        ("responses", {"sample_id": None}, "key 'sample_id' is missing"),
        ("responses", {"state": "done"}, "'state' is 'done'"),
        ("responses", {"reply": None}, "without a reply"),
        ("responses", {"state": "failed"}, "with a reply"),
        ("responses", {"reply": {**REPLY, "text": 5}}, "'reply' is"),
        ("responses", {"reply": {**REPLY, "audio": "x.wav"}}, "'reply' is"),
        ("responses", {"reply": {**REPLY, "audio": {**AUDIO, "seconds": "1"}}}, "'reply' is"),
        ("responses", {"reply": {**REPLY, "audio": {**AUDIO, "file": "../x.wav"}}}, "leaves the run folder"),
        ("responses", {"reply": {**REPLY, "usage": [1]}}, "'reply' is"),
        ("responses", {"seconds": "fast"}, "'seconds' is 'fast'"),
        ("responses", {"tries": 1.5}, "'tries' is 1.5"),
        ("responses", {"extra": 1}, "unknown key 'extra'"),
        ("annotations", {"values": [1]}, "'values' is"),
        ("annotations", {"annotator": {}}, "'annotator' is"),
        ("scores", {"value": "0.5"}, "'value' is '0.5'"),
        ("scores", {"value": None}, "without a value"),
        ("scores", {"weight": -1}, "'weight' is -1"),
        ("scores", {"metric": None}, "key 'metric' is missing"),
        ("scores", {"evidence": 3}, "'evidence' is 3"),
        ("scores", {"evidence": {**EVIDENCE, "tokens": [1]}}, "'tokens' is"),
        ("scores", {"evidence": {**EVIDENCE, "heard": "sad"}}, "'heard' is 'sad'"),
        ("scores", {"evidence": {**EVIDENCE, "points": {"a": 1}}}, "'points' is"),
        ("samples", {"audio": None}, "key 'audio' is missing"),
        ("samples", {"cues": ["sad"]}, "'cues' is"),
        ("samples", {"history": [{"role": "judge"}]}, "'history' is"),
        ("samples", {"references": "Oh."}, "'references' is 'Oh.'"),
        ("samples", {"language": 5}, "'language' is 5"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(
    tmp_path: Path, name: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadData, match=rf"{name}\.jsonl:2: ") as caught:
        read(tmp_path, name, {**ROWS[name], **changes})
    assert message in str(caught.value)
