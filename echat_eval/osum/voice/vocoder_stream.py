"""The vocoder over mel frames that arrive in pieces: joined, the sound is that of all frames at once.

A sample depends on the frames near it, on the noise at its position, and on the phase of the sines, which
sums up the pitch of all frames before it. So each piece is computed with some frames before and behind it,
and the phase is carried on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from echat_eval.osum.voice.config import HOP, MELS
from echat_eval.osum.voice.noise import hiss_at, phases_of
from echat_eval.osum.voice.vocoder import SourceNoise

if TYPE_CHECKING:
    from torch import Tensor

    from echat_eval.osum.voice.vocoder import Hift

__all__ = ["FILTER_REACH", "PITCH_REACH", "VocoderStream"]

#: Frames to each side on which a sample depends, through mel frames or source; and those of a frame's pitch.
FILTER_REACH, PITCH_REACH = 14, 5


class VocoderStream:
    """The sound of one reply, whose mel frames arrive in pieces.

    Args:
        hift: the vocoder, on its device.
        seed: of the reply.
    """

    def __init__(self, hift: Hift, *, seed: int) -> None:
        self.hift, self.seed = hift, seed
        self.device = hift.window.device
        self.phases = phases_of([seed], hift.config.harmonics, device=self.device)
        #: Frames kept, and the position of the first.
        self.mel, self.first = torch.zeros(MELS, 0, device=self.device), 0
        #: The position from which pitch is computed, and the cycles of the sines there.
        self.start, self.cycles = 0, torch.zeros_like(self.phases, dtype=torch.float64)
        #: Frames whose samples were returned.
        self.spoken = 0

    @torch.inference_mode()
    def feed(self, mel: Tensor, *, last: bool = False) -> Tensor:
        """Return the samples that are settled, maybe none.

        Args:
            mel: (80, K), the next frames.
            last: no frames follow.
        """
        self.mel = torch.cat([self.mel, mel], dim=1)
        known = self.first + self.mel.shape[1]
        end = known if last else known - FILTER_REACH - PITCH_REACH
        if end <= self.spoken:
            return torch.zeros(0, device=self.device)
        pitch = self.hift.f0_predictor(self.mel[None])[:, self.start - self.first :]
        noise = SourceNoise(phases=self.phases, hiss=self.hiss(self.start, known), cycles=self.cycles)
        source = self.hift.m_source(pitch, noise)
        wave = self.hift.filter(self.mel[None, :, self.start - self.first :], source)[0]
        samples: Tensor = wave[(self.spoken - self.start) * HOP : (end - self.start) * HOP]
        self.spoken = end
        self.forget(pitch)
        return samples

    def forget(self, pitch: Tensor) -> None:
        """Drop the frames that no later sample depends on; `pitch` (1, M) is that from `start` on."""
        start = max(0, self.spoken - FILTER_REACH)
        first = max(0, start - PITCH_REACH)
        if not first:  # the pitch at the start of a reply needs no frames before it
            start = 0
        self.cycles = self.hift.m_source.cycles(pitch, self.cycles)[..., start - self.start].remainder(1)
        self.mel = self.mel[:, first - self.first :]
        self.start, self.first = start, first

    def hiss(self, first: int, end: int) -> Tensor:
        """Return the noise (1, harmonics, samples) of the frames from `first` to `end`."""
        harmonics = self.hift.config.harmonics
        return hiss_at([self.seed], harmonics, first * HOP, (end - first) * HOP, device=self.device)
