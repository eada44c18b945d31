"""Groups on disk, so that a command does only what is missing: clips, or the reason why there are none."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.io.files import write_atomically
from echat_eval.io.hashing import digest
from echat_eval.testset.groups import Group
from echat_eval.testset.sentences import Dropped

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from echat_eval.testset.sentences import Sentence

__all__ = ["GroupStore"]

#: A voice that failed may work now.
_NOT_KEPT = frozenset({"voice-failed"})


class GroupStore:
    """The groups of one plan.

    Args:
        folder: of the files.
        checks: what determines the outcome of the checks.
    """

    def __init__(self, folder: Path, checks: Mapping[str, object]) -> None:
        self.folder, self._checks = folder, checks

    def find(self, key: str, sentence: Sentence, speaker: str) -> Group | Dropped | None:
        """Return what an earlier command kept; None if there is nothing."""
        path = self._path(key)
        if path.with_suffix(".npz").is_file():
            with np.load(path.with_suffix(".npz")) as stored:
                clips = tuple(stored[f"arr_{number}"] for number in range(len(stored.files)))
            return Group(sentence=sentence, speaker=speaker, clips=clips)
        if path.with_suffix(".json").is_file():
            return Dropped(**json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
        return None

    def keep(self, key: str, found: Group | Dropped) -> None:
        """Keep a group, or the reason why there is none."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(found, Group):
            buffer = io.BytesIO()
            np.savez(buffer, *found.clips)
            write_atomically(path.with_suffix(".npz"), buffer.getvalue(), durable=False)
        elif found.reason not in _NOT_KEPT:
            write_atomically(path.with_suffix(".json"), json.dumps(asdict(found)), durable=False)

    def _path(self, key: str) -> Path:
        return self.folder / digest("testset checked group", [key, self._checks])
