"""Speech while its tokens arrive: windows of tokens that overlap, cross-faded in mel frames.

The flow sees all of a window at once, so frames near its end change when more tokens are known. The last
tokens of a window are therefore computed again by the next one and faded into it, and each window sees again
some of the tokens before it. Noise belongs to a position, so all windows start from the same numbers there. A
reply that fits one window is that of `Token2Wav.synthesise`; a longer one is close to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from echat_eval.errors import UsageError
from echat_eval.osum.voice.config import MELS, SAMPLE_RATE, mel_frames
from echat_eval.osum.voice.vocoder_stream import VocoderStream
from echat_eval.records import Waveform

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from echat_eval.osum.voice.vocoder import Hift

__all__ = ["MelStream", "StreamWindows", "VoiceStream"]


class WindowVoice(Protocol):
    """The part of `Token2Wav` that a stream uses; see its methods."""

    device: torch.device
    hift: Hift

    def check(self, tokens: Sequence[int], *, first: int) -> None:
        """Raise BadData if an id is not a speech token."""

    def window_mel(self, tokens: Sequence[int], *, seed: int, first: int, frames: int) -> Tensor:
        """Return the log-mel of a window of a reply."""

    def memory_guard(self, tokens: int) -> AbstractContextManager[None]:
        """Return a context that turns a full memory into a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamWindows:
    """How a reply is divided, in tokens of 40 ms.

    Attributes:
        first: new tokens of the first window; the sound begins when these and the overlap are there.
        hop: new tokens of each later window.
        overlap: tokens at the end of a window that the next one computes again.
        context: tokens before these that a window sees again.
    """

    first: int = 25
    hop: int = 50
    overlap: int = 20
    context: int = 100

    @property
    def longest(self) -> int:
        """Return the tokens of the longest window."""
        return self.context + max(self.first, self.hop) + self.overlap

    def __post_init__(self) -> None:
        if self.first < 1 or self.hop < 1 or self.overlap < 0 or self.context < 0:
            raise UsageError(f"{self}; expected hops of 1 or more, and no negative number")


class MelStream:
    """Mel frames of one reply while its tokens arrive.

    Args:
        token2wav: with noise from a counter.
        seed: of the reply.
        windows: how it is divided.

    Attributes:
        tokens: all ids so far.
    """

    def __init__(self, token2wav: WindowVoice, *, seed: int, windows: StreamWindows) -> None:
        self.token2wav, self.seed, self.windows = token2wav, seed, windows
        self.tokens: list[int] = []
        #: Tokens whose frames were returned, and those that the last window saw.
        self.settled, self.seen = 0, 0
        #: Frames of the last window behind the settled ones.
        self.held = torch.zeros(MELS, 0, device=token2wav.device)

    def feed(self, tokens: Sequence[int]) -> Iterator[Tensor]:
        """Yield (80, M) frames for each window that these tokens complete.

        Raises:
            BadData: an id is not a speech token.
        """
        self.token2wav.check(tokens, first=len(self.tokens))
        self.tokens += tokens
        while len(self.tokens) >= self.settled + self.hop + self.windows.overlap:
            settled = self.settled + self.hop
            frames = self.window(settled + self.windows.overlap)
            count = mel_frames(settled) - mel_frames(self.settled)
            self.held, self.settled = frames[:, count:], settled
            yield frames[:, :count]

    def finish(self) -> Tensor:
        """Return the remaining (80, M) frames; none if there were no tokens or all are returned."""
        frames = self.window(len(self.tokens)) if len(self.tokens) > self.seen else self.held
        self.held, self.settled = frames[:, :0], len(self.tokens)
        return frames

    @property
    def hop(self) -> int:
        """Return the number of new tokens of the next window."""
        return self.windows.hop if self.settled else self.windows.first

    def window(self, end: int) -> Tensor:
        """Return the frames from the settled ones to the token `end`, the held ones faded into them."""
        begin = max(0, self.settled - self.windows.context)
        first = mel_frames(begin)
        mel = self.token2wav.window_mel(
            self.tokens[begin:end], seed=self.seed, first=first, frames=mel_frames(end) - first
        )
        self.seen = end
        return fade(self.held, mel[:, mel_frames(self.settled) - first :])


def fade(before: Tensor, after: Tensor) -> Tensor:
    """Return `after` (80, M) with its first frames faded in, out of `before` (80, K), K <= M.

    The weights of both add up to one.
    """
    count = before.shape[1]
    places = (torch.arange(count, device=after.device) + 0.5) / max(1, count)
    weight = torch.sin(places * (torch.pi / 2)).square()
    return torch.cat([torch.lerp(before, after[:, :count], weight), after[:, count:]], dim=1)


class VoiceStream:
    """The sound of one reply while its tokens arrive; made by `Token2Wav.stream`.

    The pieces depend on tokens, seed and windows, not on how the tokens are fed. Joined, they have as many
    samples as the whole reply. It may be dropped at any time. One thread at a time uses a Token2Wav and its
    streams.
    """

    def __init__(self, token2wav: WindowVoice, *, seed: int, windows: StreamWindows | None = None) -> None:
        self.token2wav, self.windows = token2wav, windows or StreamWindows()
        self.mels = MelStream(token2wav, seed=seed, windows=self.windows)
        self.vocoder = VocoderStream(token2wav.hift, seed=seed)

    def feed(self, tokens: Sequence[int]) -> list[Waveform]:
        """Return a piece of sound for each window that these tokens complete; mostly none.

        Raises:
            BadData: an id is not a speech token.
            SystemFailure: the memory is full.
        """
        with self.token2wav.memory_guard(self.windows.longest):
            return [self.piece(self.vocoder.feed(mel)) for mel in self.mels.feed(tokens)]

    def finish(self) -> list[Waveform]:
        """Return the rest of the sound: one piece, or none if there were no tokens.

        Raises:
            SystemFailure: the memory is full.
        """
        with self.token2wav.memory_guard(self.windows.longest):
            samples = self.vocoder.feed(self.mels.finish(), last=True)
        return [self.piece(samples)] if len(samples) else []

    @staticmethod
    def piece(samples: Tensor) -> Waveform:
        """Return samples as a waveform."""
        return Waveform(samples=samples.cpu().numpy(), sample_rate=SAMPLE_RATE)
