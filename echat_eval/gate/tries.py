"""The ledger of tries: how often candidates of one lineage were held against one baseline.

accepted/main/tries.jsonl   a header with the id of the baseline, then one line per try

All tries of a lineage share the error of one decision, try k in proportion to 1/k^2. So any number of tries
of candidates that dropped by the margin find a pass in at most (1 - level) / 2 of such lineages. The same
scores looked at again are the same try. The line is written under the file's lock, after the decision is made
and before it is shown.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, Busy, UsageError
from echat_eval.gate.reasons import Blocker, Reason
from echat_eval.io import jsonl
from echat_eval.io.hashing import facts_of, sha256_of
from echat_eval.io.schema import TEXT, Rule, Schema, whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from echat_eval.gate.policy import Policy

__all__ = [
    "CLOCK_SKEW",
    "LEDGER",
    "Tries",
    "counted_try",
    "evidence_of",
    "new_ledger",
    "share_of_error",
    "sound_ledger",
    "tries_in",
]

#: Name of the file in the folder of a baseline.
LEDGER = "tries.jsonl"
#: Increased when an older version could misread the file.
FORMAT = 1
#: How far the clocks of two machines may differ.
CLOCK_SKEW = timedelta(minutes=5)
#: Seconds to wait for another gate that decides at the same baseline.
WAIT = 60.0
#: Keys of a policy that may change between tries: no result of a candidate depends on them.
FREE = ("power", "first_run", "max_age_days")

_REMEDY = (
    "restore it, such as from version control, or start a new ledger: with `echat-eval gate accept`, or, of "
    "--ledger, in another file"
)
_HEADER = Schema({"format": whole(1), "baseline": TEXT}, closed=False)
_TRY = Schema(
    {
        "lineage": TEXT,
        "evidence": TEXT,
        "candidate": TEXT,
        "at": Rule(lambda value: _time(value) is not None, "an ISO time with a time zone"),
        "policy": Rule(lambda value: isinstance(value, dict), "an object"),
    },
    closed=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """A try and those before it.

    Attributes:
        lineage: name of the line of candidates.
        number: of this try in its lineage, from 1.
        share: of the error of one decision that this try may spend.
        text: one phrase for every outcome line.
        blockers: why the try cannot count; the outcome is then "cannot tell".
    """

    lineage: str
    number: int
    share: float
    text: str
    blockers: tuple[Blocker, ...] = ()


def share_of_error(number: int, limit: int | None) -> float:
    """Return the share of the error that a try may spend; the shares of all tries add up to 1.

    Args:
        number: of the try, from 1.
        limit: number of tries that a policy allows; None: any.

    >>> [round(share_of_error(number, None), 3) for number in (1, 2, 3, 10)]
    [0.608, 0.152, 0.068, 0.006]
    >>> [round(share_of_error(number, 2), 3) for number in (1, 2, 3)]
    [0.8, 0.2, 0.0]
    """
    if limit is None:
        return 6 / (math.pi * number) ** 2
    return number**-2 / sum(k**-2 for k in range(1, limit + 1)) if number <= limit else 0.0


def evidence_of(frame: pd.DataFrame, metrics: Collection[str]) -> str:
    """Return the hash of the scores in a checked long table, whatever their order and the system's name."""
    rows = frame.loc[
        frame["metric"].isin(metrics), ["task", "sample_id", "metric", "state", "value", "weight"]
    ].astype({"task": str, "sample_id": str, "metric": str, "state": str})
    ordered = rows.sort_values(["task", "sample_id", "metric"], kind="stable")
    return sha256_of(ordered.to_csv(index=False))


def new_ledger(baseline: str) -> str:
    """Return the text of a ledger without tries."""
    return jsonl.rows_text([{"format": FORMAT, "baseline": baseline}])


def sound_ledger(path: Path, baseline: str) -> str | None:
    """Return the text of a baseline's ledger; None if it is missing or damaged."""
    try:
        text = path.read_bytes()
        return text.decode() if text and _rows(path, text, baseline) is not None else None
    except (OSError, BadData):
        return None


def tries_in(baseline: Path) -> int:
    """Return how many tries the ledger of a baseline's folder counts; 0 without one."""
    path = baseline / LEDGER
    return max(0, path.read_bytes().count(b"\n") - 1) if path.is_file() else 0


