"""The critical tests: every difference and floor that can make a candidate regress, as one family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from echat_eval.analysis.bounds import Tests, drop_p_values, to_tests, worst_case_bounds
from echat_eval.analysis.differences import ImputedEstimates, difference, level
from echat_eval.gate.rules import RuleKind, RuleResult, State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from echat_eval.analysis import Pairs
    from echat_eval.gate.policy import Policy

    Floats = NDArray[np.float64]

__all__ = ["CriticalTest", "PValues", "critical_tests", "judged", "p_values"]

Kind = Literal["primary", "margin", "guard", "at_least", "at_most"]
_RULE: dict[Kind, RuleKind] = {
    "primary": "primary",
    "margin": "margin",
    "guard": "guard",
    "at_least": "floor",
    "at_most": "floor",
}
_ASKED: dict[Kind, str] = {
    "primary": "drop below",
    "margin": "drop below",
    "guard": "no sure drop beyond",
    "at_least": "at least",
    "at_most": "at most",
}


@dataclass(frozen=True, slots=True)
class CriticalTest:
    """A difference against 0, or a level against a floor.

    Attributes:
        metric: its name.
        task: None for all tasks together.
        fills: the number under test.
        kind: "primary" and "margin" must be shown, a "guard" must not be seen broken, "at_least" and
            "at_most" are floors.
        bound: the margin, the tolerance or the floor.
    """

    metric: str
    task: str | None
    fills: ImputedEstimates
    kind: Kind
    bound: float

    @property
    def is_level(self) -> bool:
        """Whether it is about the candidate alone."""
        return self.kind in {"at_least", "at_most"}


@dataclass(frozen=True, slots=True)
class PValues:
    """One-sided p-values, not adjusted, (tests,) each.

    Attributes:
        drop: of a drop or a broken floor, whatever the missing values are.
        beyond: of a drop beyond the tolerance, whatever the missing values are.
        possible: of a drop beyond the tolerance, for the missing values that speak most for it.
    """

    drop: Floats
    beyond: Floats
    possible: Floats


def critical_tests(pairs: Pairs, policy: Policy) -> list[CriticalTest]:
    """Return every critical test; the pooled primary difference is the first."""
    frame, least = pairs.frame, policy.min_clusters
    rows = dict(list(frame.groupby("metric", sort=False, observed=True)))
    first = difference(
        rows[policy.primary], policy.metrics[policy.primary], coverage=policy.level, min_clusters=least
    )
    tests = [CriticalTest(policy.primary, None, first, "primary", policy.margin)]
    for name, rule in policy.metrics.items():
        if rule.critical or rule.margin is not None:
            kind: Kind = "guard" if rule.margin is None else "margin"
            for task, part in rows[name].groupby("task", sort=True, observed=True):
                fills = difference(part, rule, coverage=policy.level, min_clusters=least)
                if fills.n:
                    tests.append(CriticalTest(name, str(task), fills, kind, policy.tolerance(name)))
        floors: tuple[tuple[Kind, float | None], ...] = (
            ("at_least", rule.at_least),
            ("at_most", rule.at_most),
        )
        for kind, floor in floors:
            if floor is not None:
                fills = level(rows[name], rule, coverage=policy.level, min_clusters=least)
                tests.append(CriticalTest(name, None, fills, kind, floor))
    return tests


def p_values(tests: list[CriticalTest]) -> PValues:
    """Return what the tests say of drops, whatever the missing values are and at the most."""
    found = to_tests([[test.fills.estimates[fill] for test in tests] for fill in range(3)])
    turn = np.array([-1.0 if test.kind == "at_most" else 1.0 for test in tests])
    floor = np.array([test.bound if test.is_level else 0.0 for test in tests])
    centred = Tests(value=(found.value - floor) * turn, se=found.se, df=found.df)
    beyond = np.array([0.0 if test.is_level else test.bound for test in tests])
    possible = np.min([drop_p_values(centred.fill(i), tolerance=beyond) for i in range(3)], axis=0)
    possible[[test.fills.widened for test in tests]] = 0.0
    return PValues(
        drop=drop_p_values(centred), beyond=drop_p_values(centred, tolerance=beyond), possible=possible
    )


def judged(test: CriticalTest, policy: Policy, p: float, *, surely: bool, perhaps: bool) -> RuleResult:
    """Return the rule a test belongs to: what must be shown, or what must not be seen.

    Args:
        test: the difference or level.
        policy: for the level, the family error and the unit.
        p: adjusted p-value of a drop.
        surely: a drop beyond the tolerance is sure.
        perhaps: it would be, under some value of what is missing.
    """
    fills = test.fills
    sure_low, sure_high = worst_case_bounds(to_tests([[one] for one in fills.estimates]), level=policy.level)
    low, high = _or_none(sure_low[0]), _or_none(sure_high[0])
    state: State
    if test.kind == "at_least":
        state = "broken" if p <= policy.family_error else _if(low is not None and low >= test.bound)
    elif test.kind == "at_most":
        state = "broken" if p <= policy.family_error else _if(high is not None and high <= test.bound)
    elif test.kind == "guard":
        state = "broken" if surely else _if(not perhaps and fills.observed is not None)
    elif high is not None and high < -test.bound:
        state = "broken"
    else:
        state = _if(low is not None and low > -test.bound)
    return RuleResult(
        name=f"{test.metric}, {test.task or 'all tasks'}: {_ASKED[test.kind]} {test.bound:g} "
        f"{policy.metrics[test.metric].unit}".rstrip(),
        kind=_RULE[test.kind],
        state=state,
        value=None if fills.observed is None else fills.observed.value,
        low=low,
        high=high,
        p=p,
        detail=fills.why or (f"{fills.missing} of {fills.n} rows are missing" if fills.missing else ""),
        n=fills.n,
        clusters=fills.clusters,
        blocking=perhaps,
    )


def _if(shown: bool) -> State:
    return "holds" if shown else "open"


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
