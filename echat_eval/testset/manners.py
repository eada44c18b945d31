"""The voice of a label: changes of plain speech by a vocoder.

Both members of a contrast group are changes of the same rendering of a sentence. They differ in nothing but
the manner, and every speaker can have every label. The manners are caricatures of findings on acted speech.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.testset.vocoder import FRAME_SECONDS, VoiceAnalysis, synthesise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["MANNERS", "Manner", "changed", "manner_of"]

#: Factors multiply when two manners are combined; amounts add up.
_FACTORS = frozenset({"spread", "formants", "rate", "punch"})
#: Most of the periodic part that may become noise.
_MOST_BREATH = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """Changes of a voice against the plain one.

    Attributes:
        pitch: semitones added.
        spread: factor on the distance of F0 from its median, in semitones.
        formants: factor on the frequencies of the spectral envelope.
        rate: factor on speed.
        tilt: dB per octave added above 500 Hz.
        breath: share of the periodic part above 1.5 kHz that becomes noise.
        tremor: semitones of a slow wobble of F0.
        wobble: Hz of that wobble.
        rise: semitones F0 climbs over the last third.
        punch: exponent on frame amplitude; above 1 it emphasises the loud parts.
    """

    pitch: float = 0.0
    spread: float = 1.0
    formants: float = 1.0
    rate: float = 1.0
    tilt: float = 0.0
    breath: float = 0.0
    tremor: float = 0.0
    wobble: float = 5.5
    rise: float = 0.0
    punch: float = 1.0

    def __add__(self, other: Manner) -> Manner:
        """Return both changes combined."""
        values: dict[str, float] = {}
        for entry, left, right in zip(fields(self), astuple(self), astuple(other), strict=True):
            values[entry.name] = left * right if entry.name in _FACTORS else left + right
        values["wobble"] = max(self.wobble, other.wobble)
        values["breath"] = min(values["breath"], _MOST_BREATH)
        return Manner(**values)


#: Cue -> label -> change of the plain voice.
MANNERS: Mapping[str, Mapping[str, Manner]] = MappingProxyType(
    {
        "emotion": {
            "neutral": Manner(spread=0.75),
            "happy": Manner(pitch=2.0, spread=1.75, rate=1.06, tilt=0.6, formants=1.03),
            "sad": Manner(pitch=-2.0, spread=0.4, rate=0.78, tilt=-2.0, breath=0.3),
            "anger": Manner(pitch=1.5, spread=1.25, rate=1.14, tilt=3.2, punch=1.25),
            "fear": Manner(pitch=5.5, spread=0.55, rate=1.1, tilt=-0.8, breath=0.4, tremor=0.6, wobble=8.0),
            "surprise": Manner(pitch=3.5, spread=1.7, rate=0.98, rise=5.0, tilt=0.5),
        },
        "age": {
            "child": Manner(pitch=6.0, formants=1.2, rate=0.94, spread=1.1),
            "adult": Manner(),
            "old": Manner(
                pitch=-2.0, formants=0.97, rate=0.74, breath=0.3, tremor=0.7, wobble=5.0, tilt=-0.8
            ),
        },
        "gender": {"female": Manner(), "male": Manner()},  # see `manner_of`
    }
)
#: Median F0 in Hz and formants, against those of a woman's voice, of a typical voice of each gender.
_TYPICAL: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"female": (208.0, 1.0), "male": (115.0, 0.86)}
)


def manner_of(cue: str, label: str, speaker: str, pitch: float) -> Manner:
    """Return the change that gives a voice a label.

    Args:
        cue, label: an entry of `MANNERS`.
        speaker: the gender of the plain voice, "female" or "male".
        pitch: its median F0, Hz.

    >>> round(manner_of("gender", "male", "female", 208.0).pitch, 1)
    -10.3
    """
    if cue != "gender":
        return MANNERS[cue][label]
    hertz, formants = _TYPICAL[label]
    # Half of a speaker's own distance from the typical voice stays.
    own = 12 * float(np.log2(pitch / _TYPICAL[speaker][0])) / 2
    return Manner(pitch=12 * float(np.log2(hertz / pitch)) + own, formants=formants / _TYPICAL[speaker][1])


def changed(plain: VoiceAnalysis, manner: Manner, phase: float) -> Floats:
    """Return (samples,) at `vocoder.RATE` of the changed voice; the tremor starts at `phase` radians."""
    f0, envelope, noise = _at_rate(plain, manner.rate)
    return synthesise(
        replace(
            plain,
            f0=_pitched(f0, manner, phase),
            envelope=np.ascontiguousarray(_shaped(envelope, plain.rate, manner)),
            noise=np.ascontiguousarray(_breathy(noise, plain.rate, manner.breath)),
        )
    )


def _at_rate(plain: VoiceAnalysis, rate: float) -> tuple[Floats, Floats, Floats]:
    """Return the three tracks with the number of frames divided by `rate`."""
    count = len(plain.f0)
    at = np.linspace(0, count - 1, max(2, round(count / rate)))
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, count - 1)
    part = (at - low)[:, None]
    spectrum = np.exp((1 - part) * np.log(plain.envelope[low]) + part * np.log(plain.envelope[high]))
    noise = (1 - part) * plain.noise[low] + part * plain.noise[high]
    return plain.f0[np.rint(at).astype(int)], spectrum, noise


def _pitched(f0: Floats, manner: Manner, phase: float) -> Floats:
    voiced = f0 > 0
    if not voiced.any():
        return f0
    tones = 12 * np.log2(f0[voiced])
    middle = np.median(tones)
    seconds = np.flatnonzero(voiced) * FRAME_SECONDS
    position = np.linspace(0, 1, len(f0))[voiced]
    tones = middle + (tones - middle) * manner.spread + manner.pitch
    tones += manner.tremor * np.sin(2 * np.pi * manner.wobble * seconds + phase)
    tones += manner.rise * np.clip((position - 0.65) / 0.35, 0, 1)
    moved = np.zeros_like(f0)
    moved[voiced] = np.clip(2 ** (tones / 12), 55, 850)
    return moved


def _shaped(envelope: Floats, rate: int, manner: Manner) -> Floats:
    bins = np.arange(envelope.shape[1])
    warped = np.stack([np.interp(bins / manner.formants, bins, frame) for frame in np.log(envelope)])
    hertz = np.maximum(bins * rate / 2 / (len(bins) - 1), 1.0)
    warped += manner.tilt * np.clip(np.log2(hertz / 500), 0, 4) * np.log(10) / 10
    if manner.punch != 1.0:
        level = np.log(np.exp(warped).mean(axis=1))
        level -= level.max()
        warped += ((manner.punch - 1) * np.maximum(level, -6))[:, None]
    shaped: Floats = np.exp(warped)
    return shaped


def _breathy(noise: Floats, rate: int, breath: float) -> Floats:
    hertz = np.linspace(0, rate / 2, noise.shape[1])
    share = breath * np.clip((hertz - 700) / 1600, 0, 1)
    breathy: Floats = np.clip(noise + (1 - noise) * share, 0, 1)
    return breathy
