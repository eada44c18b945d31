"""Removal of a speaker from several runs and the user's cache, before their reports are made again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.store.forget import Forgotten, forget_speaker
from echat_eval.store.run_folder import RunFolder
from echat_eval.store.shared_cache import open_cache

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["forget_in_runs"]


def forget_in_runs(
    runs: Sequence[str], speaker: str, environ: Mapping[str, str]
) -> Iterator[tuple[str, Forgotten]]:
    """Yield each run with the counts of what was removed from it and from the cache.

    Args:
        runs: paths of run folders.
        environ: environment variables; they set the folder of the cache.

    Raises:
        BadData: a path is no run folder, or a row of it cannot be read.
        Busy: another process is writing to a run.
    """
    folders = [(name, RunFolder.existing(Path(name))) for name in runs]
    with open_cache(environ) as cache:
        for name, folder in folders:
            with folder.writing():
                yield name, forget_speaker(folder, speaker, cache)
