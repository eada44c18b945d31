"""Limits on the candidate alone: missing and unshared rows, and latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis import Pairs, table_units
from echat_eval.analysis.differences import share_over
from echat_eval.gate.rules import RuleResult, State
from echat_eval.stats import as_design

if TYPE_CHECKING:
    import pandas as pd

    from echat_eval.gate.decision import Provenance
    from echat_eval.gate.policy import Policy

__all__ = ["latency", "shares"]


def shares(ours: pd.DataFrame, pairs: Pairs, policy: Policy) -> list[RuleResult]:
    """Return the rules on the shares of primary rows that are missing or not shared."""
    states = ours.loc[ours["metric"] == policy.primary, "state"]
    states = states[states != "not applicable"]
    theirs = pairs.shared + pairs.only_against
    limits = [
        ("missing", policy.max_missing, int((states == "missing").sum()), len(states)),
        ("not shared", policy.max_unshared, pairs.only_against, theirs),
    ]
    return [
        RuleResult(
            name=f"{share}: at most {100 * limit:g} % of {policy.primary} rows",
            kind="share",
            state="holds" if count <= limit * n else "open",
            value=count / max(n, 1),
            low=None,
            high=None,
            p=None,
            detail=f"{count} of {n}",
            n=n,
            clusters=0,
        )
        for share, limit, count, n in limits
        if limit is not None
    ]


def latency(ours: pd.DataFrame, policy: Policy, provenance: Provenance) -> list[RuleResult]:
    """Return the rules on latency.

    The upper bound of the share of samples above the limit must be at most 1 - quantile.
    """
    rules = []
    for metric, rule in policy.latency.items():
        rows = ours[(ours["metric"] == metric) & ours["value"].notna()]
        units = table_units(rows, sentences=policy.sentences)
        why, design = provenance.latency, as_design(units) if len(rows) else None
        cluster_count = 0 if design is None else design.clusters
        if design is None:
            why = f"the candidate has no measured '{metric}'"
        elif cluster_count < policy.min_clusters:
            why = why or f"{design}: {cluster_count} clusters; {policy.min_clusters} are needed"
        state: State = "open"
        if not why and design is not None:
            over = share_over(rows["value"].to_numpy(), rule.at_most, design, coverage=policy.level)
            why = f"{100 * over.value:.1f} % of {over.n} samples are above the limit"
            if over.high is not None and over.high <= 1 - rule.quantile:
                state = "holds"
            elif over.low is not None and over.low > 1 - rule.quantile:
                state = "broken"
        rules.append(
            RuleResult(
                name=f"{metric}: {100 * rule.quantile:g} % of samples at most {rule.at_most:g}",
                kind="latency",
                state=state,
                value=None if rows.empty else float(np.quantile(rows["value"], rule.quantile)),
                low=None,
                high=None,
                p=None,
                detail=why,
                n=len(rows),
                clusters=cluster_count,
            )
        )
    return rules
