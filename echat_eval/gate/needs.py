"""The needs of an open rule: the samples, speakers and sentences that would decide it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis.frames import over_all_tasks
from echat_eval.gate.plan import plan_of_differences, plan_of_level
from echat_eval.gate.plan_text import share_text
from echat_eval.gate.reasons import Reason
from echat_eval.stats.shares import clusters_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.analysis import Pairs
    from echat_eval.gate.critical import CriticalTest
    from echat_eval.gate.plan import Plan
    from echat_eval.gate.policy import Policy
    from echat_eval.gate.rules import RuleResult

__all__ = ["needs_text", "with_needs"]


def with_needs(
    rules: Sequence[RuleResult], tests: Sequence[CriticalTest], pairs: Pairs, policy: Policy
) -> list[RuleResult]:
    """Return the rules of critical tests; one that is open for its interval names what would narrow it."""
    return [
        rule
        if rule.state != "open" or rule.reason is not Reason.WIDE_INTERVAL
        else replace(rule, remedy=_remedy(rule, test, pairs, policy))
        for rule, test in zip(rules, tests, strict=True)
    ]


def _remedy(rule: RuleResult, test: CriticalTest, pairs: Pairs, policy: Policy) -> str:
    rows = pairs.frame[pairs.frame["metric"] == test.metric]
    rows = over_all_tasks(rows) if test.task is None else rows[rows["task"] == test.task]
    observed = test.imputations.observed
    assert observed is not None
    if not test.is_level:
        own = replace(policy, primary=test.metric, margin=test.bound)
        plan = plan_of_differences(rows, test.imputations, own, tests=len(rows), source="")
        return needs_text(plan, "an equal candidate would pass") or rule.remedy
    distance = (observed.value - test.bound) * (1 if test.kind == "at_least" else -1)
    if distance <= 0:
        return (
            "improve the candidate, or change the floor: the level is beyond it, which more data would show"
        )
    fewest = _fewest_clusters(rows["value"].dropna().to_numpy(dtype=float), test, policy)
    if observed.clusters < fewest:
        return (
            f"use at least {fewest} clusters (now {observed.clusters}): with fewer no share is shown to be "
            "inside the bound, not even one without an event"
        )
    own = replace(policy, primary=test.metric, margin=distance)
    return needs_text(plan_of_level(rows, observed, own), "the level as it is would hold") or rule.remedy


def _fewest_clusters(values: np.ndarray, test: CriticalTest, policy: Policy) -> int:
    """Return the fewest clusters with which a level of right or wrong values can hold; 0: of other values."""
    rule = policy.metrics[test.metric]
    if rule.low is None or rule.high is None or not np.isin(values, (rule.low, rule.high)).all():
        return 0
    inside = test.bound - rule.low if test.kind == "at_most" else rule.high - test.bound
    share = inside / (rule.high - rule.low)
    return clusters_for(share, level=policy.level) if 0 < share < 1 else 0


def needs_text(plan: Plan | None, then: str) -> str:
    """Return what the policy's power needs in words; empty if a plan is impossible.

    >>> needs_text(None, "it would hold")
    ''
    """
    if plan is None:
        return ""
    if plan.enough:
        chance = share_text(plan.now.equal_passes)
        return (
            f"the test set is large enough ({then} in {chance} of such runs): list the samples that became "
            "worse with `echat-eval compare`"
        )
    found = [option for option in plan.options if option.outlook is not None]
    if not found:
        return "no number of samples is enough: take a wider margin"
    texts = [f"{option.outlook.layout} (now {plan.now.layout})" for option in found[:1] if option.outlook]
    texts += [str(option.outlook.layout) for option in found[1:] if option.outlook]
    return f"use {', or '.join(texts)}: {then} in {100 * plan.power:.0f} % of runs"
