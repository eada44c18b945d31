"""Decisions where every speaker reads every sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from echat_eval.analysis import MetricRule, ScoredSystem, check_table, compare, trend
from echat_eval.errors import UsageError
from echat_eval.gate import Policy, decide

SCORE = MetricRule(higher_is_better=True, low=0, high=100)
POLICY: dict[str, Any] = {"margin": 3, "metrics": {"empathy": SCORE}}


def crossed(shift: float, seed: int, speakers: int = 10, sentences: int = 20, times: int = 2) -> pd.DataFrame:
    rng, n = np.random.default_rng(seed), speakers * sentences * times
    speaker, sentence = np.arange(n) % speakers, np.arange(n) // speakers % sentences
    return pd.DataFrame(
        {
            "task": "emotion",
            "sample_id": [f"s{i}" for i in range(n)],
            "metric": "empathy",
            "value": np.clip(60 + shift + rng.normal(0, 5, n), 0, 100),
            "speaker": [f"ann{i}" for i in speaker],
            "transcript": [f"line {i}" for i in sentence],
        }
    )


def run(name: str, frame: pd.DataFrame) -> ScoredSystem:
    return ScoredSystem(name=name, system="system", frame=check_table(frame))


def test_a_better_candidate_on_crossed_data_passes_and_the_design_is_printed() -> None:
    got = decide(crossed(14, 1), crossed(0, 2), Policy(**POLICY))
    assert got.outcome == "pass"
    assert got.difference is not None
    assert got.difference.clusters == 10
    assert "design: 10 speakers x 20 sentences, crossed" in got.warnings


def test_metadata_change_no_outcome_of_a_clear_candidate() -> None:
    for shift, outcome in ((0.5, "pass"), (-14, "regress")):
        candidate, against = crossed(shift, 1), crossed(0, 2)
        for dropped in ([], ["speaker"], ["transcript"], ["speaker", "transcript"]):
            one, other = (frame.drop(columns=dropped) for frame in (candidate, against))
            assert decide(one, other, Policy(**POLICY)).outcome == outcome


def test_speakers_that_share_a_few_sentences_stay_clusters() -> None:
    tables = []
    for seed in (1, 2):
        frame = crossed(0, seed, speakers=30, sentences=10, times=1)
        own = frame["speaker"] + frame["transcript"]
        tables.append(frame.assign(transcript=own.where(frame.index % 10 != 0, frame["transcript"])))
    candidate, against = tables
    got = decide(candidate, against, Policy(**POLICY))
    assert got.difference is not None
    assert got.difference.clusters == 30


def test_two_sentences_are_decided_as_fixed_ones_are() -> None:
    candidate, against = (crossed(0, seed, speakers=24, sentences=2, times=8) for seed in (1, 2))
    got = decide(candidate, against, Policy(**POLICY))
    fixed = decide(candidate, against, Policy(**POLICY, sentences="fixed"))
    assert got.outcome == fixed.outcome == "pass"
    assert got.difference == fixed.difference
    assert (got.scope, fixed.scope) == ("2 sentences", "these sentences")
    assert any("24 speakers; sentences are fixed: the decision holds for these" in w for w in fixed.warnings)
    with pytest.raises(UsageError, match="sentences is 'none'; expected random or fixed"):
        Policy(**POLICY, sentences="none")  # type: ignore[arg-type]


def test_a_cluster_column_states_one_way_clusters() -> None:
    candidate, against = (crossed(0, seed).assign(cluster=lambda t: t["speaker"]) for seed in (1, 2))
    stated = decide(candidate, against, Policy(**POLICY)).difference
    without = ["cluster", "transcript"]
    by_speaker = decide(
        candidate.drop(columns=without), against.drop(columns=without), Policy(**POLICY)
    ).difference
    assert stated is not None
    assert stated == by_speaker
    assert "design: 10 clusters" in decide(candidate, against, Policy(**POLICY)).warnings


def test_compare_and_trend_use_both_factors() -> None:
    runs = [run(str(seed), crossed(shift, seed)) for seed, shift in ((1, 0), (2, 3), (3, 6))]
    found = compare(runs[0], runs[1], metrics={"empathy": SCORE})
    decided = decide(runs[1].frame, runs[0].frame, Policy(**POLICY)).difference
    assert found.cells[0].difference == decided
    assert "design: 10 speakers x 20 sentences, crossed" in found.notes
    fixed = compare(runs[0], runs[1], metrics={"empathy": SCORE}, sentences="fixed")
    assert "design: 10 speakers; sentences are fixed: the result holds for these only" in fixed.notes
    assert trend(runs, metrics={"empathy": SCORE})[0].slope.clusters == 10
    assert trend(runs, metrics={"empathy": SCORE}, sentences="fixed")[0].slope.df == pytest.approx(9)
