"""The replies of one system of a run as files, so that they can be scored again without the run.

The files are those of a run folder (see `store.run_folder`). Audio has the name of its hash, so that a second
copy into the same folder writes only what is new.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io import jsonl
from echat_eval.io.audio import check_content
from echat_eval.io.files import write_atomically
from echat_eval.io.hashing import copy_verified, file_sha256, sha256_of
from echat_eval.records import JudgeEvidence
from echat_eval.store import serialize
from echat_eval.store.anchors import anchors_path
from echat_eval.store.manifest_file import manifest_text
from echat_eval.store.repeats import split_repeat
from echat_eval.store.turns import query_audios, reply_audios

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from echat_eval.records import AudioRef
    from echat_eval.store.run_folder import RunFolder

__all__ = ["KeptFile", "kept_files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A file to keep: its name in the folder, its hash, and its content or the file to copy."""

    name: str
    sha256: str
    content: bytes | Path

    @classmethod
    def of(cls, name: str, text: str) -> KeptFile:
        """Return a file with this text."""
        return cls(name=name, sha256=sha256_of(text), content=text.encode())

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    def write(self, path: Path) -> None:
        """Write the file, unless it is there already."""
        if path.is_file() and file_sha256(path) == self.sha256:
            return
        if isinstance(self.content, Path):
            copy_verified(self.content, path, self.sha256)
        else:
            write_atomically(path, self.content)


def kept_files(folder: RunFolder) -> list[KeptFile]:
    """Return what a run folder needs to score the replies of its one system again.

    Args:
        folder: of one system, or a view of one.

    Raises:
        BadData: a recording is missing or damaged.
    """
    responses = folder.every_response()
    answered = {(task, split_repeat(name)[0]) for _, task, name in responses}
    samples = [sample for sample in folder.samples() if (sample.task, sample.id) in answered]
    scores, root = folder.every_score(), folder.path
    manifest = folder.manifest()
    tasks = {name: facts for name, facts in manifest.tasks.items() if name in {task for task, _ in answered}}
    manifest = replace(manifest, tasks=tasks, cost=None)
    texts = {
        "manifest.json": manifest_text(manifest, str(root)),
        "samples.jsonl": _rows(serialize.row_of_sample(sample, root) for sample in samples),
        "responses.jsonl": _rows(serialize.row_of_response(row, root) for row in responses.values()),
        "annotations.jsonl": _rows(map(serialize.row_of_annotation, folder.every_annotation().values())),
        "scores.jsonl": _rows(map(serialize.row_of_score, scores.values())),
    }
    keys = {
        key
        for score in scores.values()
        if isinstance(score.evidence, JudgeEvidence)
        for key in score.evidence.verdicts
    }
    texts |= dict(_verdicts(root, keys))
    audio = [audio for sample in samples for audio in query_audios(sample)]
    audio += [audio for response in responses.values() for audio in reply_audios(response)]
    return [*(KeptFile.of(name, text) for name, text in texts.items()), *_recordings(audio, root)]


def _rows(rows: Iterable[dict[str, Any]]) -> str:
    return jsonl.rows_text(rows)


def _verdicts(root: Path, keys: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the verdicts behind the scores, the identities of their judges and their anchors, as files."""
    path = root / "verdicts.jsonl"
    if path.is_file():
        yield path.name, _rows(row for _, row in jsonl.read_rows(path) if row.get("key") in keys)
    for whole in (path.with_suffix(".served.jsonl"), anchors_path(root)):
        if whole.is_file():
            yield whole.name, _rows(row for _, row in jsonl.read_rows(whole))


def _recordings(audio: Iterable[AudioRef], root: Path) -> Iterator[KeptFile]:
    """Yield each recording once."""
    for found in {ref.path: ref for ref in audio}.values():
        try:
            check_content(found)
        except BadData as error:
            raise BadData(f"{error}; without the recordings, keep the scores alone: --no-replies") from error
        name = found.path.relative_to(root).as_posix()
        yield KeptFile(name=name, sha256=found.sha256, content=found.path)
