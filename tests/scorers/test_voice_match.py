"""Voice match: pairs, failures, exactly 50 for one waveform, and no ranking."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from echat_eval.errors import NotApplicable, UsageError
from echat_eval.ports import Case, role_of
from echat_eval.records import Annotation, Request, State, Waveform
from echat_eval.scorers.contrast import NO_GROUP, SAME_EXPECTED
from echat_eval.scorers.voice_match import METRIC, NO_DISTRIBUTION, VoiceMatch
from echat_eval.store.headline import headline_of
from echat_eval.systems import build_system
from echat_eval.systems.neutral_voice import NeutralVoice
from tests.support.cases import SOUND, case

LABELS = ("sad", "happy", "anger")


def voiced(
    number: int, distribution: Mapping[str, float] | None, state: State = "value", **sample: Any
) -> Case:
    one = case(f"i{number}", "Well." if state == "value" else None, state=state, reason="it broke")
    one = replace(one, sample=replace(one.sample, cues={"emotion": LABELS[number]}, **sample))
    if distribution is None:
        return one
    annotation = Annotation(
        key="a", system="s", task="emotion", sample_id=one.sample.id, annotator="emotion2vec", state="value",
        values={"emotion": "sad", "confidence": 0.5, "distribution": dict(distribution)},
    )  # fmt: skip
    return replace(one, annotations={"emotion2vec": annotation})


def values(*cases: Case) -> list[float | None]:
    return [score.value for score in VoiceMatch().score(cases)]


SAD, HAPPY = {"sad": 0.7, "happy": 0.1, "neutral": 0.2}, {"sad": 0.1, "happy": 0.8, "neutral": 0.1}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (SAD, HAPPY, [100.0, 100.0]),
        (HAPPY, SAD, [0.0, 0.0]),
        (SAD, SAD, [50.0, 50.0]),
        ({"neutral": 1.0}, HAPPY, [75.0, 75.0]),
    ],
)
def test_a_pair(first: dict[str, float], second: dict[str, float], expected: list[float]) -> None:
    assert values(voiced(0, first), voiced(1, second)) == expected


def test_one_waveform_is_exactly_50_whatever_the_annotator() -> None:
    draws = random.Random(0)
    for _ in range(50):
        same = {name: draws.random() for name in ("sad", "happy", "neutral", "angry", "<unk>")}
        assert values(*(voiced(number, same) for number in range(3))) == [50.0] * 3


def test_a_calm_voice_answers_anger() -> None:
    assert values(voiced(0, SAD), voiced(2, {"neutral": 0.6, "sad": 0.3, "angry": 0.1})) == [100.0, 100.0]
    assert values(voiced(0, SAD), voiced(2, {"neutral": 0.1, "sad": 0.3, "angry": 0.6})) == [50.0, 50.0]


def test_a_failed_reply_raises_no_value() -> None:
    assert values(voiced(0, SAD), voiced(1, None, "failed")) == [50.0, 0.0]


def test_replies_without_a_distribution_are_not_applicable() -> None:
    alone, other = VoiceMatch().score([voiced(0, None), voiced(1, HAPPY)])
    assert (alone.state, alone.reason) == ("not applicable", NO_DISTRIBUTION)
    assert other.state == "not applicable"
    (grouped,) = VoiceMatch().score([voiced(0, SAD, contrast_group=None)])
    assert grouped.reason == NO_GROUP
    (expected,) = VoiceMatch().score([voiced(0, SAD, expect="same")])
    assert expected.reason == SAME_EXPECTED


def test_it_ranks_nothing() -> None:
    other = replace(METRIC, name="judge_echat_r1", title="Judge", proxy=False, by_voice=False)
    applicable = {"s": {METRIC.name, other.name}}
    assert headline_of([METRIC, other], applicable).name == other.name
    with pytest.raises(UsageError, match="'voice_match_experimental' is experimental and ranks nothing"):
        headline_of([METRIC, other], applicable, selected=METRIC.name)
    assert "experimental" in METRIC.title


class Hum:
    """A voice that hums."""

    def load(self) -> None:
        pass

    def close(self) -> None:
        pass

    def say(self, text: str) -> Waveform:
        return Waveform(samples=np.zeros(1600, dtype=np.float32), sample_rate=16_000)

    def fingerprint(self) -> str:
        return "hum"


def test_the_floor_gives_every_query_the_same_waveform() -> None:
    floor = NeutralVoice(voice=Hum())
    replies = [floor.respond(Request(id=id, audio=SOUND, language="en-GB")) for id in ("a", "b")]
    assert isinstance(replies[0].audio, Waveform)
    assert isinstance(replies[1].audio, Waveform)
    assert (replies[0].audio.samples == replies[1].audio.samples).all()
    assert replies[0].text == replies[1].text
    with pytest.raises(NotApplicable, match="speaks English, not 'zh'"):
        floor.respond(Request(id="c", audio=SOUND, language="zh"))
    assert role_of(build_system("neutral-voice")) == "floor"
