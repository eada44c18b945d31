"""The voice of a reply as bytes: whole files, and pieces of a stream at any rate."""

from __future__ import annotations

import io
import math
import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from echat_eval.records import Waveform

__all__ = ["FORMATS", "STREAM_FORMATS", "Resampler", "SoundStream", "encoded", "pcm16", "wav_header"]

#: Format -> libsndfile's format and subtype; `pcm16` has no container.
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
    "pcm16": ("RAW", "PCM_16"),
}
#: Formats whose beginning can be sent before the end is known.
STREAM_FORMATS = ("wav", "pcm16")
#: Hz of samples without a container, as OpenAI defines `pcm16`.
PCM_RATE = 24_000
#: Hz that Opus takes.
_OPUS_RATE = 48_000
#: Half the length of `scipy.signal.resample_poly`'s filter, in samples of the slower rate.
_HALF_LENGTH = 10
#: A length in a header that is not known yet.
_UNKNOWN = 0xFFFF_FFFF


def pcm16(samples: NDArray[np.float32]) -> bytes:
    """Return 16-bit samples, the same as `io.audio.write_wav` stores."""
    content: bytes = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
    return content


def wav_header(rate: int, size: int | None) -> bytes:
    """Return the header of 16-bit mono audio.

    Args:
        size: bytes of the samples; None if it is not known yet.
    """
    riff, data = (_UNKNOWN, _UNKNOWN) if size is None else (size + 36, size)
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", riff)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + (struct.pack("<I", data))
    )


def encoded(voice: Waveform, form: str) -> bytes:
    """Return a whole voice in one of `FORMATS`; `pcm16` and `opus` at their own rates."""
    rate, samples = voice.sample_rate, voice.samples
    if form in ("pcm16", "opus"):
        target = PCM_RATE if form == "pcm16" else _OPUS_RATE
        resampler = Resampler(rate, target)
        samples, rate = np.concatenate([resampler.push(samples), resampler.end()]), target
    if form == "pcm16":
        return pcm16(samples)
    if form == "wav":
        content = pcm16(samples)
        return wav_header(rate, len(content)) + content
    import soundfile

    buffer = io.BytesIO()
    kind, subtype = FORMATS[form]
    soundfile.write(buffer, np.clip(samples, -1.0, 1.0), rate, format=kind, subtype=subtype)
    return buffer.getvalue()


class Resampler:
    """Resamples a voice that arrives in pieces; the result does not depend on how it is cut.

    It is `scipy.signal.resample_poly` on pieces with as much of their neighbours as its filter covers.
    """

    def __init__(self, rate: int, new_rate: int) -> None:
        step = math.gcd(rate, new_rate)
        self._up, self._down = new_rate // step, rate // step
        reach = -(-_HALF_LENGTH * max(self._up, self._down) // self._up) + 1
        #: Samples before and after a piece; whole periods, so that every piece begins in the same phase.
        self._context = -(-reach // self._down) * self._down
        self._held = np.zeros(self._context, dtype=np.float32)
        self._taken = self._given = 0

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what can be computed so far."""
        if self._up == self._down:
            return samples
        self._taken += len(samples)
        self._held = np.concatenate([self._held, samples.astype(np.float32)])
        whole = (len(self._held) - 2 * self._context) // self._down * self._down
        if whole <= 0:
            return self._held[:0]
        return self._piece(whole)

    def end(self) -> NDArray[np.float32]:
        """Return the rest: together ceil(samples * new_rate / rate)."""
        if self._up == self._down:
            return self._held[:0]
        missing = -(-self._taken * self._up // self._down) - self._given
        whole = -(-missing // self._up) * self._down
        padding = np.zeros(max(0, whole + 2 * self._context - len(self._held)), dtype=np.float32)
        self._held = np.concatenate([self._held, padding])
        return self._piece(whole)[:missing]

    def _piece(self, whole: int) -> NDArray[np.float32]:
        from scipy.signal import resample_poly

        around = self._held[: whole + 2 * self._context]
        self._held = self._held[whole:]
        margin = self._context // self._down * self._up
        resampled: NDArray[np.float32] = resample_poly(around, self._up, self._down)
        piece = resampled[margin : margin + whole // self._down * self._up].astype(np.float32)
        self._given += len(piece)
        return piece


class SoundStream:
    """The bytes of a voice that arrives in pieces.

    Args:
        rate: Hz of the voice.
        form: "wav", whose header states no length, or "pcm16".
        new_rate: Hz of `pcm16`.
    """

    def __init__(self, rate: int, form: str, new_rate: int = PCM_RATE) -> None:
        self._resampler = Resampler(rate, new_rate if form == "pcm16" else rate)
        self._opening = wav_header(rate, None) if form == "wav" else b""

    def push(self, samples: NDArray[np.float32]) -> bytes:
        """Return the bytes of a piece; empty if too little has arrived."""
        return self._opened(pcm16(self._resampler.push(samples)))

    def end(self) -> bytes:
        """Return the last bytes."""
        return self._opened(pcm16(self._resampler.end()))

    def _opened(self, content: bytes) -> bytes:
        if not content:
            return b""
        opening, self._opening = self._opening, b""
        return opening + content
