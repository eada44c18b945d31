"""The vocoder in windows of few widths, for a GPU: it plans its convolutions once for each width.

A sample depends on the frames near it only, so that windows that overlap by that reach give, joined, the
sound of all frames at once. Rows of different lengths share a batch of windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from echat_eval.osum.voice.config import HOP
from echat_eval.osum.voice.vocoder import SourceNoise
from echat_eval.osum.voice.vocoder_stream import FILTER_REACH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from echat_eval.osum.voice.noise import Noise
    from echat_eval.osum.voice.vocoder import Hift

__all__ = ["Window", "plan_windows", "vocode_in_windows"]

#: Frames of a window: the widest that a row fills. A row of fewer is a window of its own.
WIDTHS = (512, 256, 128, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Frames of one row that are computed together, and those among them that are kept.

    Attributes:
        row: number of the row.
        start, width: of the frames that are computed.
        first, end: of the frames that are kept.
    """

    row: int
    start: int
    width: int
    first: int
    end: int


def plan_windows(row: int, frames: int) -> Iterator[Window]:
    """Yield the windows of a row, of one width; each frame is kept once, far from edges inside the row."""
    width = next((width for width in WIDTHS if width <= frames), frames)
    end = 0
    while end < frames:
        first = end
        start = min(max(0, first - FILTER_REACH), frames - width)
        end = frames if start + width == frames else start + width - FILTER_REACH
        yield Window(row=row, start=start, width=width, first=first, end=end)


def vocode_in_windows(
    hift: Hift, mels: Sequence[Tensor], noise: Sequence[Noise], *, max_frames: int
) -> list[Tensor]:
    """Return the waveform (256 M,) of each log-mel (80, M).

    Args:
        hift: the vocoder.
        mels: of any lengths.
        noise: of each row.
        max_frames: of one batch of windows.
    """
    plan = [window for row, mel in enumerate(mels) for window in plan_windows(row, mel.shape[1])]
    pitch = [mel.new_empty(mel.shape[1]) for mel in mels]
    for batch in batches(plan, max_frames):
        for window, made in zip(batch, hift.f0_predictor(cut(mels, batch)), strict=True):
            keep(pitch[window.row], made, window, 1)
    sources = [
        hift.m_source(row[None], SourceNoise(phases=drawn.phases[None], hiss=drawn.hiss[None]))
        for row, drawn in zip(pitch, noise, strict=True)
    ]
    waves = [mel.new_empty(mel.shape[1] * HOP) for mel in mels]
    for batch in batches(plan, max_frames):
        source = cut(sources, batch, HOP)[:, 0]
        for window, made in zip(batch, hift.filter(cut(mels, batch), source), strict=True):
            keep(waves[window.row], made, window, HOP)
    return waves


def batches(plan: Sequence[Window], max_frames: int) -> Iterator[list[Window]]:
    """Yield windows of one width, of `max_frames` frames at most or a single one."""
    for width in dict.fromkeys(window.width for window in plan):
        alike = [window for window in plan if window.width == width]
        size = max(1, max_frames // width)
        for at in range(0, len(alike), size):
            yield alike[at : at + size]


def cut(rows: Sequence[Tensor], batch: Sequence[Window], scale: int = 1) -> Tensor:
    """Return (B, C, width) from rows (C, N) at `scale` times the frame rate."""
    return torch.stack([rows[w.row][:, w.start * scale : (w.start + w.width) * scale] for w in batch])


def keep(target: Tensor, made: Tensor, window: Window, scale: int) -> None:
    """Copy what is kept of a window (width,) to its row (N,), both at `scale` times the frame rate."""
    first, end = window.first * scale, window.end * scale
    target[first:end] = made[first - window.start * scale : end - window.start * scale]
