"""The limits of a comparison with a baseline besides the scores: versions, changes, age, tries, hardware."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.analysis import differences
from echat_eval.analysis.runs import latency_not_comparable
from echat_eval.gate.accept import scoring_again
from echat_eval.gate.decision import Provenance
from echat_eval.gate.drift import judge_drift
from echat_eval.gate.evidence import run_facts
from echat_eval.gate.reasons import Blocker, Reason
from echat_eval.gate.tries import CLOCK_SKEW, LEDGER, counted_try, evidence_of
from echat_eval.store.finish import finish_command
from echat_eval.systems.shutdowns import shutdown_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echat_eval.analysis import ScoredSystem
    from echat_eval.gate.policy import Policy
    from echat_eval.gate.tries import Tries

__all__ = ["count_try", "provenance", "provenance_alone"]

#: Note on runs without hashes.
TRUSTED = (
    "a table file does not record the versions of its tasks, judge and annotators; they are assumed to be "
    "the same in both runs"
)


@contextmanager
def count_try(
    candidate: ScoredSystem,
    against: ScoredSystem,
    policy: Policy,
    *,
    ledger: Path | None,
    lineage: str,
    now: datetime,
) -> Iterator[Tries | None]:
    """Yield the place of a candidate in the ledger of tries, and count it at the end of the block.

    Args:
        candidate, against: the two runs.
        policy: the requirements.
        ledger: None: that of an accepted baseline. At another baseline nothing is counted, and None is
            yielded.
        lineage: name of the line of candidates.
        now: current time, with a time zone.

    Raises:
        BadData, UsageError, Busy: as for `tries.counted_try`.
    """
    if ledger is None and not against.accepted_in:
        yield None
        return
    counting = counted_try(
        ledger or Path(against.accepted_in) / LEDGER,
        against.baseline_id or evidence_of(against.frame, set(against.frame["metric"])),
        lineage=lineage,
        candidate=candidate.name,
        evidence=evidence_of(candidate.frame, policy.metrics),
        policy=policy,
        now=now,
        required=ledger is None and bool(against.baseline_id),
    )
    with counting as tries:
        yield tries


def provenance(
    candidate: ScoredSystem,
    against: ScoredSystem,
    policy: Policy,
    *,
    now: datetime,
    notes: Sequence[str] = (),
    tries: Tries | None = None,
    commit: str = "",
) -> Provenance:
    """Return what limits a comparison of two runs: versions, changes, age and hardware.

    Args:
        candidate: the run, without samples that differ from the baseline's (see `analysis.content`).
        against: the baseline.
        policy: gives the limit on its age.
        now: current time, with a time zone.
        notes: further remarks for the reader.
        tries: place of the candidate in the ledger of tries; None: it is not counted.
        commit: of the code or weights of the candidate; "" if unknown.
    """
    again = scoring_again(Path(against.accepted_in)) if against.accepted_in else ""
    blockers = [
        Blocker(reason=Reason.VERSIONS_DIFFER, text=text, step="" if text.startswith("task ") else again)
        for text in differences(candidate, against)
    ]
    if against.changed:
        changed = f"{against.name} was changed since it was accepted; accept it again"
        blockers.append(Blocker(reason=Reason.BASELINE_CHANGED, text=changed))
    blockers += [*_age(against, policy, now), *(() if tries is None else tries.blockers)]
    drift = judge_drift(candidate, against)
    return Provenance(
        blockers=(*blockers, *drift.blockers),
        latency=latency_not_comparable(candidate, against),
        notes=(*notes, *drift.notes, *(() if candidate.hashes and against.hashes else (TRUSTED,))),
        finish=_finish(candidate, against),
        tries=tries,
        baseline=_state_of_baseline(against, now),
        shifts=drift.shifts,
        runs=(run_facts(candidate, "candidate", commit), run_facts(against, "baseline")),
        date=now.isoformat(timespec="seconds"),
    )


def provenance_alone(candidate: ScoredSystem, *, now: datetime, commit: str = "") -> Provenance:
    """Return what limits a decision on a run without a baseline; arguments as of `provenance`."""
    return Provenance(
        latency=latency_not_comparable(candidate, candidate),
        finish=_finish(candidate),
        runs=(run_facts(candidate, "candidate", commit),),
        date=now.isoformat(timespec="seconds"),
    )


def _finish(*runs: ScoredSystem) -> tuple[str, ...]:
    """Return the commands that get the missing rows of runs."""
    return tuple(finish_command(run.folder) for run in runs if (run.frame["state"] == "missing").any())


def _age(against: ScoredSystem, policy: Policy, now: datetime) -> list[Blocker]:
    """Return why the age of a baseline is no good: unknown, above the limit, or below 0."""
    # More days than a date has are no limit.
    days = None if policy.max_age_days is None else min(policy.max_age_days, 10**6)
    if against.accepted_at is None:
        unknown = f"the age of {against.name} is unknown; keep it with `echat-eval gate accept`"
        return [] if days is None else [Blocker(reason=Reason.BASELINE_AGE_UNKNOWN, text=unknown)]
    age = now - datetime.fromisoformat(against.accepted_at)
    if age < -CLOCK_SKEW:
        future = f"{against.name} was accepted in the future; check the clocks"
        return [Blocker(reason=Reason.BASELINE_IN_FUTURE, text=future)]
    if days is not None and age > timedelta(days=days):
        old = f"{against.name} was accepted {age.days} days ago, the policy allows {days:g}"
        return [Blocker(reason=Reason.BASELINE_TOO_OLD, text=old)]
    return []


def _state_of_baseline(against: ScoredSystem, now: datetime) -> str:
    """Return the age of a baseline, and when the models of its judges are or were switched off."""
    found = "baseline: of unknown age"
    if against.accepted_at is not None:
        at = datetime.fromisoformat(against.accepted_at)
        days = max((now - at).days, 0)
        found = f"baseline: accepted {days} day{'' if days == 1 else 's'} ago, on {at:%Y-%m-%d}"
    for judge in against.judges:
        if (shutdown := shutdown_of(judge.model, judge.url)) is not None:
            found += f"; {shutdown.line(now.date())}"
    return found
