"""The plan from the scores of a baseline alone, for a candidate that is assumed to be like it.

The spread of the differences follows from that of the scores and from an assumed correlation. Where nearly
all scores are the same, few clusters of two such runs differ, and the bounds of a decision lie farther away
than the spread alone puts them (see `stats.tails`). Then the plan draws equal candidates, counts how many of
them pass, and widens the spread until it promises no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis.differences import difference
from echat_eval.analysis.frames import over_all_tasks
from echat_eval.gate.plan import plan_for, plan_of_values, primary_design
from echat_eval.stats import cluster_mean
from echat_eval.stats.power import power_of
from echat_eval.stats.tails import MOVED_SHARE

if TYPE_CHECKING:
    import pandas as pd

    from echat_eval.gate.plan import Plan
    from echat_eval.gate.policy import Policy
    from echat_eval.stats import Design

__all__ = ["SHARED", "plan_of_scores"]

#: Assumed correlation of two systems' scores of one sample.
SHARED = 0.5
#: Number of candidates drawn: the share that passes has a standard error of at most 4 points.
_DRAWS = 160
#: Largest factor by which the variance is widened.
_WIDEST = 1e4


def plan_of_scores(
    rows: pd.DataFrame, policy: Policy, *, tests: int, source: str, correlation: float = SHARED
) -> Plan | None:
    """Return the plan from the scores of one run: two systems' scores of a sample are assumed to correlate.

    Args:
        rows: of `Pairs.frame`, the primary metric's, of a run beside itself.
        policy, tests, source: as in `plan_for`.
        correlation: of two systems' scores of one sample.
    """
    rows = over_all_tasks(rows)
    rows = rows[rows["value"].notna()]
    if rows.empty:
        return None
    values = rows["value"].to_numpy(dtype=float)
    ratio = policy.metrics[policy.primary].average == "ratio"
    design = primary_design(rows, policy)
    weights = rows["weight"] if ratio else None
    found = cluster_mean(values, design, weights=weights, level=policy.level)
    plan = plan_of_values(
        rows, values, found, policy, tests=tests, source=source, factor=2 * (1 - correlation)
    )
    if plan is None:
        return None
    members = [np.flatnonzero(design.factors[-1] == code) for code in np.unique(design.factors[-1])]
    if not _alike(values, members):
        return plan
    widened = plan.variances.times(_factor(plan, policy, _passes(rows, members, design, policy, correlation)))
    return plan_for(widened, plan.now.layout, policy, tests=tests, source=source, caution=plan.caution)


def _alike(values: np.ndarray, members: list[np.ndarray]) -> bool:
    """Return whether most pairs of clusters have the same mean, so that few would move."""
    means = np.array([values[own].mean() for own in members])
    same = np.isclose(means[:, None], means).sum() - len(means)
    return bool(same >= (1 - MOVED_SHARE) * max(len(means) * (len(means) - 1), 1))


def _passes(
    rows: pd.DataFrame, members: list[np.ndarray], design: Design, policy: Policy, correlation: float
) -> float:
    """Return the share of equal candidates that pass: some clusters keep their scores, others do not."""
    rng, passed = np.random.default_rng(0), 0
    for _ in range(_DRAWS):
        taken = np.arange(len(rows))
        for own in members:
            if rng.random() >= correlation:
                taken[own] = np.resize(members[rng.integers(len(members))], len(own))
        drawn = rows.assign(same_reply=False)
        for name in {"value", "weight"} & set(rows.columns):
            drawn[name] = rows[name].to_numpy()[taken]
        found = difference(
            drawn,
            policy.metrics[policy.primary],
            coverage=policy.level,
            min_clusters=2,
            design_of=lambda _: design,
        ).observed
        passed += found is not None and found.low is not None and found.low > -policy.margin
    return passed / _DRAWS


def _factor(plan: Plan, policy: Policy, chance: float) -> float:
    """Return the factor of the variance with which the plan promises this chance; 1 if it promises less."""

    def promised(factor: float) -> float:
        variances = plan.variances.times(factor)
        return power_of(policy.margin, variances, plan.now.layout, level=policy.level)

    low, high = 1.0, _WIDEST
    if promised(low) <= chance or promised(high) >= chance:
        return low if promised(low) <= chance else high
    while high / low > 1 + 1e-3:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if promised(middle) > chance else (low, middle)
    return low