@contextmanager
def counted_try(
    path: Path,
    baseline: str,
    *,
    lineage: str,
    candidate: str,
    evidence: str,
    policy: Policy,
    now: datetime,
    required: bool,
) -> Iterator[Tries]:
    """Yield the place of a try in its lineage; write it to the ledger at the end of the block.

    A block that raises is no try, and neither is one with blockers.

    Args:
        path: the ledger.
        baseline: id of the baseline.
        lineage, candidate: names of the line of candidates and of this one.
        evidence: hash of the candidate's scores (`evidence_of`).
        policy: must be the same in all tries of a lineage.
        now: current time, with a time zone.
        required: the ledger must exist.

    Raises:
        BadData: the ledger is missing, damaged, of another version or of another baseline.
        UsageError: it cannot be written.
        Busy: another gate holds it.
    """
    rules = {key: value for key, value in facts_of(policy).items() if key not in FREE}
    with _locked(path, required=required) as (file, is_new):
        text = os.pread(file, os.fstat(file).st_size, 0)
        if not text and not is_new:
            raise BadData(f"{path}: the ledger of tries is empty, so its tries are lost; {_REMEDY}")
        rows = _rows(path, text, baseline)
        tries = _placed(rows, lineage, evidence, rules, policy.max_tries, now)
        yield tries
        if tries.blockers or any((r["lineage"], r["evidence"]) == (lineage, evidence) for r in rows):
            return
        entry = {"lineage": lineage, "candidate": candidate, "evidence": evidence, "policy": rules}
        line = jsonl.rows_text([{**entry, "at": now.astimezone(UTC).isoformat(timespec="seconds")}])
        content = (line if text else new_ledger(baseline) + line).encode()
        if os.write(file, content) != len(content):
            os.ftruncate(file, len(text))
            raise UsageError(f"{path}: the disk is full; the try was not counted, and there is no decision")
        os.fsync(file)


@contextmanager
def _locked(path: Path, *, required: bool) -> Iterator[tuple[int, bool]]:
    """Open a file and hold its lock; yield it, and whether it is new.

    A new file that stays empty is removed: an empty ledger is one that lost its tries.
    """
    if required and not path.exists():
        raise BadData(f"{path}: the ledger of tries is missing; {_REMEDY}")
    until = time.monotonic() + WAIT
    while True:
        is_new = not path.exists()
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UsageError(
                f"{path}: the try cannot be counted: {error.strerror or error}; name another file with "
                "--ledger"
            ) from error
        try:
            if _lock(file) and path.exists() and os.fstat(file).st_ino == path.stat().st_ino:
                try:
                    yield file, is_new
                finally:
                    if is_new and not os.fstat(file).st_size:
                        path.unlink(missing_ok=True)
                return
        finally:
            os.close(file)
        if time.monotonic() > until:
            raise Busy(f"{path}: another gate is deciding at this baseline; run the gate again when it has")
        time.sleep(0.05)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # this file system has no locks
    return True


def _rows(path: Path, text: bytes, baseline: str) -> list[dict[str, Any]]:
    """Return the tries in a ledger; none if the file is new."""
    if not text:
        return []
    if not text.endswith(b"\n"):
        raise BadData(f"{path}: the ledger of tries ends in the middle of a row; {_REMEDY}")
    try:
        (_, header), *lines = list(jsonl.read_rows(path)) or [(1, {})]
        _HEADER.check(header, f"{path}:1")
        if header["format"] > FORMAT:
            raise BadData(
                f"{path}: a ledger of format {header['format']}; this version reads {FORMAT}: update it"
            )
        if header["baseline"] != baseline:
            raise BadData(
                f"{path}: the ledger of another baseline ({header['baseline'][:8]}, and this one is "
                f"{baseline[:8]})"
            )
        for number, row in lines:
            _TRY.check(row, f"{path}:{number}")
    except BadData as error:
        raise BadData(f"{error}; {_REMEDY}") from error
    return [row for _, row in lines]


def _placed(
    rows: Sequence[Mapping[str, Any]],
    lineage: str,
    evidence: str,
    rules: Mapping[str, Any],
    limit: int | None,
    now: datetime,
) -> Tries:
    """Return the place of a try behind those of a ledger."""
    lineages: dict[str, list[str]] = {}
    for row in rows:
        seen = lineages.setdefault(row["lineage"], [])
        if row["evidence"] not in seen:
            seen.append(row["evidence"])
    own = lineages.setdefault(lineage, [])
    again = evidence in own
    if not again:
        own.append(evidence)
    # Another name for the lineage does not make the same scores a first try.
    number = max(seen.index(evidence) + 1 for seen in lineages.values() if evidence in seen)
    blockers = []
    if (late := max(map(_parsed, rows), default=now)) > now + CLOCK_SKEW:
        text = f"the clock shows {now:%Y-%m-%d %H:%M}, before the last try at {late:%Y-%m-%d %H:%M}"
        blockers.append(Blocker(reason=Reason.CLOCK_IN_PAST, text=text))
    earlier = next((row["policy"] for row in rows if row["lineage"] == lineage), rules)
    if changed := sorted(key for key in {**earlier, **rules} if earlier.get(key) != rules.get(key)):
        text = f"the policy is not that of the earlier tries of '{lineage}': {', '.join(changed)} changed"
        blockers.append(Blocker(reason=Reason.POLICY_CHANGED, text=text))
    if limit is not None and number > limit:
        text = f"try {number} of '{lineage}', and the policy allows {limit} (`max_tries`)"
        blockers.append(Blocker(reason=Reason.TOO_MANY_TRIES, text=text))
    total = sum(map(len, lineages.values()))
    others = f", {total} of {len(lineages)} lineages in all" if len(lineages) > 1 else ""
    return Tries(
        lineage=lineage,
        number=number,
        share=share_of_error(number if limit is None else min(number, limit), limit),
        text=f"try {number} of '{lineage}' at this baseline{' (seen before)' if again else ''}{others}",
        blockers=tuple(blockers),
    )


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo is not None else None


def _parsed(row: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(row["at"]).astimezone(UTC)
