"""The built-in guard against replies that are no words: empty, unreadable, or spoken as something else.

It reads the metrics of `echat_eval.scorers.readability` and the reply's error rates where a table has them.
Other metrics compare or grade what is there; a contrast in particular is near 0 for replies without meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.gate.failures import GuardReport, raised, share_rule, share_text
from echat_eval.gate.policy import MAX_UNREADABLE
from echat_eval.gate.reasons import Reason
from echat_eval.gate.rules import RuleResult, State
from echat_eval.gate.units import SAMPLE, unit_design
from echat_eval.stats import Estimate, cluster_mean
from echat_eval.stats.shares import clustered_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from echat_eval.analysis import MetricRule
    from echat_eval.gate.policy import Policy

__all__ = ["capped_levels", "is_contrast", "readability"]

EMPTY, UNREADABLE = "empty_reply", "unreadable_reply"
ERROR_RATES = ("reply_wer", "reply_cer")
WHAT = "unreadable replies"


def readability(ours: pd.DataFrame, theirs: pd.DataFrame | None, policy: Policy) -> GuardReport:
    """Return the rules on unreadable replies, for checked tables of the candidate and of any baseline."""
    rates = capped_levels(ours, theirs, policy, ERROR_RATES, policy.max_reply_wer)
    measured = ours[ours["metric"].isin([EMPTY, UNREADABLE])]
    rows = measured[measured["state"] == "value"]
    if rows.empty and not measured.empty:
        return GuardReport(rules=tuple(rates), text="readability: no reply to judge")
    if rows.empty:
        if rates or not all(is_contrast(name, rule) for name, rule in policy.metrics.items()):
            return GuardReport(rules=tuple(rates))
        text = f"readability: unknown (no {UNREADABLE} rows)"
        return GuardReport(
            text=text,
            warnings=(
                f"{text}; a contrast compares replies and cannot tell words from noise, so add a metric that "
                "grades them, or score the run again",
            ),
        )
    samples = rows.drop_duplicates(SAMPLE)
    bad = rows.loc[rows["value"] > 0, SAMPLE].drop_duplicates().assign(bad=True)
    events = samples[SAMPLE].merge(bad, on=SAMPLE, how="left")["bad"].eq(True)
    design = unit_design(samples, policy)
    share = clustered_share(events.to_numpy(dtype=bool), design, level=policy.level)
    covered = len(rows.loc[rows["metric"] == UNREADABLE, SAMPLE].drop_duplicates())
    remark = "" if covered == share.n else f"; of {share.n - covered} only whether they are empty is known"
    return GuardReport(
        rules=(share_rule(WHAT, share, policy.max_unreadable, remark=remark), *rates),
        text=share_text(WHAT, share, policy.max_unreadable),
        warnings=raised(WHAT, policy.max_unreadable, MAX_UNREADABLE),
    )


def is_contrast(name: str, rule: MetricRule) -> bool:
    """Return whether a metric compares replies: by its name, or because its values may be below 0."""
    return "contrast" in name or "match" in name or (rule.low is not None and rule.low < 0)


def capped_levels(
    ours: pd.DataFrame, theirs: pd.DataFrame | None, policy: Policy, metrics: Sequence[str], limit: float
) -> list[RuleResult]:
    """Return the rules that the candidate's weighted mean of each metric, in percent, is at most `limit`.

    The guard concerns a candidate above the limit whose baseline is not: an ASR annotator that cannot
    transcribe the language, or a voice that was never clear, is no change. Without a baseline the limit
    concerns the candidate alone.
    """
    rules = []
    for metric in metrics:
        rate = _corpus_rate(ours, metric, policy)
        before = None if theirs is None else _corpus_rate(theirs, metric, policy)
        if rate is None:
            continue
        state: State = "holds"
        if rate.value > limit and (before is None or before.value <= limit):
            state = "broken" if rate.low is not None and rate.low > limit else "open"
        shown = "unknown" if before is None else f"{before.value:.1f} %"
        unless = "" if theirs is None else ", unless the baseline is above it"
        rules.append(
            RuleResult(
                name=f"{metric}: at most {limit:g} %{unless}",
                kind="share",
                state=state,
                value=rate.value / 100,
                low=None if rate.low is None else rate.low / 100,
                high=None if rate.high is None else rate.high / 100,
                p=None,
                detail="" if theirs is None else f"baseline {shown}",
                n=rate.n,
                clusters=rate.clusters,
                reason=Reason.LEVEL_ABOVE_LIMIT,
                open_by=f"{rate.value - limit:.2g} points" if state == "open" else "",
            )
        )
    return rules


def _corpus_rate(frame: pd.DataFrame, metric: str, policy: Policy) -> Estimate | None:
    """Return sum(errors) / sum(units) in percent, or None without a scored row."""
    rows = frame[(frame["metric"] == metric) & (frame["state"] == "value") & (frame["weight"] > 0)]
    if rows.empty:
        return None
    design = unit_design(rows, policy)
    return cluster_mean(rows["value"], design, weights=rows["weight"], level=policy.level)
