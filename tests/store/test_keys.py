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


def test_a_request_gives_nothing_away() -> None:
    said = repr(request_for(SAMPLE))
    for secret in ("emotion", "happy", "secret", "ann", "reference", "real"):
        assert secret not in said
    assert {field.name for field in fields(Request)} == {"id", "audio", "language", "history", "instruction"}


def test_a_request_id_is_the_same_every_time_and_different_for_every_sample() -> None:
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
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_fact_is_in_a_response_key(change: dict[str, object]) -> None:
    def key(**facts: object) -> str:
        now: dict[str, object] = {
            "name": "a",
            "settings": {"t": 1},
            "fingerprint": "f",
            "audio": AUDIO,
            "language": "en",
        }
        now |= {"history": ()} | facts
        request = Request(id="x", audio=now["audio"], language=now["language"], history=now["history"])  # type: ignore[arg-type]
        return response_key(now["name"], now["settings"], now["fingerprint"], request)  # type: ignore[arg-type]

    assert key() != key(**change)
    assert key() == key()


def test_no_path_and_no_id_is_in_a_key() -> None:
    request = request_for(SAMPLE)
    moved = replace(request, id="other", audio=replace(AUDIO, path=Path("/elsewhere/b.wav")))
    assert response_key("a", {}, "f", request) == response_key("a", {}, "f", moved)


def test_another_version_of_an_annotator_is_another_key() -> None:
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
