"""Acoustic measures of a reply, computed with numpy and scipy: pitch, pauses, rate, energy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.pitch import CEILING_HZ, FLOOR_HZ, track_pitch
from echat_eval.io.audio import read_mono, resampler
from echat_eval.io.hashing import fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from echat_eval.records import AudioRef

__all__ = ["Acoustics", "describe"]

_RATE = 16000
_HOP = 160  # samples, 10 ms
_PITCH_FRAME = 800  # samples, 50 ms: two periods of the lowest voice and a window
#: A frame counts as sound if it is within this range (dB) of the loud frames and above the silence level.
_RANGE_DB, _SILENCE_DB = 35.0, -70.0
#: Seconds; shorter gaps belong to stop consonants.
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Acoustics:
    """Acoustic measures for any language. A value is None, never NaN, if there is nothing to measure.

    - seconds
    - f0_median_hz; f0_range_semitones: from the 10th to the 90th percentile of voiced frames
    - voiced_share: of frames with sound
    - pause_share: of the time between the first and the last sound; pauses_per_second likewise
    - energy_peaks_per_second: peaks of the energy envelope, a proxy of the speech rate
    - energy_db: mean of frames with sound, re full scale; energy_range_db: 10th to 90th percentile
    - spectral_centroid_hz: mean over frames with sound
    """

    name: str = field(default="acoustics", init=False)
    version: str = field(default="1", init=False)

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return the values listed in the class docstring.

        Raises:
            BadData: the file is no readable audio.
        """
        mono, rate = read_mono(audio.path, rate=_RATE)
        return describe(mono.astype("float64"), rate)

    def fingerprint(self) -> str:
        """Return the hash of the version and the constants."""
        rule = [self.name, self.version, resampler(), _HOP, _PITCH_FRAME, _RANGE_DB, _SILENCE_DB]
        rule += [_PAUSE_SECONDS, FLOOR_HZ, CEILING_HZ]
        return fingerprint_of(rule)

    def settings(self) -> Mapping[str, Any]:
        """Return no settings; there are none."""
        return {}


def describe(mono: NDArray[np.float64], rate: int = _RATE) -> dict[str, float | None]:
    """Return the values that `Acoustics` lists.

    Args:
        mono: (samples,), full scale 1.0, at 16 kHz.
        rate: Hz; 16000.
    """
    import numpy as np  # here, because a run without replies to annotate does not need it

    values: dict[str, float | None] = dict.fromkeys(
        (
            "f0_median_hz",
            "f0_range_semitones",
            "voiced_share",
            "pause_share",
            "pauses_per_second",
            "energy_peaks_per_second",
            "energy_db",
            "energy_range_db",
            "spectral_centroid_hz",
        )
    )
    values["seconds"] = len(mono) / rate
    padded = np.pad(mono, (0, max(0, _PITCH_FRAME - len(mono))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _PITCH_FRAME)[::_HOP]
    # Per frame: speech has its own DC offset; subtracting the file's mean would turn pauses into sound.
    frames = frames - frames.mean(axis=1, keepdims=True)
    # Energy uses the middle 25 ms of each frame, so that pitch and energy describe the same moment.
    middle = frames[:, _PITCH_FRAME // 4 : 3 * _PITCH_FRAME // 4]
    decibels = 10 * np.log10(np.maximum((middle**2).mean(axis=1), 1e-12))
    loud = np.percentile(decibels, 95)
    sounding = (decibels > loud - _RANGE_DB) & (decibels > _SILENCE_DB)
    if not sounding.any():
        return values
    pitch = track_pitch(frames[sounding], rate)
    voiced = pitch[~np.isnan(pitch)]
    values["voiced_share"] = len(voiced) / len(pitch)
    if len(voiced) >= 3:
        low, median, high = np.percentile(voiced, [10, 50, 90])
        values["f0_median_hz"] = float(median)
        values["f0_range_semitones"] = float(12 * np.log2(high / low))
    values |= _timing(sounding, decibels, rate)
    values["energy_db"] = float(decibels[sounding].mean())
    values["energy_range_db"] = float(np.subtract(*np.percentile(decibels[sounding], [90, 10])))
    values["spectral_centroid_hz"] = _centroid(middle[sounding], rate)
    return values


def _timing(sounding: NDArray[np.bool_], decibels: NDArray[np.float64], rate: int) -> dict[str, float]:
    """Return pauses and energy peaks between the first and the last sound."""
    # Imported here: it takes half a second, and a run without replies to annotate does not need it.
    import numpy as np
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import find_peaks

    first, last = np.flatnonzero(sounding)[[0, -1]]
    inside = sounding[first : last + 1]
    seconds = len(inside) * _HOP / rate
    edges = np.flatnonzero(np.diff(np.concatenate([[True], inside, [True]]).astype(np.int8)))
    gaps = (edges[1::2] - edges[::2]) * _HOP / rate
    gaps = gaps[gaps >= _PAUSE_SECONDS]
    # 30 ms of smoothing and 3 dB of prominence: about one peak per syllable of clear speech.
    envelope = gaussian_filter1d(np.maximum(decibels[first : last + 1], _SILENCE_DB), 3.0)
    envelope = np.pad(envelope, 5, constant_values=_SILENCE_DB)
    peaks, _ = find_peaks(envelope, prominence=3.0, distance=8)
    peaks = peaks[np.pad(inside, 5)[peaks]]
    return {
        "pause_share": float(gaps.sum() / seconds),
        "pauses_per_second": len(gaps) / seconds,
        "energy_peaks_per_second": len(peaks) / seconds,
    }


def _centroid(frames: NDArray[np.float64], rate: int) -> float:
    import numpy as np

    power = np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1]), axis=1)) ** 2
    hertz = np.fft.rfftfreq(frames.shape[1], 1 / rate)
    return float((power @ hertz / np.maximum(power.sum(axis=1), 1e-20)).mean())
