"""Write drafts as a task folder: rows, audio, contrast groups by equal words, and a report."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from echat_eval.errors import BadData, UsageError
from echat_eval.importers.audio_store import AudioByReference, AudioCopies, AudioStore
from echat_eval.importers.draft import Draft, DraftTurn, Refusal
from echat_eval.importers.facts import TaskFacts
from echat_eval.importers.graded_replies import write_replies
from echat_eval.importers.result import Imported, lacking_cues, refusal_reason, summary
from echat_eval.io.hashing import sha256_of
from echat_eval.io.jsonl import rows_text
from echat_eval.io.unfinished import NewFolder
from echat_eval.labels import CUES
from echat_eval.task import find_faults

__all__ = ["UNKNOWN_LICENCE", "write_task"]

UNKNOWN_LICENCE = "unknown: ask the authors of the data"


def write_task(
    entries: Iterable[Draft | Refusal],
    out: Path,
    *,
    name: str,
    facts: TaskFacts,
    cues: Sequence[str] = (),
    defined: Mapping[str, Any] = MappingProxyType({}),
    by_reference: bool = False,
    origin: Mapping[str, Any] | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Imported:
    """Write a task folder with its reports `import.json` and `refused.jsonl`.

    Args:
        entries: one draft or refusal per row.
        out: a new or empty folder, or one that an import left when it was killed. After an error nothing is
            left in it.
        facts: what task.yaml states besides.
        cues: cues of the task; by default those that all samples name.
        defined: name -> definition of a cue that is none of the shipped ones, or adds wording to one.
        by_reference: leave audio files where they are; the task names their folder.
        origin: source of the rows, for the report.
        on_progress: called with the number of rows so far.

    Raises:
        UsageError: the folder is not empty, or no cue is named by all samples.
        BadData: no row became a sample, or the task has a fault.
    """
    with NewFolder(out, "echat-eval import") as folder:
        audio = AudioByReference() if by_reference else AudioCopies(folder)
        drafts, refused, rows = _stored(entries, audio, on_progress)
        task_cues = _select_cues(drafts, tuple(cues), (*CUES, *defined), rows, refused)
        for _, row in drafts:  # the task's file defines its own cues only
            for cue in {*defined} - {*CUES, *task_cues}:
                row["cues"].pop(cue, None)
        kept = _with_enough_cues(drafts, task_cues, refused)
        if not kept:
            raise BadData(f"none of {rows} rows became a sample; first reason: {refused[0].reason}")
        groups, alone = _group(kept, task_cues)
        imported = summary(rows, refused, [draft for draft, _ in kept], task_cues, groups, alone)
        samples = [row for _, row in kept]
        audio_folder = audio.finish(samples)
        write_replies(folder, [(draft, row["audio_sha256"]) for draft, row in kept], name)
        folder.write("samples.jsonl", rows_text(samples))
        folder.write("task.yaml", _task_yaml(name, facts, task_cues, defined, audio_folder))
        folder.write(
            "refused.jsonl",
            rows_text({"row": r.location, "id": r.id, "reason": r.reason} for r in refused),
        )
        report = asdict(imported) | {"origin": dict(origin or {})}
        folder.write("import.json", json.dumps(report, ensure_ascii=False, indent=1) + "\n")
        if faults := find_faults(out):
            raise BadData(f"the imported task has {len(faults)} faults; the first: {faults[0]}")
        return imported


def _stored(
    entries: Iterable[Draft | Refusal], audio: AudioStore, on_progress: Callable[[int], None]
) -> tuple[list[tuple[Draft, dict[str, Any]]], list[Refusal], int]:
    """Store the audio of all rows; return drafts with their rows, refusals, and the number of rows."""
    drafts: list[tuple[Draft, dict[str, Any]]] = []
    refused: list[Refusal] = []
    ids: set[str] = set()
    rows = 0
    for entry in entries:
        rows += 1
        on_progress(rows)
        row = _sample_row(entry, audio, ids) if isinstance(entry, Draft) else entry
        if isinstance(row, Refusal):
            refused.append(row)
        else:
            assert isinstance(entry, Draft)
            drafts.append((entry, row))
    return drafts, refused, rows


def _sample_row(draft: Draft, audio: AudioStore, ids: set[str]) -> dict[str, Any] | Refusal:
    def refuse(reason: str) -> Refusal:
        return Refusal(location=draft.location, id=draft.id, reason=reason)

    if reason := refusal_reason(draft, ids):
        return refuse(reason)
    row: dict[str, Any] = {
        "id": draft.id,
        "transcript": draft.transcript,
        "cues": dict(draft.cues),
        "language": draft.language,
        "source": draft.source,
    }
    try:
        row["audio"], row["audio_sha256"] = audio.store(draft.audio, draft.suffix)
        history = [_turn_row(turn, draft.suffix, audio) for turn in draft.history]
        turns = [_live_row(turn, draft.suffix, audio) for turn in draft.turns]
    except BadData as error:
        return refuse(f"audio: {error}")
    optional = {
        "speaker": draft.speaker,
        "references": list(draft.references),
        "history": history,
        "turns": turns,
        "expect": draft.expect,
        "note": draft.note,
    }
    ids.add(draft.id)
    return row | {key: value for key, value in optional.items() if value}


def _turn_row(turn: DraftTurn, suffix: str, audio: AudioStore) -> dict[str, Any]:
    row: dict[str, Any] = {"role": turn.role}
    if turn.text:
        row["text"] = turn.text
    if turn.audio is not None:
        row["audio"], row["audio_sha256"] = audio.store(turn.audio, suffix)
    return row


def _live_row(turn: DraftTurn, suffix: str, audio: AudioStore) -> dict[str, Any]:
    """Return a scripted turn; `live.as_live` has checked that it has words and audio."""
    assert turn.audio is not None
    name, sha256 = audio.store(turn.audio, suffix)
    row = {"transcript": turn.text, "audio": name, "audio_sha256": sha256}
    return {**row, "cues": dict(turn.cues)} if turn.cues else row


def _select_cues(
    drafts: Sequence[tuple[Draft, Any]],
    requested: tuple[str, ...],
    defined: tuple[str, ...],
    rows: int,
    refused: Sequence[Refusal],
) -> tuple[str, ...]:
    known = tuple(dict.fromkeys(defined))
    if unknown := [cue for cue in requested if cue not in known]:
        raise UsageError(f"unknown cue '{unknown[0]}'; cues are {', '.join(known)}")
    if not drafts:
        raise BadData(
            f"none of {rows} rows became a sample"
            + (f"; first reason: {refused[0].reason}" if refused else "")
        )
    if requested:
        return tuple(cue for cue in known if cue in requested)
    shared = tuple(cue for cue in known if all(cue in draft.cues for draft, _ in drafts))
    if not shared:
        counts = Counter(cue for draft, _ in drafts for cue in draft.cues)
        rows_per_cue = ", ".join(f"{cue} {count}" for cue, count in counts.most_common()) or "none at all"
        raise UsageError(
            f"no cue is named by all {len(drafts)} rows (rows per cue: {rows_per_cue}); choose with --cue"
        )
    return shared


def _with_enough_cues(
    drafts: list[tuple[Draft, dict[str, Any]]], cues: tuple[str, ...], refused: list[Refusal]
) -> list[tuple[Draft, dict[str, Any]]]:
    """Return the rows that name enough of the task's cues; refuse the others."""
    kept = []
    for draft, row in drafts:
        reason = lacking_cues(draft, cues)
        if reason is None:
            kept.append((draft, row))
        else:
            refused.append(Refusal(location=draft.location, id=draft.id, reason=reason))
    return kept


