"""The plan of a run: what a test set can show, and what it needs, before a call is made.

A plan comes from the paired differences of two runs, from the scores of a baseline alone, or from assumed
numbers. Every decision has the plan of its own differences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis.differences import observed_differences
from echat_eval.analysis.frames import over_all_tasks
from echat_eval.analysis.pairs import UNIT
from echat_eval.gate.readability import is_contrast
from echat_eval.gate.units import settled
from echat_eval.stats import Detectable, as_design
from echat_eval.stats.design import upper_limit
from echat_eval.stats.power import (
    Layout,
    Variances,
    bound_factors,
    fitted_variances,
    layout_of,
    power_of,
    standard_error,
)
from echat_eval.stats.quantiles import student_quantile

if TYPE_CHECKING:
    import pandas as pd

    from echat_eval.analysis.differences import ImputedEstimates
    from echat_eval.gate.policy import Policy
    from echat_eval.stats import Design, Estimate

__all__ = [
    "Option",
    "Outlook",
    "Plan",
    "growths",
    "layout_of_rows",
    "plan_for",
    "plan_of_differences",
    "plan_of_values",
    "primary_design",
    "whole",
]

#: A plan is made for the upper limit of an observed spread, as `rules.min_detectable`.
LIMIT = 0.8
#: Largest factor of a search; more is no plan.
MOST = 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Chances of a run with this layout.

    Attributes:
        layout: samples, speakers and sentences.
        repeats: verdicts a reply.
        equal_passes: an equal candidate passes by the primary difference.
        drop_shown: a drop of the margin is significant in the primary difference, after Holm. It is also the
            chance that a drop of twice the margin is significantly beyond the margin, which is "regress".
        twice_shown: a drop of twice the margin is significant, after Holm.
    """

    layout: Layout
    repeats: int
    equal_passes: float
    drop_shown: float
    twice_shown: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A way to reach the power of the policy.

    Attributes:
        more: what there is more of, such as "speakers".
        outlook: with what is needed; None: no number of these is enough.
        estimated: candidates that were drawn need another size than the one that follows from the spread.
        largest: number of samples up to which no size was enough for drawn candidates; None: not drawn.
    """

    more: str
    outlook: Outlook | None
    estimated: bool = False
    largest: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The chances of a test set, and its needs.

    Attributes:
        primary: name of the metric.
        margin, power: of the policy.
        tests: size of the family of critical differences.
        source: where the spread comes from, for the reader.
        sd: standard deviation of one sample's difference.
        variances: of one sample's difference, with one verdict a reply.
        caution: factor of the spread for what is needed.
        now: the chances with the layout at hand.
        options: what is needed for the policy's power, at the upper limit of an observed spread.
        draws: number of candidates that were drawn for the chances; 0: they follow from the variances.
    """

    primary: str
    margin: float
    power: float
    tests: int
    source: str
    sd: float
    variances: Variances
    caution: float
    now: Outlook
    options: tuple[Option, ...]
    draws: int = 0

    @property
    def best(self) -> Outlook | None:
        """Return what is needed with the fewest samples."""
        found = [option.outlook for option in self.options if option.outlook is not None]
        return min(found, key=lambda outlook: outlook.layout.samples * outlook.repeats, default=None)

    @property
    def enough(self) -> bool:
        """Return whether the layout at hand has the power."""
        return self.best is not None and self.best.layout.samples <= self.now.layout.samples

    @property
    def needed(self) -> Detectable | None:
        """Return the samples and clusters that are needed; None if these are enough, or none would be."""
        if self.best is None or self.enough:
            return None
        layout = self.best.layout
        clusters = min(layout.speakers, layout.sentences) if layout.crossed else layout.speakers
        return Detectable(samples=math.ceil(layout.samples), clusters=max(2, math.ceil(clusters)))


def plan_for(
    variances: Variances,
    layout: Layout,
    policy: Policy,
    *,
    tests: int,
    source: str,
    caution: float = 1.0,
    repeats: int = 1,
) -> Plan:
    """Return the plan for these variances of a sample's difference.

    Args:
        variances: with one verdict a reply.
        layout: at hand.
        policy: the requirements.
        tests: size of the family of critical differences.
        source: for the reader.
        caution: factor of the spread for what is needed.
        repeats: verdicts a reply at hand.
    """
    family = 1 - 2 * policy.family_error / max(tests, 1)

    def outlook(at: Layout, verdicts: int) -> Outlook:
        spread = variances.with_repeats(verdicts)
        return Outlook(
            layout=at,
            repeats=verdicts,
            equal_passes=power_of(policy.margin, spread, at, level=policy.level),
            drop_shown=power_of(policy.margin, spread, at, level=family, error_level=policy.level),
            twice_shown=power_of(2 * policy.margin, spread, at, level=family, error_level=policy.level),
        )

    wide = variances.times(caution**2)
    options = []
    for more, speakers, sentences in growths(layout):
        for verdicts in (repeats, *((3,) if variances.judge and repeats < 3 else ())):
            factor = _factor(wide.with_repeats(verdicts), layout, policy, speakers, sentences)
            at = None if factor is None else layout.scaled(factor**speakers, factor**sentences)
            name = more if verdicts == repeats else f"{more}, {verdicts} verdicts a reply"
            options.append(Option(more=name, outlook=None if at is None else outlook(whole(at), verdicts)))
    return Plan(
        primary=policy.primary,
        margin=policy.margin,
        power=policy.power,
        tests=tests,
        source=source,
        sd=math.sqrt(variances.with_repeats(repeats).total),
        variances=variances,
        caution=caution,
        now=outlook(layout, repeats),
        options=tuple(options),
    )


