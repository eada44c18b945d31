"""Recordings of replies that are no longer in the folder of their run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from echat_eval.store.turns import reply_audios

if TYPE_CHECKING:
    from echat_eval.store.run_folder import RunFolder

__all__ = ["lost_recordings"]


def lost_recordings(run: RunFolder) -> dict[str, list[str]]:
    """Return system -> names of its recordings that are gone, from one listing; no file is read."""
    audio = run.path / "audio"
    present = set(os.listdir(audio)) if audio.is_dir() else set()
    lost: dict[str, dict[str, None]] = {}
    for response in run.every_response().values():
        for recording in reply_audios(response):
            if (name := recording.path.name) not in present:
                lost.setdefault(response.system, {})[name] = None
    return {system: list(names) for system, names in lost.items()}
