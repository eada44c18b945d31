"""The built-in guard against failures: the candidate's failed replies, alone and beside the baseline's.

A reply has failed if any row of its sample has the state "failed", whatever the metric. In a run: the system
did not answer, its reply was refused, it has no words, or it is too long to be the transcript that the task
asks for. Samples whose rows are all missing or not applicable do not count. A table without states does not
show whether a reply failed; every outcome then reports that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.analysis import has_states
from echat_eval.gate.policy import MAX_FAILED, MAX_MORE_FAILED
from echat_eval.gate.reasons import Reason
from echat_eval.gate.rules import RuleResult, State
from echat_eval.gate.units import SAMPLE, unit_design
from echat_eval.stats import cluster_mean
from echat_eval.stats.shares import clustered_share

if TYPE_CHECKING:
    import pandas as pd

    from echat_eval.gate.policy import Policy
    from echat_eval.stats.shares import Share

__all__ = ["GuardReport", "failures", "raised", "share_rule", "share_text"]


FAILED = "failed replies"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardReport:
    """Result of a built-in guard.

    Attributes:
        rules: what the guard requires of a pass.
        text: one phrase for every outcome line.
        warnings: what the guard could not see, or a limit that the policy raised.
        total: every reply failed; the outcome is then "regress", whatever else holds.
    """

    rules: tuple[RuleResult, ...] = ()
    text: str = ""
    warnings: tuple[str, ...] = ()
    total: bool = False


def failures(ours: pd.DataFrame, theirs: pd.DataFrame | None, policy: Policy) -> GuardReport:
    """Return the rules on failed replies, for checked tables of the candidate and of any baseline."""
    if not has_states(ours):
        text = "failures: unknown (no state column)"
        return GuardReport(
            text=text,
            warnings=(f"{text}; a table with a column 'state' shows whether replies failed",),
        )
    replies = _replies(ours)
    failed = replies["failed"].to_numpy(dtype=bool)
    if not failed.size:
        return GuardReport(
            rules=(_unknown(FAILED, "no sample of the candidate has a reply or a failure"),),
            text="failures: unknown (no reply and no failure)",
        )
    share = clustered_share(failed, unit_design(replies, policy), level=policy.level)
    rules = [share_rule(FAILED, share, policy.max_failed, always_broken=bool(failed.all()))]
    warnings = [*raised(FAILED, policy.max_failed, MAX_FAILED)]
    if theirs is not None:
        warnings += raised(
            "more failed replies than the baseline has", policy.max_more_failed, MAX_MORE_FAILED
        )
        if has_states(theirs):
            rules += _against(replies, _replies(theirs), policy)
        else:
            warnings.append("failures of the baseline: unknown (no state column)")
    return GuardReport(
        rules=tuple(rules),
        text=share_text(FAILED, share, policy.max_failed),
        warnings=tuple(warnings),
        total=bool(failed.all()),
    )


def raised(what: str, accepted: float, built_in: float) -> tuple[str, ...]:
    """Return a warning if a policy accepts a larger share than the built-in limit."""
    if accepted <= built_in:
        return ()
    return (
        f"the policy accepts {_percent(accepted)} % {what}; the built-in limit is {_percent(built_in)} %",
    )


def share_rule(
    what: str, share: Share, limit: float, *, always_broken: bool = False, remark: str = ""
) -> RuleResult:
    """Return the rule that a share is at most `limit`.

    Broken if the lower bound is above the limit, open if only the observed share is, and held otherwise.
    """
    state: State = "holds"
    if always_broken or (share.low is not None and share.low > limit):
        state = "broken"
    elif share.value > limit:
        state = "open"
    return RuleResult(
        name=f"{what}: at most {_percent(limit)} %",
        kind="share",
        state=state,
        value=share.value,
        low=share.low,
        high=share.high,
        p=None,
        detail=f"{share.count} of {share.n}{remark}",
        n=share.n,
        clusters=share.clusters,
        reason=Reason.FAILED_REPLIES if what == FAILED else Reason.UNREADABLE_REPLIES,
        open_by=f"{100 * (share.value - limit):.2g} points" if state == "open" else "",
    )


def share_text(what: str, share: Share, limit: float) -> str:
    """Return a share as in "failed replies: 3 of 120 (2.5 % [0.5, 7.1], limit 2 %)"."""
    interval = " [cannot tell]"
    if share.low is not None and share.high is not None:
        interval = f" [{100 * share.low:.1f}, {100 * share.high:.1f}]"
    return (
        f"{what}: {share.count} of {share.n} ({100 * share.value:.1f} %{interval}, limit {_percent(limit)} %)"
    )


def _replies(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per sample with a reply or a failure, its columns and a column `failed`."""
    states = frame["state"].to_numpy(dtype=object)
    samples = frame[(states == "value") | (states == "failed")].drop_duplicates(SAMPLE)
    failed = frame.loc[states == "failed", SAMPLE].drop_duplicates().assign(failed=True)
    joined: pd.DataFrame = samples.merge(failed, on=SAMPLE, how="left")
    return joined.assign(failed=joined["failed"].eq(True))  # NaN: no row of the sample has failed


def _against(ours: pd.DataFrame, theirs: pd.DataFrame, policy: Policy) -> list[RuleResult]:
    """Return the rule that the candidate does not fail more than the baseline, on shared samples."""
    limit = policy.max_more_failed
    shared = ours.merge(theirs[[*SAMPLE, "failed"]], on=SAMPLE, suffixes=("", "_against"))
    if shared.empty:
        return [_unknown("failed replies beside the baseline", "no shared sample has a reply or a failure")]
    mine, other = shared["failed"].to_numpy(dtype=float), shared["failed_against"].to_numpy(dtype=float)
    found = cluster_mean(mine - other, unit_design(shared, policy), level=policy.level)
    # The same difference in every sample has no interval; one above the limit is then beyond doubt.
    lowest = found.value if found.se == 0 else found.low
    state: State = "holds"
    if found.value > limit:
        state = "broken" if lowest is not None and lowest > limit else "open"
    return [
        RuleResult(
            name=f"failed replies: at most {_percent(limit)} points more than the baseline",
            kind="share",
            state=state,
            value=found.value,
            low=found.low if found.se else None,
            high=found.high if found.se else None,
            p=None,
            detail=f"{int(mine.sum())} of {found.n}, baseline {int(other.sum())} of {found.n}",
            n=found.n,
            clusters=found.clusters,
            reason=Reason.FAILED_REPLIES,
            open_by=f"{100 * (found.value - limit):.2g} points" if state == "open" else "",
        )
    ]


def _unknown(name: str, why: str) -> RuleResult:
    nothing: dict[str, Any] = dict.fromkeys(("value", "low", "high", "p"))
    return RuleResult(
        name=name,
        kind="share",
        state="open",
        detail=why,
        n=0,
        clusters=0,
        reason=Reason.NO_REPLIES,
        **nothing,
    )


def _percent(share: float) -> str:
    return f"{100 * share:g}"
