"""Fundamental frequency by the cumulative mean normalised difference function, all frames at once.

Method of A. de Cheveigné and H. Kawahara, "YIN", JASA 111(4), 2002, steps 1 to 5, except that the threshold
is relative to the deepest dip. An absolute threshold mistakes a strong second harmonic under a formant for
the pitch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CEILING_HZ", "FLOOR_HZ", "track_pitch"]

#: Hz; from a deep male voice to a scream.
FLOOR_HZ, CEILING_HZ = 60.0, 600.0
#: Largest distance from the deepest dip at which a dip at a shorter lag counts as the period, and largest
#: value of the dip of a voiced frame.
_NEAR, _VOICED = 0.05, 0.25
_BLOCK = 512


def track_pitch(frames: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """Return one pitch per frame, NaN if the frame is not periodic.

    Args:
        frames: (count, length); length at least twice the longest period, `rate / FLOOR_HZ`.
        rate: Hz.

    Returns:
        (count,) Hz.
    """
    import numpy as np

    longest, shortest = int(rate / FLOOR_HZ) + 2, int(rate / CEILING_HZ)
    pitch = [_pitches(frames[k : k + _BLOCK], rate, shortest, longest) for k in range(0, len(frames), _BLOCK)]
    track = np.concatenate(pitch) if pitch else np.zeros(0)
    return _without_outliers(track)


def _pitches(frames: NDArray[np.float64], rate: int, shortest: int, longest: int) -> NDArray[np.float64]:
    import numpy as np

    window = frames.shape[1] - longest
    size = 1 << int(np.ceil(np.log2(frames.shape[1] + window)))
    # d(lag) = sum over the window of (x[t] - x[t + lag])^2, the cross term by FFT.
    head = np.fft.rfft(frames[:, :window], size)
    cross = np.fft.irfft(np.conj(head) * np.fft.rfft(frames, size), size)[:, : longest + 1]
    energy = np.concatenate([np.zeros((len(frames), 1)), np.cumsum(frames**2, axis=1)], axis=1)
    shifted = energy[:, window : window + longest + 1] - energy[:, : longest + 1]
    difference = np.maximum(shifted[:, :1] + shifted - 2 * cross, 0.0)
    sums = np.cumsum(difference[:, 1:], axis=1)
    lags = np.arange(1, longest + 1)
    normal = np.ones_like(difference)
    normal[:, 1:] = difference[:, 1:] * lags / np.maximum(sums, 1e-12)
    lag = _first_dip(normal, shortest, longest)
    rows = np.arange(len(frames))
    before, at, after = normal[rows, lag - 1], normal[rows, lag], normal[rows, lag + 1]
    bend = before - 2 * at + after
    shift = np.where(np.abs(bend) > 1e-12, 0.5 * (before - after) / np.where(bend == 0, 1, bend), 0.0)
    hertz = rate / (lag + np.clip(shift, -1, 1))
    return np.where(at < _VOICED, hertz, np.nan)


def _first_dip(normal: NDArray[np.float64], shortest: int, longest: int) -> NDArray[np.intp]:
    """Return the lag of the first local minimum that is nearly as deep as the deepest one."""
    import numpy as np

    inner = normal[:, shortest:longest]
    left, right = normal[:, shortest - 1 : longest - 1], normal[:, shortest + 1 : longest + 1]
    near = inner < inner.min(axis=1, keepdims=True) + _NEAR
    dips = near & (inner <= left) & (inner <= right)
    lag: NDArray[np.intp] = np.where(dips.any(axis=1), dips.argmax(axis=1), inner.argmin(axis=1))
    return shortest + lag


def _without_outliers(track: NDArray[np.float64]) -> NDArray[np.float64]:
    """Set frames to NaN that are a third of an octave or more from the median of their voiced neighbours."""
    import numpy as np
    from scipy.signal import medfilt

    voiced = ~np.isnan(track)
    if voiced.sum() < 5:
        return track
    hertz = track[voiced]
    smooth = medfilt(np.pad(hertz, 2, mode="edge"), 5)[2:-2]
    cleaned = track.copy()
    cleaned[voiced] = np.where(np.abs(np.log2(hertz / smooth)) < 1 / 3, hertz, np.nan)
    return cleaned
