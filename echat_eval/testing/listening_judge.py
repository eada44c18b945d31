"""A scripted judge that listens: it decodes the recordings it is sent, measures them and grades by that.

It reads the labels and the names of the recordings in the prompt, and none of the words. Its rules are crude
and known, so that a test can tell a judge that listens from one that reads.
"""

from __future__ import annotations

import base64
import io
import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from echat_eval.testing.scripted_judge import shown_to_judge
from echat_eval.testing.servers import audio_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["SoundMeasures", "judge_by_sound", "measured_recordings", "sound_measures"]

#: Label -> direction in pitch (semitones), range (semitones), level (dB) and rate of energy peaks (per
#: second), each divided by a difference that is plainly audible.
_DIRECTIONS: Mapping[str, tuple[float, float, float, float]] = {
    "happy": (1.0, 1.0, 0.5, 0.5),
    "surprise": (1.0, 1.0, 0.0, 0.0),
    "fear": (1.0, 0.3, 0.0, 0.5),
    "anger": (0.5, 0.5, 1.0, 1.0),
    "sad": (-1.0, 0.0, -1.0, -1.0),
    "neutral": (0.0, -1.0, 0.0, 0.0),
}
_AUDIBLE = (1.0, 1.5, 2.0, 0.6)
#: Sums of directions closer than this are a tie.
_TIE = 0.6

#: Beginning of a recording's description in a prompt -> its name.
_NAMES = {"the assistant": "reply", "the speaker": "query", "助手": "reply", "说话人": "query"}

SoundMeasures = tuple[float, float, float, float]


@lru_cache(maxsize=1024)
def sound_measures(wav: bytes) -> SoundMeasures:
    """Return the measures of a WAV.

    Returns:
        Pitch (semitones above 55 Hz), its range (semitones), level (dB), and energy peaks per second.
    """
    import numpy as np
    import soundfile

    from echat_eval.annotators.acoustics import describe

    samples, rate = soundfile.read(io.BytesIO(wav), dtype="float64", always_2d=True)
    mono = samples.mean(axis=1)
    if rate != 16_000:
        from scipy.signal import resample_poly

        mono = resample_poly(mono, 16_000, rate)
    found = describe(mono)
    hertz = found["f0_median_hz"] or 55.0
    return (
        float(12 * np.log2(hertz / 55.0)),
        found["f0_range_semitones"] or 0.0,
        found["energy_db"] or -100.0,
        found["energy_peaks_per_second"] or 0.0,
    )


def measured_recordings(content: str | Sequence[Mapping[str, Any]]) -> dict[str, SoundMeasures]:
    """Return name of each recording in a judge's message -> its measures."""
    found = re.findall(r"^- Recording \d+: (voice [12]|the \w+|助手|说话人)", text_of(content), re.MULTILINE)
    return {
        _NAMES.get(name, name): sound_measures(base64.b64decode(data))
        for name, data in zip(found, audio_of(content), strict=True)
    }


def judge_by_sound(content: str | Sequence[Mapping[str, Any]]) -> str:
    """Return a verdict by the sound of the recordings in a message.

    For the question which of two recordings sounds like a label, it names the one further in the direction of
    the label. For the grade of a reply, the more the voice moves, the higher the grade. A match question with
    recordings gets the voice whose pitch is nearer to that of the reply, or 0 without a spoken reply.
    """
    sounds = measured_recordings(content)
    text = text_of(content)
    evidence = "; ".join(
        f"{name}: F0 {m[0]:.1f}, range {m[1]:.1f}, level {m[2]:.0f}" for name, m in sounds.items()
    )
    if '"sounds"' in text:
        return json.dumps({"reason": evidence, "sounds": _nearer_to_label(sounds, _label(text))})
    if '"answers"' in text:
        return json.dumps({"reason": evidence, "answers": _nearer_to_reply(sounds)})
    reply = sounds["reply"]
    fit = max(0, min(5, round(reply[1] / 2)))
    return json.dumps(
        {"reason": evidence, "fit": fit, "naturalness": 4 if reply[1] > 0 else 1, "language": 5}
    )


def _label(text: str) -> str:
    return shown_to_judge(text)["cues"].partition(": ")[2]


def _nearer_to_label(sounds: Mapping[str, SoundMeasures], label: str) -> int:
    first, second = sounds["voice 1"], sounds["voice 2"]
    weights = _DIRECTIONS[label]
    score = sum(w * (b - a) / unit for w, a, b, unit in zip(weights, first, second, _AUDIBLE, strict=True))
    return 0 if abs(score) < _TIE else 2 if score > 0 else 1


def _nearer_to_reply(sounds: Mapping[str, SoundMeasures]) -> int:
    if "reply" not in sounds:
        return 0
    distances = [abs(sounds[name][0] - sounds["reply"][0]) for name in ("voice 1", "voice 2")]
    return 0 if abs(distances[0] - distances[1]) < _TIE else 1 if distances[0] < distances[1] else 2
