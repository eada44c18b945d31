"""Faults of recordings that people should look at: clipping, silence, level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from echat_eval.checks.task_finding import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.checks.task_audio import Recording
    from echat_eval.records import Sample

__all__ = ["recording_findings"]

#: Seconds of silence before or after the sound.
MOST_SILENCE = 3.0
#: Share of frames with sound.
LEAST_SOUND = 0.1
#: dB from the median level.
FAR_LEVEL = 15.0


def recording_findings(samples: Sequence[Sample], recordings: Sequence[Recording]) -> list[Finding]:
    """Return what is wrong with the recordings, each kind as one finding."""
    levels = [r.level for r in recordings if r.level is not None]
    middle = float(np.median(levels)) if levels else 0.0
    clipped = {s.id: f"clipped in {r.clipped} places" for s, r in _pairs(samples, recordings) if r.clipped}
    silent = {
        s.id: f"{r.before:.1f} s of silence before and {r.after:.1f} s after the sound"
        for s, r in _pairs(samples, recordings)
        if max(r.before, r.after) > MOST_SILENCE or r.sound < LEAST_SOUND
    }
    far = {
        s.id: f"{r.level:.1f} dB, median {middle:.1f} dB"
        for s, r in _pairs(samples, recordings)
        if r.level is not None and abs(r.level - middle) > FAR_LEVEL
    }
    return [
        _finding("clipping", clipped, len(samples), "record them again with less gain"),
        _finding("silence", silent, len(samples), "cut the silence"),
        _finding("far-level", far, len(samples), "scale them"),
    ]


def _pairs(samples: Sequence[Sample], recordings: Sequence[Recording]) -> list[tuple[Sample, Recording]]:
    return list(zip(samples, recordings, strict=True))


def _finding(check: str, found: Mapping[str, str], count: int, remedy: str) -> Finding:
    return Finding(
        check=check,
        section="audio",
        state="review" if found else "pass",
        message=f"{len(found)} of {count} recordings",
        remedy=remedy if found else "",
        samples=found,
    )
