"""Voice conversion with WORLD: pitch, range, formants, rate, tilt, breath and tremor."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pyworld
from numpy.typing import NDArray
from scipy.signal import resample_poly
from speak import RATE

#: Sampling rate of every clip, Hz.
OUT_RATE = 16_000
_FRAME_MS = 5.0
Floats = NDArray[np.float64]


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
        """Return both changes combined: factors multiply, amounts add up."""
        factors = {"spread", "formants", "rate", "punch"}
        values = {}
        for entry in fields(self):
            left, right = getattr(self, entry.name), getattr(other, entry.name)
            values[entry.name] = left * right if entry.name in factors else left + right
        values["wobble"] = max(self.wobble, other.wobble)
        values["breath"] = min(values["breath"], 0.8)
        return Manner(**values)


#: Cue -> label -> change of the plain voice. Caricatures of findings on acted speech, not of recordings.
MANNERS: dict[str, dict[str, Manner]] = {
    "emotion": {
        "neutral": Manner(spread=0.75),
        "happy": Manner(pitch=2.5, spread=1.75, rate=1.06, tilt=0.6, formants=1.03),
        "sad": Manner(pitch=-2.0, spread=0.4, rate=0.78, tilt=-2.0, breath=0.3),
        "anger": Manner(pitch=1.5, spread=1.25, rate=1.14, tilt=3.2, punch=1.25),
        "fear": Manner(pitch=4.5, spread=0.55, rate=1.1, tilt=-0.8, breath=0.4, tremor=0.6, wobble=8.0),
        "surprise": Manner(pitch=3.5, spread=1.7, rate=0.98, rise=5.0, tilt=0.5),
    },
    "age": {
        "child": Manner(pitch=6.0, formants=1.2, rate=0.94, spread=1.1),
        "adult": Manner(),
        "old": Manner(pitch=-2.0, formants=0.97, rate=0.74, breath=0.3, tremor=0.7, wobble=5.0, tilt=-0.8),
    },
    "gender": {
        "female": Manner(pitch=0.8, formants=1.02),
        "male": Manner(pitch=-9.0, formants=0.86),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """WORLD's analysis of a voice, one frame per 5 ms.

    Attributes:
        f0: (frames,) Hz, 0 where unvoiced.
        envelope: (frames, bins) power spectrum.
        noise: (frames, bins) aperiodicity from 0 to 1.
    """

    f0: Floats
    envelope: Floats
    noise: Floats

    @property
    def seconds(self) -> float:
        """Length of the speech."""
        return len(self.f0) * _FRAME_MS / 1000


def analyse(sound: Floats) -> Analysis:
    """Return the analysis of (samples,) at 24 kHz."""
    f0, times = pyworld.harvest(sound, RATE, f0_floor=70.0, f0_ceil=500.0, frame_period=_FRAME_MS)
    return Analysis(
        f0=f0,
        envelope=pyworld.cheaptrick(sound, f0, times, RATE),
        noise=pyworld.d4c(sound, f0, times, RATE),
    )


def change(plain: Analysis, manner: Manner, phase: float) -> Floats:
    """Return the changed voice at 16 kHz; the tremor starts at `phase` radians."""
    f0, envelope, noise = _at_rate(plain.f0, plain.envelope, plain.noise, manner.rate)
    sound = pyworld.synthesize(
        _pitched(f0, manner, phase),
        np.ascontiguousarray(_shaped(envelope, manner)),
        np.ascontiguousarray(_breathy(noise, manner.breath)),
        RATE,
        frame_period=_FRAME_MS,
    )
    resampled: Floats = resample_poly(sound, 2, 3)
    return resampled


def _at_rate(f0: Floats, envelope: Floats, noise: Floats, rate: float) -> tuple[Floats, Floats, Floats]:
    """Return the three tracks with the number of frames divided by `rate`."""
    at = np.linspace(0, len(f0) - 1, round(len(f0) / rate))
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(f0) - 1)
    part = (at - low)[:, None]
    spectrum = np.exp((1 - part) * np.log(envelope[low]) + part * np.log(envelope[high]))
    return f0[np.rint(at).astype(int)], spectrum, (1 - part) * noise[low] + part * noise[high]


def _pitched(f0: Floats, manner: Manner, phase: float) -> Floats:
    voiced = f0 > 0
    if not voiced.any():
        return f0
    tones = 12 * np.log2(f0[voiced])
    middle = np.median(tones)
    seconds = np.flatnonzero(voiced) * _FRAME_MS / 1000
    position = np.linspace(0, 1, len(f0))[voiced]
    tones = middle + (tones - middle) * manner.spread + manner.pitch
    tones += manner.tremor * np.sin(2 * np.pi * manner.wobble * seconds + phase)
    tones += manner.rise * np.clip((position - 0.65) / 0.35, 0, 1)
    changed = np.zeros_like(f0)
    changed[voiced] = np.clip(2 ** (tones / 12), 60, 650)
    return changed


def _shaped(envelope: Floats, manner: Manner) -> Floats:
    bins = np.arange(envelope.shape[1])
    logs = np.log(envelope)
    warped = np.stack([np.interp(bins / manner.formants, bins, frame) for frame in logs])
    hertz = np.maximum(bins * RATE / 2 / (len(bins) - 1), 1.0)
    octaves = np.clip(np.log2(hertz / 500), 0, 4)
    warped += manner.tilt * octaves * np.log(10) / 10
    if manner.punch != 1.0:
        level = np.log(np.exp(warped).mean(axis=1))
        level -= level.max()
        warped += ((manner.punch - 1) * np.maximum(level, -6))[:, None]
    result: Floats = np.exp(warped)
    return result


def _breathy(noise: Floats, breath: float) -> Floats:
    hertz = np.linspace(0, RATE / 2, noise.shape[1])
    share = breath * np.clip((hertz - 700) / 1600, 0, 1)
    return np.clip(noise + (1 - noise) * share, 0, 1)
