"""A failed reply helps neither its system nor the other samples of its group, in the proxy and in the judge's contrast."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from echat_eval.concurrency import event_loop
from echat_eval.judge import Question
from echat_eval.ports import Case
from echat_eval.records import Score
from echat_eval.scorers.contrast import WORST, pair_term
from echat_eval.scorers.cue_contrast import CONTRAST, CueContrast
from echat_eval.scorers.judged import JudgedContrast, judged_scorers
from tests.support.cases import case


class RandomVectors:
    """An embedding of length 1 in the positive quadrant, drawn by the text and a seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def embed(self, text: str) -> np.ndarray:
        digest = hashlib.sha256(f"{self.seed} {text}".encode()).digest()
        vector = np.frombuffer(digest[:3], dtype=np.uint8).astype(float)
        return vector / max(float(np.linalg.norm(vector)), 1e-9)

    def fingerprint(self) -> str:
        return "random vectors"


@dataclass
class RandomPoints:
    """Points of a judge from 0 to 100 by the reply, the labels and a seed."""

    seed: int

    async def __call__(self, question: Question) -> float:
        text = f"{self.seed} {question.reply} {sorted(question.cues.items())}"
        return hashlib.sha256(text.encode()).digest()[0] / 2.55


ScoreCases = Callable[[int, Sequence[Case]], list[Score]]


def by_proxy(seed: int, cases: Sequence[Case]) -> list[Score]:
    scores = CueContrast(embedder=RandomVectors(seed)).score(cases)
    return [score for score in scores if score.metric == CONTRAST.name]


def by_judge(seed: int, cases: Sequence[Case]) -> list[Score]:
    scorers = judged_scorers("m-2026-01-01", "http://127.0.0.1:9/v1")
    try:
        contrast: JudgedContrast = scorers[1]
        contrast._points = RandomPoints(seed)  # type: ignore[method-assign]
        return list(event_loop.run(contrast.score(cases)))
    finally:
        scorers[0].close()


SCORERS = pytest.mark.parametrize("scored", [by_proxy, by_judge], ids=["proxy", "judge"])


def labelled(one: Case, label: str) -> Case:
    return replace(one, sample=replace(one.sample, cues={"emotion": label}))


def group(replies: Sequence[str], name: str = "g") -> list[Case]:
    labels = ("sad", "happy", "fear", "anger", "surprise")
    return [
        labelled(case(f"{name}{n}", reply, f"{name} reference {n}", group=name), labels[n])
        for n, reply in enumerate(replies)
    ]


def failed(one: Case) -> Case:
    response = replace(one.response, state="failed", reason="it died", reply=None)
    return replace(one, response=response)


def values(scores: Sequence[Score]) -> list[float]:
    assert all(score.value is not None for score in scores), "a failure leaves every row with a value"
    return [float(score.value or 0.0) for score in scores]


@pytest.mark.slow
@SCORERS
@pytest.mark.parametrize("size", [2, 3, 4])
def test_no_failure_raises_a_value_of_its_group(scored: ScoreCases, size: int) -> None:
    for seed in range(12):
        cases = group([f"reply {seed} {n}" for n in range(size)])
        before = values(scored(seed, cases))
        for count in range(1, size + 1):
            for broken in combinations(range(size), count):
                after = values(scored(seed, [failed(c) if n in broken else c for n, c in enumerate(cases)]))
                assert all(b <= a for a, b in zip(before, after, strict=True)), (seed, broken)
                assert [after[n] for n in broken] == [-100.0] * count


@SCORERS
def test_a_system_cannot_gain_by_failing_where_it_answers_the_wrong_voice(scored: ScoreCases) -> None:
    """Several groups, because leaving a sample out changes the mean over all of them."""
    for seed in range(12):
        groups = [group([f"{name} {n}" for n in range(2)], name) for name in ("g", "h", "i")]
        whole = [values(scored(seed, cases)) for cases in groups]
        worst = min(range(3), key=lambda n: sum(whole[n]))
        groups[worst][0] = failed(groups[worst][0])
        after = [values(scored(seed, cases)) for cases in groups]
        assert fmean(v for row in after for v in row) <= fmean(v for row in whole for v in row)


@SCORERS
def test_one_reply_with_crashes_on_happy_queries_is_below_a_cue_blind_system(
    scored: ScoreCases,
) -> None:
    for seed in range(12):
        cases = group(["I'm so sorry to hear that."] * 2)
        assert values(scored(seed, cases)) == [0.0, 0.0]
        crashing = values(scored(seed, [cases[0], failed(cases[1])]))
        assert crashing[0] <= 0.0
        assert fmean(crashing) < -50.0


@SCORERS
def test_kind_replies_with_a_crash_on_one_label_are_below_a_cue_blind_system(scored: ScoreCases) -> None:
    for seed in range(12):
        cases = group([f"kind {n}" for n in range(3)])
        crashing = values(scored(seed, [*cases[:2], failed(cases[2])]))
        blind = values(scored(seed, group(["Thank you."] * 3)))
        assert fmean(crashing) < fmean(blind) == 0.0


def test_a_term_with_a_failed_reply_is_the_least_of_all_replies() -> None:
    rng = np.random.default_rng(2)
    for own in rng.uniform(0, 100, (200, 2)):
        with_failed = pair_term((own[0], own[1]), None)
        others: Any = rng.uniform(0, 100, (50, 2))
        assert all(with_failed <= pair_term((own[0], own[1]), (o[0], o[1])) for o in others)
        assert with_failed == pair_term((own[0], own[1]), (0.0, 100.0))
        assert WORST <= with_failed <= 0.0
