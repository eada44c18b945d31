"""The plan from a baseline alone allows for scores of which few can move."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from echat_eval.api import plan
from echat_eval.gate import Policy
from echat_eval.stats import cluster_mean

GROUPS, EACH = 24, 3


@pytest.mark.parametrize(("margin", "share"), [(15.0, 0.9), (12.0, 0.5)])
def test_scores_that_are_nearly_all_right_promise_what_decisions_hold(margin: float, share: float) -> None:
    score = np.where(np.arange(GROUPS) < 4, 50.0, 100.0)
    rows = pd.DataFrame(
        {
            "task": "emotion",
            "sample_id": np.arange(GROUPS * EACH).astype(str),
            "system": "ours",
            "metric": "match_rate",
            "value": np.repeat(score, EACH),
            "state": "value",
            "transcript": np.repeat(np.arange(GROUPS), EACH).astype(str),
        }
    )
    rule = {"higher_is_better": True, "low": 0, "high": 100}
    planned = plan(Policy(margin=margin, metrics={"match_rate": rule}), rows).plan  # type: ignore[dict-item]
    # Equal candidates: half of the groups keep their score, the others have that of any group.
    rng, passed, runs = np.random.default_rng(1), 0, 300
    for _ in range(runs):
        candidate = np.where(rng.random(GROUPS) < 0.5, score, rng.choice(score, GROUPS))
        moved = np.repeat(candidate - score, EACH)
        low = cluster_mean(moved, np.repeat(np.arange(GROUPS), EACH), change=True, width=100).low
        passed += low is not None and low > -margin
    assert passed / runs == pytest.approx(share, abs=0.05)
    assert planned.now.equal_passes == pytest.approx(share, abs=0.1)
