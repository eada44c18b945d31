"""Critical tests: the family of differences and floors that can make a candidate regress."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np

from echat_eval.analysis.bounds import Tests, drop_p_values, to_tests
from echat_eval.analysis.differences import ImputedEstimates, difference, level
from echat_eval.analysis.frames import over_all_tasks
from echat_eval.gate.readability import is_contrast
from echat_eval.gate.reasons import Reason
from echat_eval.gate.rules import RuleKind, RuleResult, State
from echat_eval.gate.units import settled
from echat_eval.stats.drift import corrected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from echat_eval.analysis import Pairs
    from echat_eval.analysis.metric_rule import MetricRule
    from echat_eval.gate.policy import Policy
    from echat_eval.stats import Design
    from echat_eval.stats.drift import JudgeShift

    Floats = NDArray[np.float64]

__all__ = ["CriticalTest", "PValues", "critical_tests", "p_values", "rule_result"]

Kind = Literal["primary", "margin", "guard", "at_least", "at_most"]
_RULE: dict[Kind, RuleKind] = {
    "primary": "primary",
    "margin": "margin",
    "guard": "guard",
    "at_least": "floor",
    "at_most": "floor",
}
_REQUIREMENT: dict[Kind, str] = {
    "primary": "drop below",
    "margin": "drop below",
    "guard": "no significant drop beyond",
    "at_least": "at least",
    "at_most": "at most",
}


@dataclass(frozen=True, slots=True)
class CriticalTest:
    """A difference against 0, or a level against a floor.

    Attributes:
        metric: name of the metric.
        task: name of the task; None for all tasks.
        imputations: the number under test.
        kind: "primary" and "margin" must be shown to hold; a "guard" must not be shown broken; "at_least"
            and "at_most" are floors.
        bound: the margin, the tolerance or the floor.
    """

    metric: str
    task: str | None
    imputations: ImputedEstimates
    kind: Kind
    bound: float

    @property
    def is_level(self) -> bool:
        """Return whether the test concerns the candidate alone."""
        return self.kind in {"at_least", "at_most"}


@dataclass(frozen=True, slots=True)
class PValues:
    """One-sided p-values, not adjusted, (tests,) each.

    Attributes:
        drop: a drop or a broken floor, at the least favourable imputation.
        beyond: a drop beyond the tolerance, at the least favourable imputation.
        possible: a drop beyond the tolerance, at the imputation that favours it most.
    """

    drop: Floats
    beyond: Floats
    possible: Floats


def critical_tests(
    pairs: Pairs, policy: Policy, shifts: Mapping[str, JudgeShift] = MappingProxyType({})
) -> list[CriticalTest]:
    """Return every critical test; the pooled primary difference is the first.

    Args:
        pairs: the shared samples.
        policy: the requirements.
        shifts: metric -> shift of its judge, by which its differences are corrected.
    """
    rows = dict(list(pairs.frame.groupby("metric", sort=False, observed=True)))
    first = difference(
        over_all_tasks(rows[policy.primary]), policy.metrics[policy.primary], **_units(policy, policy.primary)
    )
    first = _without_shift(first, policy.metrics[policy.primary], shifts.get(policy.primary))
    tests = [CriticalTest(policy.primary, None, first, "primary", policy.margin)]
    for name, rule in policy.metrics.items():
        if rule.critical or rule.margin is not None:
            kind: Kind = "guard" if rule.margin is None else "margin"
            for task, part in rows[name].groupby("task", sort=True, observed=True):
                imputations = difference(part, rule, **_units(policy, name))
                imputations = _without_shift(imputations, rule, shifts.get(name))
                if imputations.n:
                    tests.append(CriticalTest(name, str(task), imputations, kind, policy.tolerance(name)))
        floors: tuple[tuple[Kind, float | None], ...] = (
            ("at_least", rule.at_least),
            ("at_most", rule.at_most),
        )
        for kind, floor in floors:
            if floor is not None:
                imputations = level(over_all_tasks(rows[name]), rule, **_units(policy, name))
                tests.append(CriticalTest(name, None, imputations, kind, floor))
    return tests


def _without_shift(found: ImputedEstimates, rule: MetricRule, shift: JudgeShift | None) -> ImputedEstimates:
    """Return a difference without the shift of its judge between the runs."""
    if shift is None:
        return found
    observed, worst, best = (
        None if estimate is None else corrected(estimate, shift.level, sign=rule.sign)
        for estimate in found.estimates
    )
    return replace(found, estimates=(observed, worst, best))


class _Units(TypedDict):
    coverage: float
    min_clusters: int
    design_of: Callable[[Design], Design]


def _units(policy: Policy, metric: str) -> _Units:
    """Return how intervals of a metric are made."""
    coupled = is_contrast(metric, policy.metrics[metric])
    return {
        "coverage": policy.level,
        "min_clusters": policy.fewest_clusters,
        "design_of": lambda design: settled(design, policy, coupled=coupled),
    }


def p_values(tests: list[CriticalTest]) -> PValues:
    """Return the p-values of drops, at the least and at the most favourable imputation."""
    found = to_tests([[test.imputations.estimates[i] for test in tests] for i in range(3)])
    sign = np.array([-1.0 if test.kind == "at_most" else 1.0 for test in tests])
    floor = np.array([test.bound if test.is_level else 0.0 for test in tests])
    low, high = found.of_bounds
    centred = Tests(
        value=(found.value - floor) * sign,
        se=found.se,
        df=found.df,
        se_low=np.where(sign > 0, low, high),
        se_high=np.where(sign > 0, high, low),
    )
    beyond = np.array([0.0 if test.is_level else test.bound for test in tests])
    possible = np.min([drop_p_values(centred.imputation(i), tolerance=beyond) for i in range(3)], axis=0)
    possible[[test.imputations.widened for test in tests]] = 0.0
    return PValues(
        drop=drop_p_values(centred), beyond=drop_p_values(centred, tolerance=beyond), possible=possible
    )


def rule_result(
    test: CriticalTest, policy: Policy, p: float, *, dropped: bool, may_have_dropped: bool
) -> RuleResult:
    """Return the result of the rule that a test belongs to.

    Args:
        test: the difference or level.
        policy: gives the level, the family error and the unit.
        p: adjusted p-value of a drop.
        dropped: a drop beyond the tolerance is significant at every imputation.
        may_have_dropped: a drop beyond the tolerance is significant at some imputation.
    """
    imputations = test.imputations
    low, high = imputations.bounds
    state: State
    if test.kind == "at_least":
        state = "broken" if p <= policy.family_error else _holds_if(low is not None and low >= test.bound)
    elif test.kind == "at_most":
        state = "broken" if p <= policy.family_error else _holds_if(high is not None and high <= test.bound)
    elif test.kind == "guard":
        state = "broken" if dropped else _holds_if(not may_have_dropped and imputations.observed is not None)
    elif high is not None and high < -test.bound:
        state = "broken"
    else:
        state = _holds_if(low is not None and low > -test.bound)
    rule = policy.metrics[test.metric]
    unit = rule.unit if test.is_level else rule.change_unit
    return RuleResult(
        name=f"{test.metric}, {test.task or 'all tasks'}: {_REQUIREMENT[test.kind]} {test.bound:g} "
        f"{unit}".rstrip(),
        kind=_RULE[test.kind],
        state=state,
        value=None if imputations.observed is None else imputations.observed.value,
        low=low,
        high=high,
        p=p,
        detail=imputations.why or "; ".join(_details(imputations)),
        n=imputations.n,
        clusters=imputations.clusters,
        blocking=may_have_dropped,
        reason=(reason := _reason(test, policy)),
        open_by=_open_by(test, policy) if state == "open" else "",
        remedy=imputations.design.remedy if imputations.design is not None and reason in _OF_DESIGN else "",
    )


#: Reasons whose next step depends on the design.
_OF_DESIGN = {Reason.FEW_CLUSTERS, Reason.WIDE_INTERVAL}


def _reason(test: CriticalTest, policy: Policy) -> Reason:
    """Return why a rule is open, if it is."""
    imputations, rule = test.imputations, policy.metrics[test.metric]
    if imputations.missing:
        return Reason.MISSING_ROWS
    if imputations.design is None:
        return Reason.NOT_APPLICABLE
    if imputations.clusters < policy.fewest_clusters:
        return Reason.FEW_CLUSTERS
    if imputations.observed is not None:
        return Reason.WIDE_INTERVAL
    return Reason.LABEL_IN_ONE_CLUSTER if rule.average == "macro" and rule.width else Reason.OPEN_RANGE


def _open_by(test: CriticalTest, policy: Policy) -> str:
    """Return how far the deciding bound is from where the rule would hold; empty if it is unknown."""
    low, high = test.imputations.bounds
    if low is None or high is None:
        return ""
    short = (
        high - test.bound if test.kind == "at_most" else (test.bound if test.is_level else -test.bound) - low
    )
    return f"{short:.2g} {policy.metrics[test.metric].change_unit or 'points'}" if short > 0 else ""


def _details(imputations: ImputedEstimates) -> list[str]:
    found = []
    if imputations.missing:
        found.append(f"{imputations.missing} of {imputations.n} rows are missing")
    if imputations.design is not None and imputations.design.fixed:
        found.append(f"holds for {' and '.join(imputations.design.fixed)} only")
    return found


def _holds_if(shown: bool) -> State:
    return "holds" if shown else "open"
