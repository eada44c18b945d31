"""A score depends on a case: its key changes with every fact that a scorer can see."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.ports import Case
from echat_eval.records import AudioRef, Cue, Reply, Response, Sample, Turn
from echat_eval.store.keys import case_digest, score_keys
from echat_eval.store.manifest import ScorerFacts
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
    "expect": "same",
    "own_cues": {"sarcasm": Cue(name="sarcasm", labels=("sincere", "sarcastic"))},
    "error_rate": "cer",
    "turns": (Turn(role="user", audio=OTHER_SOUND),),
    "words_suggest": {"emotion": "happy"},
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
    "first_audible_seconds": 0.6,
    "round_trip_seconds": 0.01,
    "interruptions": 1,
}
RESPONSE = {"state": "failed", "reason": "it broke", "seconds": 9.0, "turns": (Reply(text="Hello."),)}
SEEN = [(part, *fact) for part in (SAMPLE, REPLY, RESPONSE) for fact in part.items()]
#: Fields that no score depends on.
UNSEEN = {"task", "key", "system", "sample_id", "tries", "cached", "reply"}


def changed(part: Any, name: str, value: Any) -> Case:
    found = case("a", "hello", "Oh.")
    assert found.response.reply is not None
    if part is SAMPLE:
        return replace(found, sample=replace(found.sample, **{name: value}))
    if part is REPLY:
        reply = replace(found.response.reply, **{name: value})
        return replace(found, response=replace(found.response, reply=reply))
    return replace(found, response=replace(found.response, **{name: value}))


def test_every_field_of_a_case_is_listed_here() -> None:
    known = {*SAMPLE, *REPLY, *RESPONSE, *UNSEEN}
    assert {field.name for kind in (Sample, Response, Reply) for field in fields(kind)} == known


@pytest.mark.parametrize(("part", "name", "value"), SEEN, ids=[name for _, name, _ in SEEN])
def test_every_fact_changes_the_key_of_a_score(part: Any, name: str, value: Any) -> None:
    assert key_of(case("a", "hello", "Oh.")) != key_of(changed(part, name, value))


@pytest.mark.parametrize("name", sorted(UNSEEN - {"task", "reply"}))
def test_no_other_field_changes_the_key_of_a_score(name: str) -> None:
    before = case("a", "hello", "Oh.")
    value: Any = {"tries": 3, "cached": True}.get(name, "other")
    after = replace(before, response=replace(before.response, **{name: value}))
    assert key_of(before) == key_of(after)


def key_of(found: Case) -> str:
    """Return the key of the case's score under one metric."""
    facts = ScorerFacts(version="1", fingerprint="f")
    content = case_digest(found.sample, found.response)
    (key,) = score_keys("outcome", facts, ["failed"], [(found, content)]).values()
    return key
