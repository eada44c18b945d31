"""Match rate: the share of replies that answer their own voice; 50 exactly for one reply to both."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest

from echat_eval.ports import Case
from echat_eval.records import Score
from echat_eval.scorers.contrast import choice, match_term, pair_term
from echat_eval.scorers.cue_contrast import MATCH, CueContrast
from tests.support.cases import Angles, case


def matched(cases: list[Case]) -> dict[str, Score]:
    return {s.sample_id: s for s in CueContrast(embedder=Angles()).score(cases) if s.metric == MATCH.name}


def cosine(a: float, b: float) -> float:
    return max(0.0, math.cos(math.radians(a - b)))


def by_hand(replies: dict[str, float], references: dict[str, float]) -> float:
    """Return the mean over ordered pairs of whether a reply fits its own reference better."""
    wins = [
        (cosine(replies[i], references[i]) > cosine(replies[i], references[j]))
        + 0.5 * (cosine(replies[i], references[i]) == cosine(replies[i], references[j]))
        for i, j in permutations(replies, 2)
    ]
    return 100 * sum(wins) / len(wins)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_mean_over_a_group_is_the_share_of_replies_that_fit_their_own_sample(size: int) -> None:
    rng = np.random.default_rng(size)
    for _ in range(30):
        names = [f"i{n}" for n in range(size)]
        replies, references = (dict(zip(names, rng.uniform(0, 360, size), strict=True)) for _ in range(2))
        scores = matched([case(i, str(replies[i]), str(references[i])) for i in names])
        mean = sum(s.value or 0.0 for s in scores.values()) / size
        assert mean == pytest.approx(by_hand(replies, references))


def test_one_reply_for_the_group_is_exactly_50_in_every_sample() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        size = int(rng.integers(2, 6))
        reply = str(rng.uniform(0, 360))
        scores = matched([case(f"i{n}", reply, str(rng.uniform(0, 360))) for n in range(size)])
        assert [s.value for s in scores.values()] == [50.0] * size


def test_right_and_swapped_replies_and_ties() -> None:
    assert [s.value for s in matched([case("a", "0", "0"), case("b", "60", "60")]).values()] == [100.0, 100.0]
    assert [s.value for s in matched([case("a", "60", "0"), case("b", "0", "60")]).values()] == [0.0, 0.0]
    one_right = matched([case("a", "0", "0"), case("b", "-90", "60")])  # fits neither: a tie
    assert [s.value for s in one_right.values()] == [50.0, 50.0]
    same_references = matched([case("a", "10", "60"), case("b", "50", "60")])
    assert [s.value for s in same_references.values()] == [50.0, 50.0]


def test_replies_at_random_are_at_50_in_expectation() -> None:
    rng = np.random.default_rng(1)
    found = [
        s.value
        for n in range(2000)
        for s in matched(
            [case(i, str(rng.uniform(0, 360)), q, group=f"g{n}") for i, q in (("a", "0"), ("b", "90"))]
        ).values()
    ]
    values = np.array(found, dtype=float)[::2]  # both rows of a pair have its value
    assert abs(values.mean() - 50) < 3 * values.std() / math.sqrt(len(values))


def test_a_failed_reply_answers_the_wrong_voice_and_a_missing_one_is_unknown() -> None:
    failed = matched([case("a", "0", "0"), case("b", None, "60", state="failed", reason="it died")])
    assert [(s.state, s.value) for s in failed.values()] == [("value", 50.0), ("failed", 0.0)]
    missing = matched([case("a", "0", "0"), case("b", None, "60", state="missing", reason="429")])
    assert [s.state for s in missing.values()] == ["missing", "missing"]


def test_shares_of_repeated_choices_are_terms_as_well() -> None:
    assert match_term((75.0, 25.0), (25.0, 75.0)) == 50.0
    assert match_term((75.0, 25.0), (75.0, 25.0)) == 75.0
    for own, other in ((choice(2, 1), choice(1, 2)), (choice(1, 1), None), (choice(3, 1), choice(3, 1))):
        assert match_term(own, other) == 50 + pair_term(own, other) / 2
