"""A soft limiter: crest factors that do not differ between the clips of a group, but by chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData
from echat_eval.testset.vocoder import RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["active_rms", "crest_factor", "limited"]

#: Samples over which the gain falls and rises: 5 ms. Over a period of the voice and more, the limiter would
#: level the loudness of syllables and leave the peaks.
_WINDOW = RATE // 200 + 1
#: Least height against the peak, 6 dB below it, and how often the distance to it is halved.
_LOWEST, _HALVINGS = 0.5, 16
#: Range of crest factors within a group.
_SPREAD_DB = 0.5
#: Farthest that a crest factor may be from the wanted one: a quarter of a dB, as the level jumps when a frame
#: no longer counts as loud.
_TOLERANCE = 1.03


def active_rms(sound: Floats) -> float:
    """Return the root mean square of the 20 ms frames within 25 dB of the loudest.

    Raises:
        BadData: it is silent, or shorter than a frame.
    """
    step = RATE // 50
    frames = sound[: len(sound) // step * step].reshape(-1, step)
    power = (frames**2).mean(axis=1)
    if not power.max(initial=0.0) > 0:
        raise BadData(f"{len(sound) / RATE:.2f} s of silence; expected sound")
    return float(np.sqrt(power[power > power.max() * 10**-2.5].mean()))


def crest_factor(sound: Floats) -> float:
    """Return the largest sample against the level of the loud parts."""
    return float(np.abs(sound).max()) / active_rms(sound)


def limited(sounds: Sequence[Floats], randoms: Sequence[np.random.Generator]) -> list[Floats]:
    """Return the sounds with crest factors just below the lowest of them.

    Each draws its own, so all pass the limiter: were they equal, noise that is added later would raise those
    with many high peaks more, by some hundredths of a dB that a program could read.

    Args:
        sounds: of a group.
        randoms: draws of each.

    Raises:
        BadData: the limiter cannot reach it.
    """
    lowest = min(map(crest_factor, sounds))
    crests = [lowest * 10 ** (-random.uniform(0.0, _SPREAD_DB) / 20) for random in randoms]
    return [_with_crest(sound, crest) for sound, crest in zip(sounds, crests, strict=True)]


def _with_crest(sound: Floats, crest: float) -> Floats:
    """Return the sound limited once, at the height that gives a crest factor.

    Limiting lowers the level too, so the height is searched for.

    Raises:
        BadData: no height within 6 dB of the peak gives it.
    """
    if crest_factor(sound) <= crest:
        return sound
    high = float(np.abs(sound).max())
    low = high * _LOWEST
    for _ in range(_HALVINGS):
        height = (low + high) / 2
        low, high = (height, high) if crest_factor(_below(sound, height)) < crest else (low, height)
    found = _below(sound, high)
    if not 1 / _TOLERANCE < crest_factor(found) / crest < _TOLERANCE:
        raise BadData(
            f"clip.equal_peaks: limited, the peak is {_decibels(crest_factor(found))} above the level; "
            f"expected {_decibels(crest)}, as in another clip of the group"
        )
    return found


def _decibels(factor: float) -> str:
    return f"{20 * np.log10(factor):.1f} dB"


def _below(sound: Floats, height: float) -> Floats:
    """Return a sound with no sample above a height; its gain changes slowly, also before a peak."""
    from scipy.ndimage import minimum_filter1d

    needed = np.minimum(1.0, height / np.maximum(np.abs(sound), height * 1e-3))
    lowest = minimum_filter1d(needed, _WINDOW, mode="nearest")
    window = np.hanning(_WINDOW + 2)[1:-1]
    padded = np.pad(lowest, _WINDOW // 2, mode="edge")
    gain: Floats = np.convolve(padded, window / window.sum(), mode="valid")
    return sound * gain
