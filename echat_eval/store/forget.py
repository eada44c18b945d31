"""Removal of a speaker from a run folder and the cache: samples, replies, scores, verdicts, audio."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from echat_eval.errors import BadData
from echat_eval.io import jsonl
from echat_eval.records import JudgeEvidence
from echat_eval.store import cache_prune, serialize
from echat_eval.store.repeats import split_repeat
from echat_eval.store.turns import query_audios, reply_audios

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from echat_eval.records import Sample
    from echat_eval.store.cache import Cache
    from echat_eval.store.run_folder import RunFolder

__all__ = ["Forgotten", "forget_speaker"]

_ROWS = ("responses.jsonl", "annotations.jsonl", "scores.jsonl")
#: Made from the scores; they hold means over the removed samples, until they are made again.
_DERIVED = (
    "leaderboard.md",
    "leaderboard.csv",
    "leaderboard.png",
    "listening_gap.csv",
    "reply_times.csv",
    "links.jsonl",
    ".settled.json",
    ".shown.json",
    ".written.json",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """Counts of what was removed.

    Attributes:
        samples: of the speaker.
        rows: of replies, annotations, scores and verdicts.
        files: of audio, and of results that were made from the removed rows.
        cached: rows of the cache.
    """

    samples: int
    rows: int
    files: int
    cached: int


def forget_speaker(folder: RunFolder, speaker: str, cache: Cache | None) -> Forgotten:
    """Remove a speaker's samples and everything that was made from them.

    The caller holds the folder's lock. Scores of other samples in the same contrast groups stay; the next
    `run` or `score` makes those again that depended on a removed sample.

    Args:
        cache: the user's cache; None: leave it.

    Raises:
        BadData: a row of the folder cannot be read, so nothing is removed.
    """
    samples = folder.samples()
    gone = {(s.task, s.id): s for s in samples if s.speaker == speaker}
    if not gone:
        return Forgotten(samples=0, rows=0, files=0, cached=0)
    kept = [sample for sample in samples if (sample.task, sample.id) not in gone]
    # Rows that another speaker shares, such as the annotation of an equal reply, stay.
    keys = _keys(folder, gone, removed=True) - _keys(folder, gone, removed=False)
    audio = _reply_audio(folder, gone, removed=True)
    spared = _reply_audio(folder, gone, removed=False)
    spared |= {audio.path for sample in kept for audio in query_audios(sample)}
    rows = sum(_drop_rows(folder.path / name, gone, ()) for name in _ROWS)
    rows += _drop_rows(folder.path / "verdicts.jsonl", (), keys)
    jsonl.write_rows(
        folder.path / "samples.jsonl", (serialize.row_of_sample(sample, folder.path) for sample in kept)
    )
    audio |= {query.path for sample in gone.values() for query in query_audios(sample)}
    files = _unlink([*(audio - spared), *(folder.path / name for name in _DERIVED)])
    _recount(folder, kept)
    cached = cache_prune.remove(cache, keys) if cache is not None else 0
    return Forgotten(samples=len(gone), rows=rows, files=files, cached=cached)


def _keys(folder: RunFolder, gone: Collection[tuple[str, str]], *, removed: bool) -> set[str]:
    """Return the keys of rows and of the verdicts behind them, of the removed samples or of the others."""

    def selected(ident: tuple[str, ...]) -> bool:
        return ((ident[1], split_repeat(ident[2])[0]) in gone) == removed

    keys = {row.key for ident, row in folder.every_response().items() if selected(ident)}
    keys |= {row.key for ident, row in folder.every_annotation().items() if selected(ident)}
    for ident, score in folder.every_score().items():
        if selected(ident):
            keys.add(score.key)
            if isinstance(score.evidence, JudgeEvidence):
                keys.update(score.evidence.verdicts)
    return keys


def _reply_audio(folder: RunFolder, gone: Collection[tuple[str, str]], *, removed: bool) -> set[Path]:
    """Return the audio of the replies to the removed samples, or to the others."""
    return {
        audio.path
        for ident, row in folder.every_response().items()
        if ((ident[1], split_repeat(ident[2])[0]) in gone) == removed
        for audio in reply_audios(row)
    }


def _drop_rows(path: Path, gone: Collection[tuple[str, str]], keys: Collection[str]) -> int:
    """Rewrite a file without rows of the removed samples or with one of the keys; return their number."""
    if not path.exists():
        return 0
    rows = [row for _, row in jsonl.read_rows(path)]
    kept = [
        row
        for row in rows
        if (row.get("task"), row.get("sample_id")) not in gone and row.get("key") not in keys
    ]
    if len(kept) < len(rows):
        jsonl.write_rows(path, kept)
    return len(rows) - len(kept)


def _unlink(paths: Iterable[Path]) -> int:
    removed = 0
    for path in paths:
        if path.is_file():
            try:
                path.unlink()
            except OSError as error:
                raise BadData(f"{path}: cannot be removed: {error.strerror or error}") from error
            removed += 1
    return removed


def _recount(folder: RunFolder, kept: list[Sample]) -> None:
    manifest = folder.manifest()
    tasks = {
        name: replace(facts, samples=sum(sample.task == name for sample in kept))
        for name, facts in manifest.tasks.items()
    }
    folder.write_manifest(replace(manifest, tasks=tasks))
