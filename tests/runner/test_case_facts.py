"""A score depends on a case: its key and the record of what a scorer saw change with every fact of it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.ports import Case
from echat_eval.records import AudioRef, Reply, Response, Sample, Turn
from echat_eval.runner.carry_over import _visible_facts
from echat_eval.store.keys import case_digest
from tests.support.cases import case

OTHER_SOUND = AudioRef(path=Path("y.wav"), sha256="1" * 64, seconds=2.0)
#: Another value of every field that a scorer can see.
SAMPLE = {
    "id": "b",
    "audio": OTHER_SOUND,
    "transcript": "other words",
    "cues": {"emotion": "happy"},
    "language": "zh",
    "source": "real",
    "speaker": "ann",
    "contrast_group": "h",
    "references": ("Oh no.",),
    "history": (Turn(role="user", text="Hello"),),
    "asks": "emotion",
    "instruction": "How do they feel?",
}
REPLY = {
    "text": "other",
    "audio": OTHER_SOUND,
    "think": "hm",
    "perceived": {"emotion": "sad"},
    "reply_emotion": "sad",
    "first_audio_seconds": 0.5,
    "finish_reason": "length",
    "usage": {"prompt_tokens": 3},
}
RESPONSE = {"state": "failed", "reason": "it broke", "seconds": 9.0}
#: Facts of the request: the system's key covers them, so the record of earlier scores does through it.
IN_THE_RESPONSE_KEY = {"history", "instruction"}
#: Facts that the record of earlier scores does not cover.
NOT_RECORDED = {"source", "speaker"}
#: Fields that no score depends on.
UNSEEN = {"task", "key", "system", "sample_id", "tries", "cached", "reply"}


def changed(name: str, value: Any) -> Case:
    found = case("a", "hello", "Oh.")
    assert found.response.reply is not None
    if name in SAMPLE:
        return replace(found, sample=replace(found.sample, **{name: value}))
    if name in REPLY:
        reply = replace(found.response.reply, **{name: value})
        return replace(found, response=replace(found.response, reply=reply))
    return replace(found, response=replace(found.response, **{name: value}))


def test_every_field_of_a_case_is_listed_here() -> None:
    known = {*SAMPLE, *REPLY, *RESPONSE, *UNSEEN}
    assert {field.name for kind in (Sample, Response, Reply) for field in fields(kind)} == known


@pytest.mark.parametrize(("name", "value"), [*SAMPLE.items(), *REPLY.items(), *RESPONSE.items()])
def test_every_fact_changes_the_key_of_a_score_and_the_record_of_earlier_scores(
    name: str, value: Any
) -> None:
    before, after = case("a", "hello", "Oh."), changed(name, value)
    assert case_digest(before.sample, before.response) != case_digest(after.sample, after.response)
    same = _visible_facts(before) == _visible_facts(after)
    assert same == (name in IN_THE_RESPONSE_KEY | NOT_RECORDED)