def growths(layout: Layout) -> list[tuple[str, int, int]]:
    """Return what a layout can have more of, and whether the numbers of speakers and sentences grow by it."""
    if not layout.crossed:
        return [(layout.name, 1, 0)]
    return [("speakers", 1, 0), ("sentences", 0, 1), ("speakers and sentences", 1, 1)]


def _factor(
    variances: Variances, layout: Layout, policy: Policy, speakers: int, sentences: int
) -> float | None:
    """Return the smallest growth that has the policy's power; None if there is none."""

    def enough(factor: float) -> bool:
        at = layout.scaled(factor**speakers, factor**sentences)
        return power_of(policy.margin, variances, at, level=policy.level) >= policy.power

    fewest = policy.fewest_clusters
    low = max(
        [fewest / n for n, grows in ((layout.speakers, speakers), (layout.sentences, sentences)) if grows]
    )
    high = MOST
    if not enough(high):
        return None
    if enough(low):
        return low
    while high / low > 1 + 1e-4:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def whole(layout: Layout) -> Layout:
    """Return a layout with whole numbers."""
    return replace(
        layout,
        samples=float(math.ceil(layout.samples - 1e-9)),
        speakers=float(math.ceil(layout.speakers - 1e-9)),
        sentences=float(math.ceil(layout.sentences - 1e-9)),
    )


def plan_of_differences(
    rows: pd.DataFrame, imputations: ImputedEstimates, policy: Policy, *, tests: int, source: str
) -> Plan | None:
    """Return the plan of the paired differences of two runs.

    Args:
        rows: of `Pairs.frame`, the primary metric's.
        imputations: their pooled difference.
        policy, tests, source: as in `plan_for`.

    Returns:
        None without a spread: too few clusters, nothing that varies, or the same replies.
    """
    rows, rule = over_all_tasks(rows), policy.metrics[policy.primary]
    keep, x = observed_differences(rows, rule)
    if imputations.observed is None or not keep.any():
        return None
    return plan_of_values(rows[keep], x, imputations.observed, policy, tests=tests, source=source)


def plan_of_values(
    rows: pd.DataFrame,
    x: np.ndarray,
    found: Estimate,
    policy: Policy,
    *,
    tests: int,
    source: str,
    factor: float = 1.0,
) -> Plan | None:
    """Return the plan of values whose mean has this estimate.

    Args:
        rows: of `Pairs.frame`, the primary metric's.
        x: (rows,) values or differences.
        found: their mean.
        policy, tests, source: as in `plan_for`.
        factor: of the variance.
    """
    rule = policy.metrics[policy.primary]
    design = primary_design(rows, policy)
    if not found.se or found.df is None or design.clusters < 2:
        return None
    variances = fitted_variances(x, design)
    layout = layout_of(design, correlation=variances.by_speaker / max(variances.total, 1e-300))
    # Chance skews small runs, which the power allows for; more than that is the metric's own.
    q = student_quantile(found.df, 0.5 + policy.level / 2)
    se = max(found.se, (found.se_low or found.se) / float(bound_factors(layout, q).max()))
    modelled = standard_error(variances, layout)
    if modelled == 0:  # constant differences: the interval is what the clusters exclude
        variances = Variances(by_speaker=0.0, by_sentence=0.0, rest=se**2 * layout.samples)
    elif layout.crossed and rule.average == "mean":
        variances = variances.times((se / found.se) ** 2)
    else:
        variances = variances.times((se / modelled) ** 2)
    caution = float(upper_limit(np.asarray(1.0), np.asarray(found.df), LIMIT))
    return plan_for(variances.times(factor), layout, policy, tests=tests, source=source, caution=caution)


def layout_of_rows(rows: pd.DataFrame, policy: Policy) -> Layout:
    """Return the layout of rows of `Pairs.frame`, those of the primary metric."""
    return layout_of(primary_design(over_all_tasks(rows), policy))


def primary_design(rows: pd.DataFrame, policy: Policy) -> Design:
    """Return the design of rows of `Pairs.frame`, those of the primary metric."""
    coupled = is_contrast(policy.primary, policy.metrics[policy.primary])
    return settled(as_design(rows[UNIT].to_numpy()), policy, coupled=coupled)


def plan_of_level(rows: pd.DataFrame, found: Estimate, policy: Policy) -> Plan | None:
    """Return the plan for a level that is the policy's margin away from its floor.

    Args:
        rows: of `Pairs.frame`: those of the metric that the level is of.
        found: the level.
        policy: its primary metric is the level's.
    """
    rows = rows[rows["value"].notna()]
    x = rows["value"].to_numpy(dtype=float)
    return plan_of_values(rows, x, found, policy, tests=1, source="the candidate's values")
