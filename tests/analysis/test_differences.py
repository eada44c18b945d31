"""Levels and differences keep inside what the metric's range allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from echat_eval.analysis.differences import level
from echat_eval.analysis.metric_rule import MetricRule
from tests.support.present import present


@pytest.mark.parametrize("value", [1.0, 1.5, 3.0, 5.0])
def test_the_level_of_equal_grades_stays_inside_the_scale(value: float) -> None:
    n = 12
    rows: dict[str, Any] = {
        "metric": ["grade"] * n,
        "value": np.full(n, value),
        "state": ["value"] * n,
        "weight": np.ones(n),
        "label": [None] * n,
        "same_reply": np.zeros(n, bool),
        "speaker": np.arange(n) // 2,
        "sentence": np.arange(n),
    }
    rule = MetricRule(higher_is_better=True, low=1, high=5)
    found = level(rows, rule, coverage=0.95, min_clusters=2)
    low, high = map(present, found.bounds)
    assert 1 <= low <= value <= high <= 5
    assert high - low > 1