def _group(kept: Sequence[tuple[Draft, dict[str, Any]]], cues: tuple[str, ...]) -> tuple[int, int]:
    """Put rows with equal words and different cues into contrast groups; those with graded replies stay out.

    Returns:
        The number of groups, and of rows with `expect` that are in none and lose this mark.
    """
    buckets: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for draft, row in kept:
        if draft.replies:
            continue
        labels = tuple((cue, draft.cues[cue]) for cue in cues if cue in draft.cues)
        context = [json.dumps(row.get("history"), sort_keys=True)]
        context += [turn["audio_sha256"] for turn in row.get("turns", ())]
        if draft.expect is not None:
            context += [draft.expect, *sorted(draft.references)]
        buckets[draft.language, draft.transcript, tuple(cue for cue, _ in labels), *context].append(row)
    count = 0
    for key, rows in buckets.items():
        prefix = sha256_of(repr(key))[:12]
        for number, group in enumerate(g for g in _contrasts(rows, cues) if len(g) > 1):
            count += 1
            for row in group:
                row["contrast_group"] = f"{prefix}-{number}"
    alone = [row for _, row in kept if "expect" in row and "contrast_group" not in row]
    for row in alone:
        del row["expect"]
    return count, len(alone)


def _contrasts(rows: Sequence[dict[str, Any]], cues: tuple[str, ...]) -> list[list[dict[str, Any]]]:
    """Return rows with the same words in groups whose labels differ.

    Where one group cannot hold them all, those of one speaker stay together.
    """
    together: list[list[dict[str, Any]]] = []
    for row in rows:
        _join(row, together, cues)
    if len(together) == 1:
        return together
    by_speaker: dict[str | None, list[list[dict[str, Any]]]] = defaultdict(list)
    for row in rows:
        _join(row, by_speaker[row.get("speaker")], cues)
    parts = [group for groups in by_speaker.values() for group in groups]
    groups = [group for group in parts if len(group) > 1]
    for group in parts:
        if len(group) == 1:
            _join(group[0], groups, cues)
    return groups


def _join(row: dict[str, Any], groups: list[list[dict[str, Any]]], cues: tuple[str, ...]) -> None:
    """Add a row to the first group from whose members it differs, or to a new one."""
    for group in groups:
        if all(_differ(row, member, cues) for member in group):
            return group.append(row)
    groups.append([row])
    return None


def _differ(row: Mapping[str, Any], other: Mapping[str, Any], cues: tuple[str, ...]) -> bool:
    labels, other_labels = ([r["cues"].get(cue) for cue in cues] for r in (row, other))
    return labels != other_labels and row["audio_sha256"] != other["audio_sha256"]


def _task_yaml(
    name: str,
    facts: TaskFacts,
    cues: tuple[str, ...],
    defined: Mapping[str, Any],
    audio_folder: str | None,
) -> str:
    """Return task.yaml; JSON strings are YAML strings."""
    values: dict[str, Any] = {
        "name": name,
        "version": facts.version or 1,
        "title": {"en": facts.title or name},
    }
    values |= {"description": facts.description or f"Imported as {name}; see import.json and refused.jsonl."}
    own = any(cue in defined for cue in cues)
    declared = {cue: defined.get(cue) for cue in cues} if own else list(cues)
    values |= {"cues": declared, "licence": facts.licence or UNKNOWN_LICENCE}
    optional = ("citation", "redistributable", "consent", "voices")
    values |= {key: getattr(facts, key) for key in optional}
    values |= {"private": True if facts.private is None else facts.private}
    values |= {"audio_folder": audio_folder}
    lines = (
        f"{key}: {json.dumps(value, ensure_ascii=False)}\n"
        for key, value in values.items()
        if value is not None
    )
    return "".join(lines)
