"""The decision on a first candidate, for which there is no baseline yet.

Limits on the candidate alone are judged: failed and unreadable replies, over-reaction, floors (`at_least`,
`at_most`), missing rows and latency. That nothing became worse cannot be shown; `first_run` of the policy
states whether such a candidate passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis import check_table, one_system, pair
from echat_eval.gate.critical import critical_tests, p_values, rule_result
from echat_eval.gate.decide import blocks, with_caps
from echat_eval.gate.decision import Decision, Provenance
from echat_eval.gate.failures import failures
from echat_eval.gate.limits import latency, missing_share
from echat_eval.gate.over_reaction import over_reactions
from echat_eval.gate.readability import readability
from echat_eval.gate.reasons import STEPS, NextStep, Reason
from echat_eval.gate.steps import next_steps
from echat_eval.gate.units import one_sentence, scope
from echat_eval.stats import holm

if TYPE_CHECKING:
    import pandas as pd

    from echat_eval.gate.policy import Policy
    from echat_eval.gate.rules import Outcome, RuleResult

__all__ = ["decide_first"]

NO_BASELINE = "there is no baseline yet, so that nothing can be compared"


def decide_first(
    candidate: pd.DataFrame, policy: Policy, *, provenance: Provenance | None = None, accept: str = ""
) -> Decision:
    """Return whether a candidate without a baseline may pass.

    Args:
        candidate: long table of one system (see `echat_eval.analysis`).
        policy: the requirements; `first_run` states the outcome if none of them is broken or open.
        provenance: facts about the run besides its scores.
        accept: the command that keeps the candidate as the baseline, for the reader.

    Raises:
        BadData: a malformed table, or a metric of the policy is absent.
        UsageError: a table of several systems.
    """
    provenance = provenance or Provenance()
    ours = one_system(check_table(candidate, location="candidate"), location="candidate")
    pairs = pair(ours, ours, metrics=list(policy.metrics), sentences=policy.sentences)
    policy, caps = with_caps(policy, pairs)
    tests = critical_tests(pairs, policy)
    first, floors = tests[0], [test for test in tests if test.is_level]
    adjusted = holm(p_values(floors).drop) if floors else np.array([])
    rules = [
        rule_result(test, policy, float(p), dropped=False, may_have_dropped=False)
        for test, p in zip(floors, adjusted, strict=True)
    ]
    failed, readable = failures(ours, None, policy), readability(ours, None, policy)
    rules += [
        *failed.rules,
        *readable.rules,
        *over_reactions(ours, None, policy),
        *one_sentence(first.imputations.design),
        *missing_share(ours, policy),
        *latency(ours, policy, provenance),
    ]
    blocking = [rule for rule in rules if blocks(rule)]
    outcome = _outcome(blocking, policy, provenance, total=failed.total)
    reasons = [blocker.text for blocker in provenance.blockers]
    reasons += [f"{r.name}: {r.state}{f' ({r.detail})' if r.detail else ''}" for r in blocking]
    if outcome == "cannot tell":
        reasons.append(NO_BASELINE)
    keep = f"; to keep this run as the baseline: {accept}" if accept and outcome != "regress" else ""
    passed = f"{NO_BASELINE}; the policy lets a first candidate pass (`first_run: pass`)"
    return Decision(
        outcome=outcome,
        with_drop=False,
        reasons=tuple(reasons),
        rules=tuple(rules),
        primary=policy.primary,
        difference=None,
        low=None,
        high=None,
        margin=policy.margin,
        counts=f"{pairs.shared} samples without a baseline",
        missing=first.imputations.missing,
        detectable=None,
        plan=None,
        warnings=(
            *((passed + keep,) if outcome == "pass" else (keep.removeprefix("; "),) if keep else ()),
            *failed.warnings,
            *readable.warnings,
            *provenance.notes,
            *caps,
        ),
        failures=failed.text,
        readability=readable.text,
        scope=scope(first.imputations.design, policy),
        next_steps=(*next_steps(blocking, provenance), _keep(accept)) if outcome == "cannot tell" else (),
        tries="tries: none is counted without a baseline",
        runs=provenance.runs,
        date=provenance.date,
    )


def _outcome(blocking: list[RuleResult], policy: Policy, provenance: Provenance, *, total: bool) -> Outcome:
    if total or any(rule.state == "broken" for rule in blocking):
        return "regress"
    return "cannot tell" if blocking or provenance.blockers else policy.first_run


def _keep(accept: str) -> NextStep:
    """Return the step that gives later candidates a baseline."""
    action = (
        f"if the run is good, keep it as the baseline: `{accept}`" if accept else STEPS[Reason.NO_BASELINE]
    )
    return NextStep(reason=Reason.NO_BASELINE, rule=NO_BASELINE, open_by="", action=action)
