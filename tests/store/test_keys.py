"""Content keys: every fact that determines a row is in its key, and nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from echat_eval.records import AudioRef, Request, Sample, Turn
from echat_eval.store.keys import annotation_key, request_for, response_key

AUDIO = AudioRef(path=Path("a.wav"), sha256="aa", seconds=1.0)
SAMPLE = Sample(
    task="emotion",
    id="happy-1",
    audio=AUDIO,
    transcript="the secret words",
    cues={"emotion": "happy"},
    language="en",
    source="real",
    speaker="ann",
    contrast_group="g-happy",
    references=("a reference",),
)


def test_a_request_reveals_no_gold_information() -> None:
    turns = (Turn(role="user", text="secret", audio=AUDIO, cues={"emotion": "happy"}),)
    shown = repr(request_for(replace(SAMPLE, turns=turns)))
    for secret in ("emotion", "happy", "secret", "ann", "reference", "real"):
        assert secret not in shown
    known = {"id", "audio", "language", "history", "instruction", "turns"}
    assert {field.name for field in fields(Request)} == known


def test_a_request_id_is_reproducible_and_unique_per_sample() -> None:
    assert request_for(SAMPLE).id == request_for(replace(SAMPLE, transcript="other")).id
    assert request_for(SAMPLE).id != request_for(replace(SAMPLE, id="happy-2")).id


@pytest.mark.parametrize(
    "change",
    [
        {"name": "b"},
        {"settings": {"t": 2}},
        {"fingerprint": "g"},
        {"fingerprint": None},
        {"audio": replace(AUDIO, sha256="bb")},
        {"language": "zh"},
        {"history": (Turn(role="user", text="hi"),)},
        {"history": (Turn(role="user", audio=AUDIO),)},
        {"turns": (Turn(role="user", audio=AUDIO),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_fact_is_in_a_response_key(change: dict[str, object]) -> None:
    def key(**facts: object) -> str:
        merged: dict[str, object] = {
            "name": "a",
            "settings": {"t": 1},
            "fingerprint": "f",
            "audio": AUDIO,
            "language": "en",
        }
        merged |= {"history": ()} | facts
        request = Request(
            id="x",
            audio=merged["audio"],  # type: ignore[arg-type]
            language=merged["language"],  # type: ignore[arg-type]
            history=merged["history"],  # type: ignore[arg-type]
            turns=merged.get("turns"),  # type: ignore[arg-type]
        )
        return response_key(merged["name"], merged["settings"], merged["fingerprint"], request)  # type: ignore[arg-type]

    assert key() != key(**change)
    assert key() == key()


def test_paths_and_ids_are_not_part_of_a_key() -> None:
    request = request_for(SAMPLE)
    moved = replace(request, id="other", audio=replace(AUDIO, path=Path("/elsewhere/b.wav")))
    assert response_key("a", {}, "f", request) == response_key("a", {}, "f", moved)


def test_every_fact_is_in_an_annotation_key() -> None:
    keys = {
        annotation_key(name, version, settings, weights, audio, language)
        for name, version, settings, weights, audio, language in [
            ("w", "1", {}, "f", AUDIO, "en"),
            ("w", "2", {}, "f", AUDIO, "en"),
            ("w", "1", {"beam": 2}, "f", AUDIO, "en"),
            ("w", "1", {}, "g", AUDIO, "en"),
            ("w", "1", {}, "f", replace(AUDIO, sha256="bb"), "en"),
            ("w", "1", {}, "f", AUDIO, "zh"),
        ]
    }
    assert len(keys) == 6
