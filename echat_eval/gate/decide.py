"""From two tables and a policy to a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis import Pairs, check_table, one_system, pair
from echat_eval.analysis.differences import ImputedEstimates
from echat_eval.errors import Exit
from echat_eval.gate.critical import CriticalTest, critical_tests, judged, p_values
from echat_eval.gate.decision import Decision, Provenance
from echat_eval.gate.limits import latency, shares
from echat_eval.gate.rules import Outcome, RuleResult, min_detectable, outcomes
from echat_eval.stats import Detectable, holm, samples_needed

if TYPE_CHECKING:
    import pandas as pd

    from echat_eval.gate.policy import Policy

__all__ = ["blocks", "decide"]

OUTCOMES: dict[int, Outcome] = {Exit.DONE: "pass", Exit.REGRESS: "regress", Exit.CANNOT_TELL: "cannot tell"}


def decide(
    candidate: pd.DataFrame,
    against: pd.DataFrame,
    policy: Policy,
    *,
    provenance: Provenance | None = None,
) -> Decision:
    """Say whether a candidate may replace the system it is held against.

    Args:
        candidate: long table of one system (see `echat_eval.analysis`).
        against: long table of one system.
        policy: what to hold.
        provenance: what else is known of the runs; without it times are not judged.

    Raises:
        BadData: a table that breaks its form, a metric that one of them lacks, no shared samples, a value
            outside the range that the policy gives.
        UsageError: a table of several systems.
    """
    provenance = provenance or Provenance()
    ours = one_system(check_table(candidate, where="candidate"), where="candidate")
    theirs = one_system(check_table(against, where="against"), where="against")
    pairs = pair(ours, theirs, metrics=list(policy.metrics))
    tests = critical_tests(pairs, policy)
    p = p_values(tests)
    adjusted, surely, perhaps = (
        holm(p.drop),
        holm(p.beyond) <= policy.family_error,
        holm(p.possible) <= policy.family_error,
    )
    rules = [
        judged(test, policy, float(adjusted[i]), surely=bool(surely[i]), perhaps=bool(perhaps[i]))
        for i, test in enumerate(tests)
    ]
    limits = [*shares(ours, pairs, policy), *latency(ours, policy, provenance)]
    code = outcomes(
        holds=np.array([not blocks(rule) for rule in [*rules, *limits]]),
        drop_p=p.drop,
        broken=np.array([rule.state == "broken" for rule in limits], dtype=bool),
        family_error=policy.family_error,
    )
    outcome = OUTCOMES[int(code)] if not provenance.blockers else "cannot tell"
    dropped = [rule for rule in rules if rule.p is not None and rule.p <= policy.family_error]
    return _decision(outcome, tests[0], [*rules, *limits], dropped, pairs, policy, provenance)


def blocks(rule: RuleResult) -> bool:
    """Whether a rule in this state prevents a pass; a guard does so only if a drop is possible to see."""
    return rule.state == "broken" or (rule.state == "open" and (rule.kind != "guard" or rule.blocking))


def _decision(
    outcome: Outcome,
    first: CriticalTest,
    rules: list[RuleResult],
    dropped: list[RuleResult],
    pairs: Pairs,
    policy: Policy,
    provenance: Provenance,
) -> Decision:
    """Put everything together that the outcome was reached with."""
    seen, needed = _design(first.fills, policy)
    reasons = [*provenance.blockers]
    reasons += [f"{r.name}: {r.state}{f' ({r.detail})' if r.detail else ''}" for r in rules if blocks(r)]
    reasons += [
        f"{r.name.partition(':')[0]}: a drop is sure (adjusted p = {r.p:.2g})"
        for r in dropped
        if not blocks(r)
    ]
    return Decision(
        outcome=outcome,
        with_drop=outcome == "pass" and (bool(dropped) or (rules[0].high or 0.0) < 0),
        reasons=tuple(reasons),
        rules=tuple(rules),
        primary=policy.primary,
        difference=first.fills.observed,
        low=rules[0].low,
        high=rules[0].high,
        margin=policy.margin,
        counts=pairs.counts,
        missing=first.fills.missing,
        detectable=seen,
        needed=needed,
        warnings=(*provenance.notes, *_warnings(pairs, policy, seen, needed)),
    )


def _design(fills: ImputedEstimates, policy: Policy) -> tuple[float | None, Detectable | None]:
    """Return what a run like this one can detect, and the samples that would do if that is too much."""
    seen, found = min_detectable(fills.observed, level=policy.level, power=policy.power), fills.observed
    if found is None or not found.se or found.df is None or seen is None or seen <= policy.margin:
        return seen, None
    needed = samples_needed(
        policy.margin,
        se=found.se,
        df=found.df,
        n=found.n,
        clusters=found.clusters,
        level=policy.level,
        power=policy.power,
        limit=0.8,
    )
    return seen, needed


def _warnings(pairs: Pairs, policy: Policy, seen: float | None, needed: Detectable | None) -> list[str]:
    said = []
    if seen is not None and seen > policy.margin:
        enough = f"; {needed.samples} samples in {needed.clusters} clusters would do" if needed else ""
        said.append(
            f"the margin {policy.margin:g} is below the smallest detectable difference {seen:.2g}: an equal "
            f"candidate passes less often than {100 * policy.power:.0f} %{enough}"
        )
    if pairs.only_candidate or pairs.only_against:
        said.append(f"only part of the samples is shared: {pairs.counts}")
    if not pairs.linked:
        said.append(
            "nothing says which samples vary together (cluster, speaker, transcript, contrast_group): each "
            "counts as independent, and if they are not, the error rates do not hold"
        )
    return said
