"""Measures of recordings: length, size, format, level, clipping, silence, and a small picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.io.audio import read_mono

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from echat_eval.records import Sample

    Floats = NDArray[np.float64]

__all__ = ["Recording", "measure"]

#: Frames a second: 20 ms each, so that a bin of the spectrum has 50 Hz at every sample rate.
_FRAMES = 50
#: A frame has sound if it is within this range of the loudest tenth, and above the silence level, dB.
_RANGE_DB, _SILENCE_DB = 35.0, -70.0
#: Clipping: this many neighbouring samples at the peak of the file, this often.
_RUN, _RUNS = 3, 3
#: Bands, from the first to the last bin, and moments of the picture that near-equal recordings share.
_BANDS, _FIRST, _LAST, _MOMENTS = 24, 2, 76, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Measures of one file.

    Attributes:
        seconds, bytes: of the file.
        form: its suffix, sample rate and number of channels.
        level: mean level of the frames with sound, dB of full scale; None: silence only.
        clipped: number of places where the wave is cut off at its peak.
        peak: largest absolute sample.
        sound: share of frames with sound.
        before, after: seconds before the first and after the last frame with sound.
        centre: mean of the samples; not 0 if the wave has a DC offset.
        picture: spectrogram of few bands and moments, of mean 0 and length 1.
    """

    seconds: float
    bytes: int
    form: str
    level: float | None
    clipped: int
    peak: float
    sound: float
    before: float
    after: float
    centre: float
    picture: Floats

    @property
    def crest(self) -> float | None:
        """Return how far the peak lies above the level, dB; None: silence only."""
        return None if self.level is None else float(20 * np.log10(self.peak)) - self.level


def measure(sample: Sample) -> Recording:
    """Return the measures of a sample's recording.

    Raises:
        BadData: the file is no readable audio.
    """
    path = sample.audio.path
    wave, rate = read_mono(path, rate=None)
    mono = wave.astype(np.float64)
    peak = float(np.abs(mono).max(initial=0.0))
    size = round(rate / _FRAMES)
    frames = np.pad(mono, (0, -len(mono) % size)).reshape(-1, size)
    power = (frames**2).mean(axis=1)
    decibels = 10 * np.log10(power + 1e-12)
    loud = np.percentile(decibels, 90)
    has_sound = (decibels > max(loud - _RANGE_DB, _SILENCE_DB)) & (power > 0)
    places = np.flatnonzero(has_sound)
    return Recording(
        seconds=sample.audio.seconds,
        bytes=path.stat().st_size,
        form=_form(path, rate),
        level=float(10 * np.log10(power[has_sound].mean())) if len(places) else None,
        clipped=_clipped(mono, peak),
        peak=peak,
        sound=float(has_sound.mean()),
        before=float(places[0] / _FRAMES) if len(places) else sample.audio.seconds,
        after=float((len(power) - 1 - places[-1]) / _FRAMES) if len(places) else 0.0,
        centre=float(mono.mean()) if len(mono) else 0.0,
        picture=_picture(frames[places[0] : places[-1] + 1] if len(places) else frames),
    )


def _form(path: Path, rate: int) -> str:
    import soundfile

    try:
        info = soundfile.info(str(path))
        return f"{info.format} {info.subtype}, {rate} Hz, {info.channels} channel{'s' * (info.channels > 1)}"
    except (soundfile.LibsndfileError, OSError):  # a header that `read_mono` mends
        return f"{path.suffix.lower()}, {rate} Hz"


def _clipped(wave: Floats, peak: float) -> int:
    """Return the number of places where at least `_RUN` neighbouring samples are at the peak of the file."""
    if peak == 0:
        return 0
    at_peak = np.abs(wave) >= peak * (1 - 1e-4)
    if int(at_peak.sum()) < _RUN * _RUNS:
        return 0
    step = np.diff(np.concatenate([[0], at_peak.astype(np.int8), [0]]))
    lengths = np.flatnonzero(step == -1) - np.flatnonzero(step == 1)
    places = int((lengths >= _RUN).sum())
    return places if places >= _RUNS else 0


def _picture(frames: Floats) -> Floats:
    """Return the log energy in bands and moments, flat: equal for equal sound at any level and format."""
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1]), axis=1))[:, :_LAST] ** 2
    spectrum = np.pad(spectrum, ((0, 0), (0, _LAST - spectrum.shape[1])))
    limits = np.unique(np.geomspace(_FIRST, _LAST, _BANDS + 1).astype(int))
    bands = np.add.reduceat(spectrum, limits[:-1], axis=1)
    moments = np.array_split(np.arange(len(bands)), min(_MOMENTS, len(bands)))
    small = np.array([bands[part].mean(axis=0) for part in moments])
    if len(small) < _MOMENTS:
        small = np.repeat(small, -(-_MOMENTS // len(small)), axis=0)[:_MOMENTS]
    found = np.log10(small + 1e-9 * (small.max() or 1.0)).ravel()
    found = found - found.mean()
    return np.asarray(found / (np.linalg.norm(found) or 1.0))
