"""The plan from the scores of a baseline alone, for a candidate that is assumed to be like it.

The spread of the differences follows from that of the scores and from an assumed correlation. Where nearly
all scores are the same, few clusters of two such runs differ, and the bounds of a decision lie farther away
than the spread alone puts them (see `stats.tails`). Then equal candidates are drawn: the plan promises no
more than the share of them that passes, and names a size only if enough candidates of that size pass.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis.frames import over_all_tasks
from echat_eval.gate.plan import Option, Outlook, growths, plan_of_values, primary_design, whole
from echat_eval.gate.plan_draws import DRAWS, Draws
from echat_eval.stats import cluster_mean
from echat_eval.stats.power import power_of
from echat_eval.stats.tails import MOVED_SHARE

if TYPE_CHECKING:
    import pandas as pd

    from echat_eval.gate.plan import Plan
    from echat_eval.gate.policy import Policy
    from echat_eval.stats.power import Layout

__all__ = ["SHARED", "plan_of_scores"]

#: Assumed correlation of two systems' scores of one sample.
SHARED = 0.5
#: Largest factor by which the variance is widened, if the metric has no range.
_WIDEST = 1e4
#: Factor from one size that is drawn to the next.
_STEP = 1.25
#: No size is drawn that has more samples than this, nor than this factor times those at hand.
_MOST_SAMPLES, _MOST_TIMES = 20_000, 40


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
    draws = Draws(rows, design, policy, tests=tests, correlation=correlation)
    if not _alike(values, draws.members):
        return plan
    now = _no_more(plan.now, draws.outlook(plan.now.layout))
    options = tuple(_drawn(option, plan.now.layout, draws, policy) for option in plan.options)
    width = policy.metrics[policy.primary].width
    widest = _WIDEST if width is None else max(width**2 / max(plan.variances.total, 1e-300), 1.0)
    widened = plan.variances.times(_factor(plan, policy, now.equal_passes, widest))
    return replace(plan, now=now, options=options, variances=widened, draws=DRAWS)


def _alike(values: np.ndarray, members: list[np.ndarray]) -> bool:
    """Return whether most pairs of clusters have the same mean, so that few would move."""
    means = np.array([values[own].mean() for own in members])
    same = np.isclose(means[:, None], means).sum() - len(means)
    return bool(same >= (1 - MOVED_SHARE) * max(len(means) * (len(means) - 1), 1))


def _no_more(promised: Outlook, drawn: Outlook) -> Outlook:
    """Return the promised chances, or what was drawn where that is less."""
    return replace(
        promised,
        equal_passes=min(promised.equal_passes, drawn.equal_passes),
        drop_shown=min(promised.drop_shown, drawn.drop_shown),
        twice_shown=min(promised.twice_shown, drawn.twice_shown),
    )


def _drawn(option: Option, at: Layout, draws: Draws, policy: Policy) -> Option:
    """Return the first size, from the planned one upwards, at which enough of the drawn candidates pass."""
    speakers, sentences = next((a, b) for name, a, b in growths(at) if name == option.more)
    planned = option.outlook.layout if option.outlook is not None else at
    factor = planned.speakers / at.speakers if speakers else planned.sentences / at.sentences
    largest = max(min(at.samples * _MOST_TIMES, _MOST_SAMPLES), at.samples)
    estimated = option.outlook is None
    while (layout := whole(at.scaled(factor**speakers, factor**sentences))).samples <= largest:
        outlook = draws.outlook(layout, at_least=policy.power)
        if outlook.equal_passes >= policy.power:
            return replace(option, outlook=outlook, estimated=estimated)
        factor, estimated = factor * _STEP, True
    return replace(option, outlook=None, largest=largest)


def _factor(plan: Plan, policy: Policy, chance: float, widest: float) -> float:
    """Return the factor of the variance with which the plan promises this chance; 1 if it promises less."""

    def promised(factor: float) -> float:
        variances = plan.variances.times(factor)
        return power_of(policy.margin, variances, plan.now.layout, level=policy.level)

    low, high = 1.0, widest
    if promised(low) <= chance or promised(high) >= chance:
        return low if promised(low) <= chance else high
    while high / low > 1 + 1e-3:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if promised(middle) > chance else (low, middle)
    return low
