"""Cues of a voice by rules on pitch, energy and timing, without a model.

The rules follow findings on acted speech: lively voices have a wide range of pitch, sad and frightened ones a
narrow one, frightened ones a high pitch as well, angry ones much energy at high frequencies, and children a
high pitch. Laughter comes in five or more bursts a second, coughs in two or three, and neither sighs nor
coughs are voiced. The thresholds are set to measurements of synthetic voices (docs/demo.md). They know no
speaker, so a lively speaker sounds happy and a flat one sad; a trained classifier is better at all of it.
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
RULES_VERSION = "voice-cues-2"
_FRAME, _HOP = 800, 160
#: Sounds this far apart belong to different events, seconds.
_APART = 0.19
#: Shorter sounds beside the speech are no event, seconds.
_SHORTEST_EVENT = 0.25
#: dB below the loudest frames at which a frame is silent.
_SILENT_DB = 30.0
#: Semitones between the 10th and 90th percentile of pitch: above, a voice is lively; below, flat. The pitch
#: of low voices falls further at the end of a sentence.
_LIVELY, _LIVELY_LOW, _FLAT = 10.5, 12.5, 4.0
#: Hz of median pitch above which a voice is a child's, and a flat voice is afraid and not sad.
_CHILD_HZ = 300.0
#: Hz of median pitch below which a voice is a man's.
_MALE_HZ = 165.0
#: Semitones of a rise over the end of a lively sentence that show surprise.
_RISE = 4.0
#: Hz of the spectral centroid above which a voice is pressed.
_PRESSED_HZ = 1300.0
#: Energy peaks per second below which a voice is slow.
_SLOW = 2.4
#: Share of voiced frames from which a sound is voiced, and from which one without leaps of pitch is speech.
_VOICED, _SPEECH = 0.1, 0.85
#: Energy peaks per second: of sighs at most; of laughter and throat clearing at least.
_SMOOTH_PEAKS, _MANY_PEAKS = 2.0, 5.0
#: Semitones of the range of pitch from which a voiced sound is a scream.
_SCREAM_RANGE = 12.0
#: Hz of the spectral centroid from which an unvoiced burst is a sneeze.
_SNEEZE_HZ = 1600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceCues:
    """Labels of one recording.

    Attributes:
        event: of a sound beside the words; None: there is none.
        emotion: of the words.
        age: child, adult or old.
        hertz: median pitch of the words; 0 without one.
    """

    event: str | None = None
    emotion: str = "neutral"
    age: str = "adult"
    hertz: float = 0.0

    @property
    def manner(self) -> str:
        """Return what a reply answers first: the emotion, else "child" or "old", else "neutral"."""
        return self.age if self.emotion == "neutral" and self.age != "adult" else self.emotion

    def label_of(self, cue: str) -> str | None:
        """Return the label of a cue: emotion, age, gender or event; None of any other."""
        labels = {
            "event": self.event or "none",
            "emotion": self.emotion,
            "age": self.age,
            "gender": "male" if self.hertz < _MALE_HZ else "female",
        }
        return labels.get(cue)


def detect_cues(sound: Floats) -> VoiceCues:
    """Return the cues of (samples,) at `RATE`, full scale 1.0."""
    speech, beside = _divided(sound)
    event = _event(beside) if len(beside) >= _SHORTEST_EVENT * RATE else None
    found = describe(speech, RATE)
    return VoiceCues(
        event=event,
        emotion=_emotion(found, speech),
        age=_age(found),
        hertz=found["f0_median_hz"] or 0.0,
    )


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


def _event(sound: Floats) -> str | None:
    """Return the likeliest sound; None for speech."""
    found = describe(sound, RATE)
    voiced, peaks = found["voiced_share"] or 0.0, found["energy_peaks_per_second"] or 0.0
    if voiced < _VOICED:
        if peaks < _SMOOTH_PEAKS:
            return "sigh"
        if peaks >= _MANY_PEAKS:
            return "throat clearing"
        return "sneeze" if (found["spectral_centroid_hz"] or 0.0) >= _SNEEZE_HZ else "cough"
    if (found["f0_range_semitones"] or 0.0) >= _SCREAM_RANGE:
        return "scream"
    if voiced >= _SPEECH:
        return None
    return "laugh" if peaks >= _MANY_PEAKS else "cry"


def _emotion(found: Mapping[str, float | None], speech: Floats) -> str:
    pitch, spread = found["f0_median_hz"] or 0.0, found["f0_range_semitones"] or 0.0
    if spread >= (_LIVELY_LOW if pitch < _MALE_HZ else _LIVELY):
        return "surprise" if _rise(speech) >= _RISE else "happy"
    if spread <= _FLAT:
        return "fear" if pitch >= _CHILD_HZ else "sad"
    return "anger" if (found["spectral_centroid_hz"] or 0.0) >= _PRESSED_HZ else "neutral"


def _age(found: Mapping[str, float | None]) -> str:
    if (found["f0_median_hz"] or 0.0) >= _CHILD_HZ:
        return "child"
    return "old" if (found["energy_peaks_per_second"] or 0.0) < _SLOW else "adult"


def _rise(speech: Floats) -> float:
    """Return the semitones by which pitch is higher over the last sixth than over the middle."""
    padded = np.pad(speech, (0, max(0, _FRAME - len(speech))))
    pitch = track_pitch(np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP], RATE)
    middle, end = pitch[len(pitch) // 3 : 2 * len(pitch) // 3], pitch[5 * len(pitch) // 6 :]
    if np.isnan(middle).all() or np.isnan(end).all():
        return 0.0
    return float(12 * np.log2(np.nanmedian(end) / np.nanmedian(middle)))
