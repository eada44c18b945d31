"""A run folder: its files, its lock, and access to its rows.

runs/x/manifest.json                 systems, tasks, versions, settings and hashes
      samples.jsonl                  snapshot of the samples
      requests/<sha256>.<ext>        query audio, at paths that reveal nothing
      responses.jsonl  annotations.jsonl  scores.jsonl
      audio/<sha256>.wav             reply audio
"""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, Busy, UsageError, Withheld
from echat_eval.io import jsonl
from echat_eval.io.audio import check_content
from echat_eval.io.collector import collector_paused
from echat_eval.io.hashing import copy_verified
from echat_eval.records import Annotation, AudioRef, Response, Sample, Score, Turn
from echat_eval.store import serialize
from echat_eval.store.manifest import RunManifest
from echat_eval.store.manifest_file import read_manifest, write_manifest
from echat_eval.store.repeats import averaged_scores, first_replies, split_repeat, worst_responses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from filelock import BaseFileLock

__all__ = ["Logs", "RunFolder"]

logger = logging.getLogger(__name__)

#: The remedy for a damaged snapshot.
_RESTORES = "run the same `echat-eval run` command again, which restores it"
ResponseId = tuple[str, str, str]  # system, task, sample id
AnnotationId = tuple[str, str, str, str]  # ... annotator
ScoreId = tuple[str, str, str, str]  # ... metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """The open files of the three stages."""

    responses: jsonl.Appender
    annotations: jsonl.Appender
    scores: jsonl.Appender


@dataclass(frozen=True, slots=True, kw_only=True)
class _CachedTable:
    """The rows of a file as last read.

    Attributes:
        mark: size, time and inode of the file when it was read.
        table: identity -> last record with that identity.
        replaced: a later row replaced an earlier one.
    """

    mark: tuple[int, ...] | None
    table: dict[Any, Any]
    replaced: bool


class Cached:
    """Rows and manifest of a run folder, each read again only if its file has changed."""

    def __init__(self) -> None:
        self.tables: dict[str, _CachedTable] = {}
        self.manifest: tuple[tuple[int, ...] | None, RunManifest] | None = None
        #: File -> marks of the samples and of the file when each of its rows had a sample.
        self.with_samples: dict[str, tuple[tuple[int, ...] | None, tuple[int, ...] | None]] = {}


