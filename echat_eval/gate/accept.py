"""The accepted baseline of a gate: a table and its hashes, so that changes and age are detected."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from echat_eval.analysis import differences, has_states
from echat_eval.analysis.runs import latency_not_comparable
from echat_eval.gate.decision import Provenance
from echat_eval.gate.reasons import Blocker, Reason
from echat_eval.io import jsonl
from echat_eval.io.files import make_folder, write_atomically
from echat_eval.io.hashing import sha256_of
from echat_eval.io.unfinished import Journal
from echat_eval.store.finish import finish_command
from echat_eval.store.manifest_file import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from echat_eval.analysis import ScoredSystem
    from echat_eval.gate.policy import Policy

__all__ = ["accept", "provenance", "provenance_alone"]

#: Note on runs without hashes.
TRUSTED = (
    "a table file does not record the versions of its tasks, judge and annotators; they are assumed to be "
    "the same in both runs"
)


def accept(run: ScoredSystem, to: Path, *, now: datetime) -> None:
    """Keep a run's scores as the baseline for candidates, replacing an earlier one.

    If it is killed, the folder holds no baseline until the same command is repeated.

    Args:
        run: one system's run.
        to: folder for `table.jsonl` and `accepted.json`; both are small enough to commit.
        now: current time, with a time zone.
    """
    # Without states of its own, a table must not look as if it had some.
    frame = run.frame if has_states(run.frame) else run.frame.drop(columns="state")
    rows = [
        {str(name): value for name, value in row.items() if value is not None and value == value}
        for row in frame.to_dict("records")
    ]
    table = jsonl.rows_text(rows)
    facts = {
        "run": run.name,
        "system": run.system,
        "accepted_at": now.isoformat(timespec="seconds"),
        "sha256": sha256_of(table.encode()),
        "hashes": [[kind, name, value] for (kind, name), value in sorted(run.hashes.items())],
        "metrics": list(run.metrics.values()),
        "environment": to_json(run.manifest.environment or {}),
    }
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1)
    with Journal(make_folder(to), "echat-eval gate accept") as journal:
        journal.remove_temporary()
        for name, content in (("table.jsonl", table), ("accepted.json", text + "\n")):
            write_atomically(journal.add(name, sha256_of(content.encode())), content)


def provenance(
    candidate: ScoredSystem,
    against: ScoredSystem,
    policy: Policy,
    *,
    now: datetime,
    notes: Sequence[str] = (),
) -> Provenance:
    """Return what limits a comparison of two runs: versions, changes, age and hardware.

    Args:
        candidate: the run, without samples that differ from the baseline's (see `analysis.content`).
        against: the baseline.
        policy: gives the limit on its age.
        now: current time, with a time zone.
        notes: further remarks for the reader.
    """
    blockers = [Blocker(reason=Reason.VERSIONS_DIFFER, text=text) for text in differences(candidate, against)]
    if against.changed:
        changed = f"{against.name} was changed since it was accepted; accept it again"
        blockers.append(Blocker(reason=Reason.BASELINE_CHANGED, text=changed))
    if policy.max_age_days is not None:
        # More days than a date has are no limit.
        blockers += _age(against, timedelta(days=min(policy.max_age_days, 10**6)), now)
    return Provenance(
        blockers=tuple(blockers),
        latency=latency_not_comparable(candidate, against),
        notes=(*notes, *(() if candidate.hashes and against.hashes else (TRUSTED,))),
        finish=_finish(candidate, against),
    )


def provenance_alone(candidate: ScoredSystem) -> Provenance:
    """Return what limits a decision on a run without a baseline."""
    return Provenance(latency=latency_not_comparable(candidate, candidate), finish=_finish(candidate))


def _finish(*runs: ScoredSystem) -> tuple[str, ...]:
    """Return the commands that get the missing rows of runs."""
    return tuple(finish_command(run.folder) for run in runs if (run.frame["state"] == "missing").any())


def _age(against: ScoredSystem, limit: timedelta, now: datetime) -> list[Blocker]:
    if against.accepted_at is None:
        unknown = f"the age of {against.name} is unknown; keep it with `echat-eval gate accept`"
        return [Blocker(reason=Reason.BASELINE_AGE_UNKNOWN, text=unknown)]
    age = now - datetime.fromisoformat(against.accepted_at)
    if age > limit:
        old = f"{against.name} was accepted {age.days} days ago, the policy allows {limit.days}"
        return [Blocker(reason=Reason.BASELINE_TOO_OLD, text=old)]
    if age > -timedelta(days=1):
        return []
    future = f"{against.name} was accepted in the future; check the clocks"
    return [Blocker(reason=Reason.BASELINE_IN_FUTURE, text=future)]
