"""Limits on the candidate alone: missing and unshared rows, and latency."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis.differences import share_over
from echat_eval.gate.reasons import Reason
from echat_eval.gate.rules import RuleResult, State
from echat_eval.gate.units import SAMPLE, unit_design

if TYPE_CHECKING:
    import pandas as pd

    from echat_eval.gate.decision import Provenance
    from echat_eval.gate.policy import Policy

__all__ = ["latency", "missing_share", "shares"]


def shares(ours: pd.DataFrame, theirs: pd.DataFrame, policy: Policy) -> list[RuleResult]:
    """Return the rules on the shares of rows that the candidate lacks, and of primary rows that are missing.

    A candidate is judged on the rows that it has, so it must have those of the baseline: otherwise it
    would pass by leaving out the failed or the hard samples.
    """
    deciding = [
        name
        for name, rule in policy.metrics.items()
        if rule.critical
        or name == policy.primary
        or (rule.margin, rule.at_least, rule.at_most) != (None,) * 3
    ]
    found = [(name, *_absent(ours, theirs, name)) for name in deciding]
    name, absent, n = max(found, key=lambda row: row[1] / max(row[2], 1))
    of = f"the baseline's {name} rows"
    unshared = _share("not shared", policy.max_unshared, absent, n, of, Reason.NOT_SHARED)
    return [unshared, *missing_share(ours, policy)]


def missing_share(ours: pd.DataFrame, policy: Policy) -> list[RuleResult]:
    """Return the rule on the share of the candidate's primary rows that are missing, if there is a limit."""
    if policy.max_missing is None:
        return []
    states = ours.loc[ours["metric"] == policy.primary, "state"]
    states = states[states != "not applicable"]
    missing = int((states == "missing").sum())
    of = f"{policy.primary} rows"
    return [_share("missing", policy.max_missing, missing, len(states), of, Reason.MISSING_ROWS)]


def _absent(ours: pd.DataFrame, theirs: pd.DataFrame, metric: str) -> tuple[int, int]:
    """Return how many of the baseline's rows of a metric the candidate lacks, and how many there are.

    A row that no longer applies is lacking, too, such as the error rate of a reply that has lost its voice.
    Instruments that abstain do so on either side: rows that apply to the candidate alone make up for these.
    """
    before, now = (frame.loc[frame["metric"] == metric, [*SAMPLE, "state"]] for frame in (theirs, ours))
    joined = before.merge(now, on=SAMPLE, how="left", suffixes=("", "_now"))
    applied, applies = (joined[name] != "not applicable" for name in ("state", "state_now"))
    absent = joined["state_now"].isna() & applied
    lost, gained = (
        int((applied & ~applies).sum()),
        int((~applied & applies & joined["state_now"].notna()).sum()),
    )
    return int(absent.sum()) + max(lost - gained, 0), int(applied.sum())


def _share(what: str, limit: float, count: int, n: int, of: str, reason: Reason) -> RuleResult:
    return RuleResult(
        name=f"{what}: at most {100 * limit:g} % of {of}",
        kind="share",
        state="holds" if count <= limit * n else "open",
        value=count / max(n, 1),
        low=None,
        high=None,
        p=None,
        detail=f"{count} of {n}",
        n=n,
        clusters=0,
        reason=reason,
        open_by="" if count <= limit * n else f"{math.ceil(count - limit * n - 1e-9)} rows",
    )


def latency(ours: pd.DataFrame, policy: Policy, provenance: Provenance) -> list[RuleResult]:
    """Return the rules on latency.

    The upper bound of the share of samples above the limit must be at most 1 - quantile.
    """
    rules = []
    for metric, rule in policy.latency.items():
        rows = ours[(ours["metric"] == metric) & ours["value"].notna()]
        why, design = provenance.latency, unit_design(rows, policy) if len(rows) else None
        cluster_count = 0 if design is None else design.clusters
        reason, open_by = Reason.LATENCY_NOT_TIMED, ""
        if design is None:
            why = f"the candidate has no measured '{metric}'"
        elif cluster_count < policy.fewest_clusters:
            reason = reason if why else Reason.FEW_CLUSTERS
            why = why or f"{design}; {policy.fewest_clusters} clusters are needed"
        state: State = "open"
        if not why and design is not None:
            over = share_over(rows["value"].to_numpy(), rule.at_most, design, coverage=policy.level)
            why = f"{100 * over.value:.1f} % of {over.n} samples are above the limit"
            if over.high is not None and over.high <= 1 - rule.quantile:
                state = "holds"
            elif over.low is not None and over.low > 1 - rule.quantile:
                state = "broken"
            else:
                reason = Reason.LATENCY_OPEN
                open_by = "" if over.high is None else f"{100 * (over.high + rule.quantile - 1):.2g} points"
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
                reason=reason,
                open_by=open_by,
                remedy=design.remedy if design is not None and not provenance.latency else "",
            )
        )
    return rules