class RunFolder:
    """Reads a run folder, and writes to it while holding its lock.

    Args:
        path: the folder, which may be missing.
        cached: what another view of the folder has read; None to share with none.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as tmp, RunFolder(Path(tmp) / "a").writing() as run:
    ...     len(run.responses())
    0
    """

    def __init__(self, path: Path, cached: Cached | None = None) -> None:
        self.path = path
        self._lock: BaseFileLock | None = None
        self._cached = cached or Cached()
        self._folders: dict[str, Path] = {}
        self._checked: set[Path] = set()

    @classmethod
    def existing(cls, path: Path, cached: Cached | None = None) -> RunFolder:
        """Return a run folder that exists already; arguments as of the class.

        Raises:
            BadData: the path is not a run folder.
        """
        if not (path / "manifest.json").is_file():
            raise BadData(_no_run(path))
        return cls(path, cached)

    def writing(self) -> RunFolder:
        """Acquire the folder's lock.

        Raises:
            Busy: another process holds the lock.
            UsageError: the folder cannot be written, or contains other files.
        """
        from filelock import FileLock, Timeout

        if self.path.is_file():
            raise UsageError(f"{self.path}: is a file; --out names a folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            is_run = (self.path / "manifest.json").exists()
            if not is_run and {p.name for p in self.path.iterdir()} - {".lock", ".fonts", "looks.json"}:
                raise UsageError(f"{self.path}: not empty and not a run folder; choose another --out")
            self._lock = FileLock(self.path / ".lock", timeout=0)
            self._lock.acquire()
            # Left by killed writers; under the lock, no process is writing them.
            for pattern in (".*.tmp", "*/*.tmp", "*/.*.tmp"):
                for temporary in self.path.glob(pattern):
                    temporary.unlink(missing_ok=True)
        except Timeout as error:
            raise Busy(
                f"{self.path}: another process is writing to this run; wait for it or use another --out"
            ) from error
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        return self

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # -- manifest ---------------------------------------------------------------

    def manifest(self) -> RunManifest:
        """Return the manifest, or an empty one if there is none yet.

        Raises:
            BadData: not a manifest, or one of another version.
        """
        mark = self._mark("manifest.json")
        if self._cached.manifest is None or self._cached.manifest[0] != mark:
            self._cached.manifest = (mark, read_manifest(self.path / "manifest.json"))
        return self._cached.manifest[1]

    def write_manifest(self, manifest: RunManifest) -> None:
        """Replace the manifest."""
        write_manifest(self.path / "manifest.json", manifest)

    # -- samples ----------------------------------------------------------------

    def store_samples(self, samples: Iterable[Sample]) -> list[Sample]:
        """Store a snapshot of the samples and copies of their audio; return the stored samples.

        The snapshot replaces earlier ones of the same tasks.
        """
        with collector_paused():
            stored = [self._adopt(sample) for sample in samples]
        tasks = {sample.task for sample in stored}
        before = self.samples()
        snapshot = [sample for sample in before if sample.task not in tasks] + stored
        if stored and snapshot == before and not self._cached.tables["samples.jsonl"].replaced:
            return stored
        jsonl.write_rows(
            self.path / "samples.jsonl",
            (serialize.row_of_sample(sample, self.path) for sample in snapshot),
        )
        self._cached.tables["samples.jsonl"] = _CachedTable(
            mark=self._mark("samples.jsonl"),
            table={_sample_id(sample): sample for sample in snapshot},
            replaced=False,
        )
        return stored

    def mend_samples(self, samples: Iterable[Sample]) -> None:
        """Restore samples that responses need and a damaged snapshot lacks; unreadable lines are removed.

        Args:
            samples: those of the command.
        """
        with suppress(BadData):
            self.every_response()
            return
        path = self.path / "samples.jsonl"
        kept: list[Sample] = []
        faults = 0
        for _, row in jsonl.scan_rows(path) if path.exists() else ():
            try:
                if isinstance(row, str):
                    raise BadData(row)
                kept.append(serialize.sample_from(row, self.path))
            except BadData:
                faults += 1
        known = set(map(_sample_id, kept))
        lost = {(task, split_repeat(name)[0]) for _, task, name in self._responses()} - known
        found = [self._adopt(sample) for sample in samples if _sample_id(sample) in lost]
        if faults or found:
            logger.warning("%s: damaged: %d lines removed, %d samples restored", path, faults, len(found))
            rows = (serialize.row_of_sample(sample, self.path) for sample in (*kept, *found))
            jsonl.write_rows(path, rows)

    def _adopt(self, sample: Sample) -> Sample:
        def adopted(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
            return tuple(
                turn if turn.audio is None else replace(turn, audio=self.adopt_audio(turn.audio, "requests"))
                for turn in turns
            )

        return replace(
            sample,
            audio=self.adopt_audio(sample.audio, "requests"),
            history=adopted(sample.history),
            turns=sample.turns and adopted(sample.turns),
        )

    def adopt_audio(self, audio: AudioRef, folder: str) -> AudioRef:
        """Copy an audio file into the run folder, named by its hash.

        A copy with the length and time of its source is taken as equal; anything that changes it later gives
        it another time.
        """
        suffix = audio.path.suffix.lower()
        name = f"{audio.sha256}{suffix if suffix.isascii() and len(suffix) <= 5 else ''}"
        target = self._folder(folder) / name
        source, copy = str(audio.path), str(target)
        if source != copy and ((mark := _size_and_time(source))[0] < 0 or _size_and_time(copy) != mark):
            copy_verified(audio.path, target, audio.sha256)
            os.utime(copy, ns=(mark[1], mark[1]))
            self._checked.add(target)  # its bytes were hashed while they were written
        return replace(audio, path=target)

    def check_audio(self, audio: AudioRef) -> None:
        """Check a file before it is handed out: a name is no proof of content. Each file is read once, a copy
        that this process made not at all.

        A damaged query is removed; the same command copies it again from its task.

        Raises:
            Withheld: the file has other bytes than its hash states, or is no file of this folder.
        """
        if audio.path in self._checked:
            return
        try:
            check_content(audio)
        except BadData as error:
            if audio.path.parent == self._folder("requests"):
                audio.path.unlink(missing_ok=True)
                raise Withheld(f"{error}; it was removed, and the same command copies it again") from error
            raise Withheld(f"{error}; restore the file, or run the system again in a new folder") from error
        self._checked.add(audio.path)

    def _folder(self, name: str) -> Path:
        if name not in self._folders:
            self._folders[name] = self.path / name
            self._folders[name].mkdir(parents=True, exist_ok=True)
        return self._folders[name]

    def samples(self) -> list[Sample]:
        """Return the samples of the snapshot, in order."""
        return list(
            self._table(
                "samples.jsonl", lambda row: serialize.sample_from(row, self.path), _sample_id
            ).values()
        )

    # -- rows -------------------------------------------------------------------

    def _rows(self, name: str) -> Iterable[tuple[int, dict[str, Any]]]:
        path = self.path / name
        if path.exists():
            if self._lock is not None:
                jsonl.mend(path)
            try:
                yield from jsonl.read_rows(path)
            except BadData as error:
                raise BadData(f"{error}; {_remedy(name)}") from error

    def _table(
        self, name: str, build: Callable[[dict[str, Any]], Any], ident: Callable[[Any], Any]
    ) -> dict[Any, Any]:
        """Return identity -> record; a later row replaces an earlier one.

        A file is read again only if it has changed.
        """
        path = self.path / name
        mark = self._mark(name)
        if name not in self._cached.tables or self._cached.tables[name].mark != mark:
            table, number = {}, 0
            with collector_paused():
                for line, row in self._rows(name):
                    try:
                        record = build(row)
                    except BadData as error:
                        raise BadData(
                            f"{path}:{line}: {error}; the row is damaged or of another version: "
                            f"{_remedy(name)}"
                        ) from error
                    table[ident(record)] = record
                    number += 1
            # A new mark, because repairing a torn line changes the file.
            self._cached.tables[name] = _CachedTable(
                mark=self._mark(name), table=table, replaced=number != len(table)
            )
        return dict(self._cached.tables[name].table)

    def _mark(self, name: str) -> tuple[int, ...] | None:
        try:
            status = os.stat(self.path / name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_size, status.st_mtime_ns, status.st_ino

    def responses(self) -> dict[ResponseId, Response]:
        """Return (system, task, sample id) -> response; of several repeats, see `repeats.worst_responses`.

        Raises:
            BadData: the snapshot lacks a sample that was answered.
        """
        return worst_responses(self.every_response())

    def every_response(self) -> dict[ResponseId, Response]:
        """Return the responses with all repeats, each under an id of its own; raises as `responses`."""
        return self._of_samples("responses.jsonl", self._responses())

    def _of_samples(self, name: str, rows: dict[Any, Any]) -> dict[Any, Any]:
        """Return the rows of a file by identity; raise BadData if the snapshot lacks a sample of one."""
        if self._cached.with_samples.get(name) == (self._mark("samples.jsonl"), self._mark(name)):
            return rows
        answered = {(ident[1], split_repeat(ident[2])[0]) for ident in rows}
        if lost := answered - set(map(_sample_id, self.samples())):
            task, sample = min(lost)
            raise BadData(
                f"{self.path / 'samples.jsonl'}: {len(lost)} samples of other files are not there, such as "
                f"'{task}/{sample}'; {_RESTORES}"
            )
        self._cached.with_samples[name] = self._mark("samples.jsonl"), self._mark(name)
        return rows

    def _responses(self) -> dict[ResponseId, Response]:
        return self._table(
            "responses.jsonl",
            lambda row: serialize.response_from(row, self.path),
            lambda r: (r.system, r.task, r.sample_id),
        )

    def annotations(self) -> dict[AnnotationId, Annotation]:
        """Return (system, task, sample id, annotator) -> annotation of the first reply."""
        return first_replies(self.every_annotation())

    def every_annotation(self) -> dict[AnnotationId, Annotation]:
        """Return the annotations with all repeats, each under an id of its own."""
        return self._table(
            "annotations.jsonl",
            serialize.annotation_from,
            lambda a: (a.system, a.task, a.sample_id, a.annotator),
        )

    def scores(self) -> dict[ScoreId, Score]:
        """Return (system, task, sample id, metric) -> score, the mean of repeats; raises as `responses`."""
        return averaged_scores(self.every_score())

    def every_score(self) -> dict[ScoreId, Score]:
        """Return the scores with all repeats, each under an id of its own; raises as `responses`."""
        return self._of_samples(
            "scores.jsonl",
            self._table(
                "scores.jsonl", serialize.score_from, lambda s: (s.system, s.task, s.sample_id, s.metric)
            ),
        )

    @contextmanager
    def logs(self) -> Iterator[Logs]:
        """Open the files of the three stages for appending; see `jsonl.Appender`."""
        with ExitStack() as stack:
            yield Logs(
                **{
                    name: stack.enter_context(jsonl.Appender(self.path / f"{name}.jsonl"))
                    for name in ("responses", "annotations", "scores")
                }
            )

    def put_in_order(
        self,
        responses: Mapping[ResponseId, Response],
        annotations: Mapping[AnnotationId, Annotation],
        scores: Mapping[ScoreId, Score],
    ) -> None:
        """Rewrite the rows without duplicates, sorted by system and then by the order of the samples.

        A file that is in order already is not written.
        """
        position = {(sample.task, sample.id): n for n, sample in enumerate(self.samples())}

        def place(ident: ResponseId) -> tuple[str, int, int]:
            name, number = split_repeat(ident[2])
            return ident[0], position.get((ident[1], name), -1), number

        order = sorted((ident for ident in responses if place(ident)[1] >= 0), key=place)
        rank = {ident: n for n, ident in enumerate(order)}
        annotated = [ident for ident in annotations if ident[:3] in rank]
        annotated.sort(key=lambda i: (rank[i[:3]], i[3]))
        scored = [ident for ident in scores if ident[:3] in rank]
        scored.sort(key=lambda i: (rank[i[:3]], i[3]))
        self._rewrite("responses.jsonl", order, lambda i: serialize.row_of_response(responses[i], self.path))
        self._rewrite("annotations.jsonl", annotated, lambda i: serialize.row_of_annotation(annotations[i]))
        self._rewrite("scores.jsonl", scored, lambda i: serialize.row_of_score(scores[i]))

    def _rewrite(self, name: str, idents: list[Any], row: Callable[[Any], dict[str, Any]]) -> None:
        cached = self._cached.tables.get(name)
        current = cached is not None and cached.mark == self._mark(name) and not cached.replaced
        if cached is None or not current or list(cached.table) != idents:
            jsonl.write_rows(self.path / name, map(row, idents))

    @property
    def audio_folder(self) -> Path:
        """Return the folder of reply audio."""
        return self._folder("audio")


def _size_and_time(path: str) -> tuple[int, int]:
    """Return size and time of a file; an impossible size of a missing one."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return -1, 0
    return status.st_size, status.st_mtime_ns


def _no_run(path: Path) -> str:
    """Return that a path is no run folder, and which ones it holds."""
    runs = sorted(found.parent.name for found in path.glob("*/manifest.json"))[:4]
    if runs:
        return (
            f"{path}: not a run folder, but it holds some: give {', '.join(f'{path}/{run}' for run in runs)}"
        )
    return f"{path}: not a run folder (no manifest.json); create one with `echat-eval run --out {path}`"


def _sample_id(sample: Sample) -> tuple[str, str]:
    return sample.task, sample.id


def _remedy(name: str) -> str:
    """Return what mends a damaged file of a run."""
    if name == "samples.jsonl":
        return _RESTORES
    return "restore the file, or delete the line and run the same command"
