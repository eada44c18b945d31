"""Cues of a voice by rules on pitch, energy and timing, without a model.

The rules follow findings on acted speech: lively voices have a wide range of pitch, sad ones a narrow range
and a slow rate, angry ones much energy at high frequencies, and children a high pitch. They know no speaker,
so a lively speaker sounds happy and a monotonous one sad; a trained classifier is better at all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.annotators.acoustics import describe
from echat_eval.annotators.pitch import track_pitch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["RATE", "RULES_VERSION", "VoiceCues", "detect_cues"]

#: Sampling rate of recordings, Hz.
RATE = 16_000
#: Change it whenever the same recording would get other labels.
RULES_VERSION = "voice-cues-1"
_FRAME, _HOP = 800, 160
#: Sounds this far apart belong to different events, seconds.
_APART = 0.19
#: Shorter sounds beside the speech are no event, seconds.
_SHORTEST_EVENT = 0.25
#: dB below the loudest frames at which a frame is silent.
_SILENT_DB = 30.0
#: Semitones between the 10th and 90th percentile of pitch: above, a voice is lively; below, flat.
_LIVELY, _FLAT = 9.0, 4.8
#: Hz of median pitch above which a voice is a child's, and above which a flat voice is afraid and not sad.
_CHILD_HZ, _FEAR_HZ = 275.0, 200.0
#: Hz of median pitch below which a voice is a man's.
_MALE_HZ = 165.0
#: Semitones of a rise over the end of a lively sentence that show surprise.
_RISE = 4.0
#: Hz of the spectral centroid above which a voice is pressed.
_PRESSED_HZ = 1500.0
#: Energy peaks per second below which a voice is slow.
_SLOW = 2.6
#: Energy peaks per second: of a sigh at most, of coughs at least, of laughter at least.
_SMOOTH_PEAKS, _BURSTS, _LAUGH_PEAKS = 1.5, 2.0, 3.5
#: Hz of median pitch above which a voiced sound is a scream.
_SCREAM_HZ = 450.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceCues:
    """Labels of one recording.

    Attributes:
        event: of a sound beside the words; None: there is none.
        manner: of the words: an emotion, "child" or "old".
        hertz: median pitch of the words; 0 without one.
    """

    event: str | None
    manner: str
    hertz: float = 0.0

    def label_of(self, cue: str) -> str | None:
        """Return the label of a cue: emotion, age, gender or event; None of any other."""
        ages = ("child", "old")
        labels = {
            "event": self.event or "none",
            "emotion": "neutral" if self.manner in ages else self.manner,
            "age": self.manner if self.manner in ages else "adult",
            "gender": "male" if self.hertz < _MALE_HZ else "female",
        }
        return labels.get(cue)


def detect_cues(sound: Floats) -> VoiceCues:
    """Return the cues of (samples,) at `RATE`, full scale 1.0."""
    speech, beside = _divided(sound)
    event = _event(beside) if len(beside) >= _SHORTEST_EVENT * RATE else None
    measured = describe(speech, RATE)
    return VoiceCues(event=event, manner=_manner(measured, speech), hertz=measured["f0_median_hz"] or 0.0)


def _divided(sound: Floats) -> tuple[Floats, Floats]:
    """Return the longest stretch of sound, the speech, and all other stretches together."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, (0, _FRAME)), _FRAME)[::_HOP]
    level = 10 * np.log10((frames**2).mean(axis=1) + 1e-12)
    active = np.flatnonzero(level > np.percentile(level, 97) - _SILENT_DB)
    cuts = np.flatnonzero(np.diff(active) > _APART * RATE / _HOP)
    starts, ends = active[[0, *(cuts + 1)]], active[[*cuts, len(active) - 1]]
    pieces = [sound[a * _HOP : (b + 1) * _HOP] for a, b in zip(starts, ends, strict=True)]
    longest = max(range(len(pieces)), key=lambda number: len(pieces[number]))
    beside = [piece for number, piece in enumerate(pieces) if number != longest]
    return pieces[longest], np.concatenate([*beside, np.zeros(0)])


def _event(sound: Floats) -> str:
    """Return the likeliest sound."""
    found = describe(sound, RATE)
    voiced, peaks = found["voiced_share"] or 0.0, found["energy_peaks_per_second"] or 0.0
    if voiced >= 0.5:
        if (found["f0_median_hz"] or 0.0) > _SCREAM_HZ:
            return "scream"
        return "laugh" if peaks >= _LAUGH_PEAKS else "cry"
    if peaks < _SMOOTH_PEAKS:
        return "sigh"
    return "cough" if peaks >= _BURSTS else "sneeze"


def _manner(found: Mapping[str, float | None], speech: Floats) -> str:
    pitch, spread = found["f0_median_hz"] or 0.0, found["f0_range_semitones"] or 0.0
    if spread >= _LIVELY:
        return "surprise" if _rise(speech) >= _RISE else "happy"
    if pitch >= _CHILD_HZ:
        return "child"
    if (found["energy_peaks_per_second"] or 0.0) < _SLOW and pitch < _FEAR_HZ:
        return "old" if spread > _FLAT else "sad"
    if spread <= _FLAT:
        return "fear" if pitch >= _FEAR_HZ else "sad"
    return "anger" if (found["spectral_centroid_hz"] or 0.0) >= _PRESSED_HZ else "neutral"


def _rise(speech: Floats) -> float:
    """Return the semitones by which pitch is higher over the last sixth than over the middle."""
    padded = np.pad(speech, (0, max(0, _FRAME - len(speech))))
    pitch = track_pitch(np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP], RATE)
    middle, end = pitch[len(pitch) // 3 : 2 * len(pitch) // 3], pitch[5 * len(pitch) // 6 :]
    if np.isnan(middle).all() or np.isnan(end).all():
        return 0.0
    return float(12 * np.log2(np.nanmedian(end) / np.nanmedian(middle)))
