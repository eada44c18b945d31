"""Placeholder."""

from __future__ import annotations


def find_cues(think: str) -> dict[str, str]:
    """Return cue -> label."""
    return {}
