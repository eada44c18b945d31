"""Sounds in the cache folder, each named by the hash of its bytes and never believed without it."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

__all__ = ["read_sound", "sound_path", "sound_paths"]

logger = logging.getLogger(__name__)


def sound_path(folder: Path, sha256: str) -> Path:
    """Return where a sound lies if it is kept."""
    return folder / "audio" / sha256[:2] / sha256


def sound_paths(folder: Path) -> list[Path]:
    """Return every file among the sounds."""
    return list(folder.glob("audio/??/*"))


def read_sound(folder: Path, sha256: str) -> bytes | None:
    """Return a sound's bytes; None, and gone from here, if it is missing or damaged."""
    kept = sound_path(folder, sha256)
    try:
        content = kept.read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(content).hexdigest() != sha256:
        logger.warning("%s: damaged, and removed from the cache", kept)
        kept.unlink(missing_ok=True)
        return None
    return content
