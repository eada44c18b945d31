"""Tables of scores for tests of the gate and of comparisons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

TASKS = np.array(["emotion", "age", "gender", "event", "multi"])


def scores(
    shift: float = 0.0,
    seed: int = 1,
    *,
    n: int = 400,
    per_cluster: int = 5,
    metric: str = "empathy",
    missing: float = 0.0,
    noise: float = 5.0,
    system: str = "ours",
    only_task: str | None = None,
) -> pd.DataFrame:
    """Return one system's scores from 0 to 100; the levels of the samples do not depend on `seed`."""
    level = np.random.default_rng(5).normal(60, 15, n)
    rng = np.random.default_rng(seed)
    task = TASKS[np.arange(n) % 5]
    shifts = np.full(n, shift) if only_task is None else shift * (task == only_task)
    value = np.clip(level + shifts + rng.normal(0, noise, n), 0, 100)
    value[rng.random(n) < missing] = np.nan
    return pd.DataFrame(
        {
            "task": task,
            "sample_id": [f"s{i}" for i in range(n)],
            "system": system,
            "metric": metric,
            "value": value,
            "cluster": [f"speaker {i // per_cluster}" for i in range(n)],
        }
    )


@pytest.fixture
def table() -> Callable[..., pd.DataFrame]:
    return scores
