"""The accepted baseline of a gate: a table and its hashes, so that changes and age are detected, and replies.

accepted/main/accepted.json     facts and hashes
              table.jsonl       the scores, which the gate reads
              tries.jsonl       the ledger of tries
              replies/          the run folder of the one system: another judge, annotator or normaliser can
                                score its replies
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from echat_eval.analysis import has_states
from echat_eval.analysis.runs import ACCEPTED_FORMAT
from echat_eval.errors import BadData
from echat_eval.gate.tries import LEDGER, new_ledger, sound_ledger
from echat_eval.io import jsonl
from echat_eval.io.files import make_folder
from echat_eval.io.hashing import digest, file_sha256, sha256_of
from echat_eval.io.unfinished import Journal
from echat_eval.store.kept_replies import KeptFile
from echat_eval.store.manifest_file import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from echat_eval.analysis import ScoredSystem

__all__ = ["REPLIES", "accept", "accept_scored_again", "kept_run", "scoring_again"]

#: The folder of the replies, in that of the baseline.
REPLIES = "replies"
#: The file there whose bytes do not change when replies are scored again.
RESPONSES = "responses.jsonl"
MADE_BY = "echat-eval gate accept"


def accept(
    run: ScoredSystem, to: Path, *, now: datetime, replies: Sequence[KeptFile] = (), commit: str = ""
) -> None:
    """Keep a run as the baseline for candidates, replacing an earlier one and its ledger of tries.

    Equal scores that are accepted again keep their ledger: nothing about the tries at them has changed.

    If it is killed, the folder holds no baseline until the same command is repeated.

    Args:
        run: one system's run.
        to: folder to write.
        now: current time, with a time zone.
        replies: the files of `REPLIES`; none: the scores alone are kept.
        commit: of the code or weights that were run; "" if unknown.
    """
    table = _table(run)
    facts = _facts(run, table) | {
        "run": run.name,
        "system": run.system,
        "accepted_at": now.isoformat(timespec="seconds"),
        "commit": commit or run.commit,
        "environment": to_json(run.manifest.environment or {}),
        "replies": next((file.sha256 for file in replies if file.name == RESPONSES), None),
    }
    facts["id"] = digest("baseline", [facts["accepted_at"], facts["sha256"]])
    ledger = new_ledger(facts["id"])
    if (again := _accepted_before(to, facts["sha256"])) is not None:
        facts["id"], ledger = again
    kept = [KeptFile(name=f"{REPLIES}/{f.name}", sha256=f.sha256, content=f.content) for f in replies]
    files = [
        *kept,
        KeptFile.of("table.jsonl", table),
        KeptFile.of(LEDGER, ledger),
        KeptFile.of("accepted.json", _json(facts)),
    ]
    with Journal(make_folder(to), MADE_BY) as journal:
        journal.remove_temporary()
        _remove_others(to / REPLIES, {file.name for file in replies})
        _write(journal, files)


def _accepted_before(to: Path, sha256: str) -> tuple[str, str] | None:
    """Return the id and the ledger of a baseline with the same scores; None without one."""
    old = _read(to) if (to / "accepted.json").is_file() else {}
    if old.get("sha256") != sha256 or not isinstance(ident := old.get("id"), str):
        return None
    ledger = sound_ledger(to / LEDGER, ident)
    return None if ledger is None else (ident, ledger)


def scoring_again(baseline: Path) -> str:
    """Return how the replies of a baseline are scored again; "" if they are not kept."""
    if not (baseline / REPLIES).is_dir():
        return ""
    command = f"echat-eval run {shlex.quote(str(baseline))} --judge MODEL"
    return f"score the replies of the baseline again: `{command}`"


def kept_run(baseline: Path) -> Path:
    """Return the run folder of a baseline's replies.

    Raises:
        BadData: the scores alone were kept, or the replies were changed.
    """
    folder, facts = baseline / REPLIES, _read(baseline)
    if not (folder / "manifest.json").is_file():
        raise BadData(
            f"{baseline}: holds scores without replies, which cannot be scored again; accept a run again "
            "(`echat-eval gate accept RUN`, without --no-replies)"
        )
    if not (path := folder / RESPONSES).is_file() or file_sha256(path) != facts.get("replies"):
        raise BadData(f"{path}: the replies were changed since they were accepted; accept a run again")
    return folder


def accept_scored_again(baseline: Path, run: ScoredSystem) -> None:
    """Replace the scores of a baseline by others of the same replies; its age and its tries stay.

    Args:
        baseline: folder of the baseline.
        run: its replies as they are scored now.
    """
    table, old = _table(run), _read(baseline)
    facts = {**old, **_facts(run, table), "replies": file_sha256(baseline / REPLIES / RESPONSES)}
    facts["id"] = old.get("id") or digest("baseline", [old["accepted_at"], old["sha256"]])
    files = [KeptFile.of("table.jsonl", table), KeptFile.of("accepted.json", _json(facts))]
    with Journal(baseline, MADE_BY) as journal:
        journal.remove_temporary()
        _write(journal, files)


def _table(run: ScoredSystem) -> str:
    # Without states of its own, a table must not look as if it had some.
    frame = run.frame if has_states(run.frame) else run.frame.drop(columns="state")
    return jsonl.rows_text(
        {str(name): value for name, value in row.items() if value is not None and value == value}
        for row in frame.to_dict("records")
    )


def _facts(run: ScoredSystem, table: str) -> dict[str, Any]:
    """Return the facts of a baseline that depend on how its replies are scored."""
    return {
        "format": ACCEPTED_FORMAT,
        "sha256": sha256_of(table),
        "hashes": [[kind, name, value] for (kind, name), value in sorted(run.hashes.items())],
        "metrics": list(run.metrics.values()),
        "judges": [asdict(judge) for judge in run.judges],
        "anchors": [asdict(anchor) for anchor in run.anchors],
    }


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1) + "\n"


def _read(baseline: Path) -> dict[str, Any]:
    try:
        found = jsonl.loads((baseline / "accepted.json").read_bytes())
    except (OSError, ValueError) as error:
        raise BadData(f"{baseline}: not written by `echat-eval gate accept`: {error}") from error
    return found if isinstance(found, dict) else {}


def _write(journal: Journal, files: Sequence[KeptFile]) -> None:
    for file in files:
        file.write(journal.add(file.name, file.sha256))


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove the files of an earlier baseline's replies that this one does not have."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in names:
            path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
