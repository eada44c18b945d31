"""The decision from two tables and a policy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis import Pairs, check_table, one_system, pair
from echat_eval.analysis.differences import ImputedEstimates
from echat_eval.analysis.metric_rule import cap_note, with_cap
from echat_eval.errors import Exit
from echat_eval.gate.critical import CriticalTest, critical_tests, p_values, rule_result
from echat_eval.gate.decision import Decision, Provenance
from echat_eval.gate.evidence import levels, worst_samples
from echat_eval.gate.failures import failures, raised
from echat_eval.gate.limits import latency, shares
from echat_eval.gate.needs import with_needs
from echat_eval.gate.over_reaction import over_reactions
from echat_eval.gate.plan import plan_of_differences
from echat_eval.gate.policy import MAX_OVER_REACTION, MAX_UNSHARED
from echat_eval.gate.readability import readability
from echat_eval.gate.rules import Outcome, RuleResult, min_detectable, outcomes
from echat_eval.gate.steps import next_steps
from echat_eval.gate.units import one_sentence, scope
from echat_eval.stats import holm

if TYPE_CHECKING:
    import pandas as pd

    from echat_eval.gate.failures import GuardReport
    from echat_eval.gate.plan import Plan
    from echat_eval.gate.policy import Policy

__all__ = ["blocks", "decide", "with_caps"]

OUTCOMES: dict[int, Outcome] = {Exit.DONE: "pass", Exit.REGRESS: "regress", Exit.CANNOT_TELL: "cannot tell"}


def decide(
    candidate: pd.DataFrame,
    against: pd.DataFrame,
    policy: Policy,
    *,
    provenance: Provenance | None = None,
) -> Decision:
    """Return whether a candidate may replace its baseline.

    Args:
        candidate: long table of one system (see `echat_eval.analysis`).
        against: long table of the baseline, one system.
        policy: the requirements.
        provenance: facts about the runs besides their scores; without them latency is not judged.

    Raises:
        BadData: a malformed table, a metric absent from one of them, no shared samples, or a value outside
            the range that the policy gives.
        UsageError: a table of several systems.
    """
    provenance = provenance or Provenance()
    ours = one_system(check_table(candidate, location="candidate"), location="candidate")
    theirs = one_system(check_table(against, location="against"), location="against")
    pairs = pair(ours, theirs, metrics=list(policy.metrics), sentences=policy.sentences)
    policy, caps = with_caps(policy, pairs)
    provenance = replace(provenance, notes=(*provenance.notes, *caps))
    # A try of several has narrower room to err, in the bounds that a pass stands on.
    strict = policy if provenance.tries is None else policy.spending(provenance.tries.share)
    tests = critical_tests(pairs, strict, provenance.shifts)
    p = p_values(tests)
    adjusted = holm(p.drop)
    dropped = holm(p.beyond) <= policy.family_error
    may_have_dropped = holm(p.possible) <= policy.family_error
    rules = [
        rule_result(
            test,
            strict,
            float(adjusted[i]),
            dropped=bool(dropped[i]),
            may_have_dropped=bool(may_have_dropped[i]),
        )
        for i, test in enumerate(tests)
    ]
    rules = with_needs(rules, tests, pairs, strict)
    failed, readable = failures(ours, theirs, policy), readability(ours, theirs, policy)
    limits = [
        *failed.rules,
        *readable.rules,
        *over_reactions(ours, theirs, policy),
        *one_sentence(tests[0].imputations.design),
        *shares(ours, theirs, policy),
        *latency(ours, policy, provenance),
    ]
    code = outcomes(
        holds=np.array([not blocks(rule) for rule in [*rules, *limits]]),
        drop_p=p.beyond,
        broken=np.array([rule.state == "broken" for rule in limits], dtype=bool),
        family_error=policy.family_error,
    )
    outcome = OUTCOMES[int(code)] if not provenance.blockers else "cannot tell"
    if failed.total:  # no fact about the baseline, and no policy, can make up for it
        outcome = "regress"
    drops = [rule for rule in rules if rule.p is not None and rule.p <= policy.family_error]
    guards = (failed, readable)
    decision = _decision(outcome, tests, [*rules, *limits], drops, pairs, strict, provenance, guards)
    return replace(decision, levels=levels(pairs, policy), worst=worst_samples(pairs, ours, policy))


def with_caps(policy: Policy, pairs: Pairs) -> tuple[Policy, list[str]]:
    """Return the policy with caps for missing values of metrics without an upper end, and a note on each."""
    metrics, notes = {}, []
    for name, rule in policy.metrics.items():
        rows = pairs.frame[pairs.frame["metric"] == name]
        metrics[name] = with_cap(name, rule, rows[["value", "against"]])
        missing = int(((rows["state"] == "missing") | (rows["against_state"] == "missing")).sum())
        notes.append(cap_note(name, metrics[name], rule, missing))
    return replace(policy, metrics=metrics), list(filter(None, notes))


def blocks(rule: RuleResult) -> bool:
    """Return whether a rule prevents a pass; an open guard does only if missing values may hide a drop."""
    return rule.state == "broken" or (rule.state == "open" and (rule.kind != "guard" or rule.blocking))


def _decision(
    outcome: Outcome,
    tests: list[CriticalTest],
    rules: list[RuleResult],
    drops: list[RuleResult],
    pairs: Pairs,
    policy: Policy,
    provenance: Provenance,
    guards: tuple[GuardReport, GuardReport],
) -> Decision:
    """Return the outcome with its reasons, numbers and warnings."""
    first, rows = tests[0], pairs.frame[pairs.frame["metric"] == policy.primary]
    detectable = min_detectable(first.imputations.observed, level=policy.level, power=policy.power)
    source = "the differences of these runs"
    plan = plan_of_differences(rows, first.imputations, policy, tests=len(tests), source=source)
    reasons = [blocker.text for blocker in provenance.blockers]
    # Of a regression the broken rules come before the open ones.
    blocking = sorted(
        (rule for rule in rules if blocks(rule)),
        key=lambda rule: (outcome == "regress" and rule.state != "broken", rule.kind != "share"),
    )
    reasons += [f"{r.name}: {r.state}{f' ({r.detail})' if r.detail else ''}" for r in blocking]
    reasons += [
        f"{r.name.partition(':')[0]}: significant drop (adjusted p = {r.p:.2g}), "
        "not shown to be larger than the tolerance"
        for r in drops
        if r.state != "broken"
    ]
    return Decision(
        outcome=outcome,
        with_drop=outcome == "pass" and (bool(drops) or (rules[0].high or 0.0) < 0),
        reasons=tuple(reasons),
        rules=tuple(rules),
        primary=policy.primary,
        difference=first.imputations.observed,
        low=rules[0].low,
        high=rules[0].high,
        margin=policy.margin,
        counts=pairs.counts,
        missing=first.imputations.missing,
        detectable=detectable,
        plan=plan,
        warnings=(
            *(warning for guard in guards for warning in guard.warnings),
            *provenance.notes,
            *_warnings(pairs, policy, first.imputations, detectable, plan),
        ),
        failures=guards[0].text,
        readability=guards[1].text,
        scope=scope(first.imputations.design, policy),
        next_steps=next_steps(blocking, provenance) if outcome == "cannot tell" else (),
        tries=_tries(policy, provenance),
        baseline=provenance.baseline,
        runs=provenance.runs,
        date=provenance.date,
    )


def _tries(policy: Policy, provenance: Provenance) -> str:
    """Return the place of a candidate in the ledger of tries, and the bound that a pass needs."""
    if provenance.tries is None:
        return "tries: not counted"
    return f"{provenance.tries.text}: a pass needs the lower {50 + 50 * policy.level:.5g} % bound"


def _warnings(
    pairs: Pairs,
    policy: Policy,
    imputations: ImputedEstimates,
    detectable: float | None,
    plan: Plan | None,
) -> list[str]:
    warnings = []
    if bool(pairs.frame["same_reply"].all()):
        warnings.append("every shared reply is the same as the baseline's, byte for byte")
    elif imputations.observed is not None and _constant(pairs, policy):
        warnings.append(
            f"every difference of {policy.primary} is {imputations.observed.value:g}: the interval is what "
            f"{imputations.clusters} clusters exclude on the metric's range; is the metric stuck?"
        )
    if imputations.design is not None:
        fixed = "; sentences are fixed: the decision holds for these only" * (policy.sentences == "fixed")
        few = " and ".join(imputations.design.fixed)
        fixed += f"; {few}, too few to generalise over: the decision holds for these only" * bool(few)
        warnings.append(f"design: {imputations.design}{fixed}")
    else:
        warnings.append("design: unknown, because no row counts")
    if detectable is not None and detectable > policy.margin:
        needed = None if plan is None else plan.best
        sufficient = f"; {needed.layout} would be enough" if needed else ""
        warnings.append(
            f"the margin {policy.margin:g} is below the smallest detectable difference {detectable:.2g}: an "
            f"equal candidate passes less often than in {100 * policy.power:.0f} % of runs{sufficient}"
        )
    warnings += raised("of the baseline's rows left out", policy.max_unshared, MAX_UNSHARED)
    warnings += raised("over-reaction", policy.max_over_reaction / 100, MAX_OVER_REACTION / 100)
    if pairs.only_candidate or pairs.only_against:
        warnings.append(f"only part of the samples are shared: {pairs.counts}")
    if not pairs.linked:
        warnings.append(
            "no column (cluster, speaker, transcript, contrast_group) links samples that vary together: each "
            "counts as independent, and the error rates do not hold if they are not"
        )
    return warnings


def _constant(pairs: Pairs, policy: Policy) -> bool:
    """Return whether all differences of the primary metric are the same number."""
    rows = pairs.frame[pairs.frame["metric"] == policy.primary]
    return bool((rows["value"] - rows["against"]).dropna().nunique() == 1)
