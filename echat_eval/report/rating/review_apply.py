"""A reviewed task: the next version of a task folder, with the decisions of people."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.hashing import file_sha256
from echat_eval.io.jsonl import rows_text, scan_rows
from echat_eval.io.unfinished import NewFolder
from echat_eval.task import find_faults

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from echat_eval.report.rating.review_answers import Decision, Review
    from echat_eval.task import Task

__all__ = ["apply_review", "review_lines"]

_VERSION = re.compile(r"^version:.*$", re.M)
_AUDIO_FOLDER = re.compile(r"^audio_folder:.*$", re.M)


def apply_review(task: Task, review: Review, out: Path) -> dict[str, str]:
    """Write the next version of a task; return id -> reason of every dropped row.

    A relabelled row loses its references, which suit another voice, unless its group expects the same reply.
    A row that now has the labels of another one of its contrast group is dropped, and so is a row that is
    left alone in its group. Rows that were not reviewed stay. Licence, data card
    and other texts beside task.yaml are copied as they are. Splits are not copied: they are those of the
    old version.

    Args:
        task: the task that was reviewed.
        review: the decisions.
        out: a new or empty folder.

    Raises:
        UsageError: the folder is not empty.
        BadData: no row is left, or the new task has a fault.
    """
    rows = [dict(row) for _, row in scan_rows(task.folder / "samples.jsonl") if not isinstance(row, str)]
    dropped = {i: d.reason for i, d in review.decisions.items() if d.outcome == "reject"}
    for row in rows:
        if (decision := review.decisions.get(row["id"])) is not None and decision.outcome == "relabel":
            _relabel(row, decision)
    dropped |= _alike(rows, task.cues, review.decisions, dropped)
    dropped |= _alone(rows, dropped)
    kept = [row for row in rows if row["id"] not in dropped]
    if not kept:
        raise BadData(f"task '{task.name}': people left none of {len(rows)} samples; nothing is written")
    with NewFolder(out, "echat-eval rate import") as folder:
        yaml = _VERSION.sub(f"version: {task.version + 1}", (task.folder / "task.yaml").read_text("utf-8"), 1)
        found = _AUDIO_FOLDER.search(yaml)
        if found is not None:  # the audio stays where it is
            audio = (task.samples[0].audio.path.parents[len(_parts(rows, task)) - 1]).resolve()
            yaml = _AUDIO_FOLDER.sub(lambda _: f"audio_folder: {json.dumps(str(audio))}", yaml, count=1)
        else:
            for name, sha256 in _sounds(kept):
                folder.copy(name, task.folder / name, sha256)
        for path in sorted(task.folder.iterdir()):  # the licence, the data card and others of their kind
            if path.is_file() and not path.name.startswith(".") and path.suffix in ("", ".md", ".txt"):
                folder.copy(path.name, path, file_sha256(path))
        folder.write("task.yaml", yaml)
        folder.write("samples.jsonl", rows_text(kept))
        folder.write("refused.jsonl", rows_text({"id": i, "reason": reason} for i, reason in dropped.items()))
        folder.write("review.json", _facts(task, review) + "\n")
        if faults := find_faults(out):
            raise BadData(f"the reviewed task has {len(faults)} faults; the first: {faults[0]}")
    return dropped


def _parts(rows: list[dict[str, Any]], task: Task) -> tuple[str, ...]:
    """Return the components of the first sample's audio path, below the folder of the audio."""
    first = next(row for row in rows if row["id"] == task.samples[0].id)
    return tuple(part for part in str(first["audio"]).split("/") if part not in ("", "."))


def _relabel(row: dict[str, Any], decision: Decision) -> None:
    before = ", ".join(f"{cue} {row['cues'][cue]}" for cue in decision.cues)
    row["cues"] = {**row["cues"], **decision.cues}
    note = f"relabelled by people; before: {before}"
    if row.get("expect") != "same" and row.pop("references", None):
        note += "; its references were for that voice"
    row["note"] = f"{row['note']}; {note}" if row.get("note") else note


def _alike(
    rows: list[dict[str, Any]],
    cues: tuple[str, ...],
    decisions: Mapping[str, Decision],
    dropped: Mapping[str, str],
) -> dict[str, str]:
    """Return relabelled rows that have the labels of another one of their group."""
    found: dict[str, str] = {}
    seen: dict[tuple[Any, ...], str] = {}

    def relabelled(row: dict[str, Any]) -> bool:
        return row["id"] in decisions and decisions[row["id"]].outcome == "relabel"

    for row in sorted(rows, key=relabelled):
        if row.get("contrast_group") is None or row["id"] in dropped:
            continue
        labels = tuple(row["cues"].get(cue) for cue in cues)
        other = seen.setdefault((row["contrast_group"], labels), row["id"])
        if other != row["id"]:
            found[row["id"]] = f"relabelled as {', '.join(filter(None, labels))}, like {other} of its group"
    return found


def _alone(rows: list[dict[str, Any]], dropped: Mapping[str, str]) -> dict[str, str]:
    """Return rows whose contrast group has no other row left."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        if row.get("contrast_group") is not None and row["id"] not in dropped:
            groups.setdefault(row["contrast_group"], []).append(row["id"])
    return {ids[0]: "its contrast group has no other sample left" for ids in groups.values() if len(ids) == 1}


def _sounds(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return path and hash of every recording of the rows."""
    found: dict[str, str] = {}
    for row in rows:
        for part in (row, *(row.get("history") or ()), *(row.get("turns") or ())):
            if part.get("audio") is not None:
                found[part["audio"]] = part["audio_sha256"]
    return list(found.items())


def _facts(task: Task, review: Review) -> str:
    outcomes = {
        i: {"outcome": d.outcome, "cues": dict(d.cues), "reason": d.reason, "raters": d.raters}
        for i, d in review.decisions.items()
    }
    facts = {"reviewed": task.sha256, "version": task.version, "decisions": outcomes}
    return json.dumps(facts, ensure_ascii=False, indent=1)


def review_lines(review: Review, dropped: Mapping[str, str]) -> list[str]:
    """Return what people decided, in words."""
    outcomes = Counter(decision.outcome for decision in review.decisions.values())
    lines = [
        f"{len(review.decisions)} samples reviewed: {outcomes['accept']} accepted, {outcomes['relabel']} "
        f"relabelled, {outcomes['reject']} rejected"
    ]
    lines += [
        f"{cue}: {same} of {answers} answers are the intended label"
        for cue, (same, answers) in review.agreeing.items()
    ]
    lines += [f"  {count:6} rows dropped: {reason}" for reason, count in Counter(dropped.values()).items()]
    return lines
