"""Write drafts as a task folder: audio named by hash, contrast groups by equal words, and a report."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from echat_eval.errors import BadData, UsageError
from echat_eval.importers.draft import Draft, Refusal
from echat_eval.io.audio import audio_ref, read_mono
from echat_eval.io.hashing import sha256_of
from echat_eval.io.jsonl import rows_text
from echat_eval.io.schema import MAX_TEXT_CHARACTERS
from echat_eval.io.unfinished import NewFolder
from echat_eval.labels import CUES
from echat_eval.task import find_faults
from echat_eval.task.row import MAX_ID_CHARACTERS, is_id

__all__ = ["Imported", "write_task"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The result of an import.

    Attributes:
        rows: number of rows read; samples + refused.
        groups: number of contrast groups.
        reasons: reason -> number of rows, most frequent first.
        faults: of the task that was written; none are expected.
    """

    rows: int
    samples: int
    refused: int
    groups: int
    cues: tuple[str, ...]
    reasons: Mapping[str, int]
    faults: tuple[str, ...] = ()


def write_task(
    entries: Iterable[Draft | Refusal],
    out: Path,
    *,
    name: str,
    title: str,
    licence: str,
    description: str,
    cues: Sequence[str] = (),
    origin: Mapping[str, Any] | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Imported:
    """Write a task folder with its reports `import.json` and `refused.jsonl`.

    Args:
        entries: one draft or refusal per row.
        out: a new or empty folder, or one that an import left when it was killed.
        cues: cues of the task; by default those that all samples name.
        origin: source of the rows, for the report.
        on_progress: called with the number of rows so far.

    Raises:
        UsageError: the folder is not empty, or no cue is named by all samples.
        BadData: no row became a sample.
    """
    with NewFolder(out, "echat-eval import") as folder:
        drafts, refused, rows = _stored(entries, folder, on_progress)
        task_cues = _select_cues(drafts, tuple(cues), rows, refused)
        kept = _with_enough_cues(drafts, task_cues, refused)
        if not kept:
            raise BadData(f"none of {rows} rows became a sample; first reason: {refused[0].reason}")
        imported = Imported(
            rows=rows,
            samples=len(kept),
            refused=len(refused),
            groups=_group(kept, task_cues),
            cues=task_cues,
            reasons=dict(Counter(_reason_kind(r.reason) for r in refused).most_common()),
        )
        samples = [row for _, row in kept]
        _drop_unused_audio(folder, samples)
        folder.write("samples.jsonl", rows_text(samples))
        folder.write("task.yaml", _task_yaml(name, title, licence, description, task_cues))
        folder.write(
            "refused.jsonl",
            rows_text({"row": r.location, "id": r.id, "reason": r.reason} for r in refused),
        )
        facts = asdict(imported) | {"origin": dict(origin or {})}
        del facts["faults"]
        folder.write("import.json", json.dumps(facts, ensure_ascii=False, indent=1) + "\n")
        return replace(imported, faults=tuple(find_faults(out)))


def _stored(
    entries: Iterable[Draft | Refusal], folder: NewFolder, on_progress: Callable[[int], None]
) -> tuple[list[tuple[Draft, dict[str, Any]]], list[Refusal], int]:
    """Store the audio of all rows; return drafts with their rows, refusals, and the number of rows."""
    drafts: list[tuple[Draft, dict[str, Any]]] = []
    refused: list[Refusal] = []
    ids: set[str] = set()
    rows = 0
    for entry in entries:
        rows += 1
        on_progress(rows)
        row = _sample_row(entry, folder, ids) if isinstance(entry, Draft) else entry
        if isinstance(row, Refusal):
            refused.append(row)
        else:
            assert isinstance(entry, Draft)
            drafts.append((entry, row))
    return drafts, refused, rows


def _sample_row(draft: Draft, folder: NewFolder, ids: set[str]) -> dict[str, Any] | Refusal:
    def refuse(reason: str) -> Refusal:
        return Refusal(location=draft.location, id=draft.id, reason=reason)

    if draft.id in ids:
        return refuse("a second row with this id")
    texts = (draft.transcript, *draft.references)
    if not is_id(draft.id) or any(len(text) > MAX_TEXT_CHARACTERS for text in texts):
        return refuse(
            f"its id or a text is longer than {MAX_ID_CHARACTERS} or {MAX_TEXT_CHARACTERS:,} characters, "
            "or not printable"
        )
    row: dict[str, Any] = {
        "id": draft.id,
        "transcript": draft.transcript,
        "cues": dict(draft.cues),
        "language": draft.language,
        "source": draft.source,
    }
    try:
        row["audio"], row["audio_sha256"] = _store_audio(draft.audio, draft.suffix, folder)
        turns = [_turn_row(turn, draft.suffix, folder) for turn in draft.history]
    except BadData as error:
        return refuse(f"audio: {error}")
    optional = {
        "speaker": draft.speaker,
        "references": list(draft.references),
        "history": turns,
        "note": draft.note,
    }
    ids.add(draft.id)
    return row | {key: value for key, value in optional.items() if value}


def _turn_row(turn: Any, suffix: str, folder: NewFolder) -> dict[str, Any]:
    row: dict[str, Any] = {"role": turn.role}
    if turn.text:
        row["text"] = turn.text
    if turn.audio is not None:
        row["audio"], row["audio_sha256"] = _store_audio(turn.audio, suffix, folder)
    return row


def _store_audio(audio: Path | bytes, suffix: str, folder: NewFolder) -> tuple[str, str]:
    """Copy audio unchanged under its hash; raise BadData if it cannot be decoded or is silent."""
    content = audio if isinstance(audio, bytes) else audio.read_bytes()
    suffix = suffix if isinstance(audio, bytes) else audio.suffix.lower()
    sha256 = sha256_of(content)
    name = f"audio/{sha256}{suffix}"
    if name not in folder:
        folder.write(name, content, durable=False)
    path = folder.folder / name
    try:
        audio_ref(path)
        sound, _ = read_mono(path, rate=None)
        if not sound.any():
            raise BadData(f"{path}: holds only zeros; expected speech")
    except BadData as error:
        folder.remove(name)
        raise BadData(str(error).removeprefix(f"{path}: ")) from error
    return name, sha256


def _select_cues(
    drafts: Sequence[tuple[Draft, Any]], requested: tuple[str, ...], rows: int, refused: Sequence[Refusal]
) -> tuple[str, ...]:
    if unknown := [cue for cue in requested if cue not in CUES]:
        raise UsageError(f"unknown cue '{unknown[0]}'; cues are {', '.join(CUES)}")
    if not drafts:
        raise BadData(
            f"none of {rows} rows became a sample"
            + (f"; first reason: {refused[0].reason}" if refused else "")
        )
    if requested:
        return tuple(cue for cue in CUES if cue in requested)
    shared = tuple(cue for cue in CUES if all(cue in draft.cues for draft, _ in drafts))
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
        named = [cue for cue in cues if cue in draft.cues]
        if len(named) >= min(2, len(cues)):
            kept.append((draft, row))
        else:
            reason = f"names {len(named)} of the task's cues ({', '.join(cues)})"
            refused.append(Refusal(location=draft.location, id=draft.id, reason=reason))
    return kept


def _group(kept: Sequence[tuple[Draft, dict[str, Any]]], cues: tuple[str, ...]) -> int:
    """Put rows with equal words and different cues into contrast groups; return the number of groups."""
    buckets: dict[tuple[Any, ...], list[list[dict[str, Any]]]] = defaultdict(list)
    for draft, row in kept:
        labels = tuple((cue, draft.cues[cue]) for cue in cues if cue in draft.cues)
        history = json.dumps(row.get("history"), sort_keys=True)
        groups = buckets[draft.language, draft.transcript, tuple(cue for cue, _ in labels), history]
        for group in groups:
            if all(_differ(row, member, cues) for member in group):
                group.append(row)
                break
        else:
            groups.append([row])
    count = 0
    for key, groups in buckets.items():
        prefix = sha256_of(repr(key))[:12]
        for number, group in enumerate(g for g in groups if len(g) > 1):
            count += 1
            for row in group:
                row["contrast_group"] = f"{prefix}-{number}"
    return count


def _differ(row: Mapping[str, Any], other: Mapping[str, Any], cues: tuple[str, ...]) -> bool:
    labels, other_labels = ([r["cues"].get(cue) for cue in cues] for r in (row, other))
    return labels != other_labels and row["audio_sha256"] != other["audio_sha256"]


def _drop_unused_audio(folder: NewFolder, samples: Sequence[Mapping[str, Any]]) -> None:
    used = {row["audio"] for row in samples}
    used |= {turn["audio"] for row in samples for turn in row.get("history", ()) if "audio" in turn}
    for name in set(folder.names) - used:
        folder.remove(name)


def _task_yaml(name: str, title: str, licence: str, description: str, cues: tuple[str, ...]) -> str:
    def quoted(text: str) -> str:
        return json.dumps(text, ensure_ascii=False)  # JSON strings are YAML strings

    return (
        f"name: {quoted(name)}\nversion: 1\ntitle:\n  en: {quoted(title)}\n"
        f"description: {quoted(description)}\ncues: [{', '.join(cues)}]\nlicence: {quoted(licence)}\n"
    )


def _reason_kind(reason: str) -> str:
    """Return a reason without the parts that differ from row to row, for counting."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\b[0-9a-f]{16,}\b|\d+", "…", reason)[:160]
