"""The plan from a baseline alone allows for scores of which few can move."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from echat_eval.api import plan
from echat_eval.gate import Policy
from echat_eval.gate.plan_run import RunPlan
from echat_eval.stats import cluster_mean

GROUPS, EACH = 24, 3


def planned(score: np.ndarray, each: int, margin: float) -> RunPlan:
    """Return the plan from a baseline whose clusters have these scores."""
    rows = pd.DataFrame(
        {
            "task": "emotion",
            "sample_id": np.arange(len(score) * each).astype(str),
            "system": "ours",
            "metric": "match_rate",
            "value": np.repeat(score, each),
            "state": "value",
            "transcript": np.repeat(np.arange(len(score)), each).astype(str),
        }
    )
    rule = {"higher_is_better": True, "low": 0, "high": 100}
    return plan(Policy(margin=margin, metrics={"match_rate": rule}), rows)  # type: ignore[dict-item]


@pytest.mark.parametrize(("margin", "share"), [(15.0, 0.9), (12.0, 0.5)])
def test_scores_that_are_nearly_all_right_promise_what_decisions_hold(margin: float, share: float) -> None:
    score = np.where(np.arange(GROUPS) < 4, 50.0, 100.0)
    now = planned(score, EACH, margin).plan.now
    # Equal candidates: half of the groups keep their score, the others have that of any group.
    rng, passed, runs = np.random.default_rng(1), 0, 300
    for _ in range(runs):
        candidate = np.where(rng.random(GROUPS) < 0.5, score, rng.choice(score, GROUPS))
        moved = np.repeat(candidate - score, EACH)
        low = cluster_mean(moved, np.repeat(np.arange(GROUPS), EACH), change=True, width=100).low
        passed += low is not None and low > -margin
    assert passed / runs == pytest.approx(share, abs=0.05)
    assert now.equal_passes == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize(("groups", "low"), [(30, 75.0), (400, 0.0)])
def test_a_size_that_is_named_is_enough_for_drawn_candidates(groups: int, low: float) -> None:
    """One cluster is lower: the spread alone has no size for 30 clusters, and 8 clusters for 400."""
    score = np.where(np.arange(groups) == 0, low, 100.0)
    found = planned(score, 2, 3.0)
    assert found.plan.sd < 15
    assert found.plan.best is not None
    assert found.plan.options[0].estimated
    size = round(found.plan.best.layout.speakers)
    assert f"  about {size} sentences, " in str(found)
    rng, passed, runs = np.random.default_rng(2), 0, 100
    for _ in range(runs):
        baseline = rng.choice(score, size)
        moved = np.where(rng.random(size) < 0.5, 0.0, rng.choice(score, size) - baseline)
        # Without any move: what this number of clusters excludes.
        bound = -100 * (1 - 0.025 ** (1 / size))
        if moved.any():
            drawn = cluster_mean(np.repeat(moved, 2), np.repeat(np.arange(size), 2), change=True, width=100)
            bound = float("-inf") if drawn.low is None else drawn.low
        passed += bound > -3.0
    assert passed / runs >= 0.7
    assert 60 < size < 200


def test_without_a_size_that_is_enough_the_plan_cannot_tell() -> None:
    found = planned(np.where(np.arange(12) == 0, 0.0, 100.0), 1, 0.05)
    assert found.plan.best is None
    assert "cannot tell, 480 samples do not give 80 %" in str(found)
