"""Over-reaction: 0 for one reply to every voice, 100 for replies that always follow it, 0 on average for noise."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from echat_eval.ports import Case
from echat_eval.records import Score, State
from echat_eval.scorers.contrast import SAME_EXPECTED
from echat_eval.scorers.cue_contrast import CueContrast
from echat_eval.scorers.over_reaction import ANCHORS, METRIC, OverReaction
from echat_eval.scorers.select import select_scorers
from tests.support.cases import Angles, case

#: The voice that a text suits, as an angle; a reply is the label that it suits, or an angle.
DEGREES = {"female": 0.0, "male": 180.0}


class Suiting(Angles):
    def embed(self, text: str) -> np.ndarray:
        angles = {ANCHORS["gender", "en"][label]: degrees for label, degrees in DEGREES.items()} | DEGREES
        return super().embed(str(angles.get(text, text)))


def voiced(label: str, reply: str | None, *, ident: str = "", state: State = "value", **more: Any) -> Case:
    one = case(ident or label, reply, "A reference.", state=state, reason="why")
    return replace(one, sample=replace(one.sample, cues={"gender": label}, expect="same", **more))


def scored(*cases: Case) -> list[Score]:
    return list(OverReaction(embedder=Suiting()).score(cases))


@pytest.mark.parametrize(
    ("replies", "value"),
    [
        (("female", "male"), 100.0),
        (("male", "female"), -100.0),
        (("female", "female"), 0.0),
        (("male", "male"), 0.0),
        (("37", "37"), 0.0),
        (("90", "90"), 0.0),
        (("female", "90"), 50.0),
    ],
)
def test_the_value_of_a_pair(replies: tuple[str, str], value: float) -> None:
    found = scored(voiced("female", replies[0]), voiced("male", replies[1]))
    assert [s.value for s in found] == pytest.approx([value, value], abs=1e-9)


def test_replies_that_only_vary_are_at_0_in_expectation() -> None:
    rng = np.random.default_rng(3)
    found = [
        scored(*(voiced(label, str(rng.uniform(-60, 120))) for label in DEGREES))[0].value
        for _ in range(2000)
    ]
    values = np.array(found, dtype=float)
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    assert values.std() > 20


def test_a_failed_reply_counts_as_one_that_suits_its_voice() -> None:
    failed = voiced("male", None, state="failed")
    for reply in ("female", "male", "90"):
        before = scored(voiced("female", reply), voiced("male", reply))
        after = scored(voiced("female", reply), failed)
        assert (after[1].state, after[1].value) == ("failed", METRIC.worst)
        assert all((b.value or 0) <= (a.value or 0) for b, a in zip(before, after, strict=True))
    missing = scored(voiced("female", "37"), voiced("male", None, state="missing"))
    assert [s.state for s in missing] == ["missing", "missing"]


def test_groups_without_the_mark_or_with_other_cues_are_not_applicable() -> None:
    plain = [case("a", "0", "0"), case("b", "60", "60")]
    assert {s.state for s in scored(*plain)} == {"not applicable"}
    sad = [
        replace(c, sample=replace(c.sample, cues={"emotion": e}, expect="same"))
        for c, e in zip(plain, ("sad", "happy"), strict=True)
    ]
    (first, _) = scored(*sad)
    assert (first.state, "ask a judge" in str(first.reason)) == ("not applicable", True)
    contrasts = CueContrast(embedder=Suiting()).score([voiced("female", "female"), voiced("male", "male")])
    assert {(s.state, s.reason) for s in contrasts} == {("not applicable", SAME_EXPECTED)}


def test_every_anchor_differs_within_its_cue() -> None:
    for texts in ANCHORS.values():
        assert all(a != b for a, b in combinations(texts.values(), 2))


def test_the_scorer_is_a_default_where_a_sample_expects_the_same() -> None:
    same = voiced("female", None).sample
    for samples, expected in (([same], True), ([replace(same, expect=None)], False)):
        names = [scorer.name for scorer in select_scorers(None, samples, lambda note: None)]
        assert ("over-reaction" in names) is expected
