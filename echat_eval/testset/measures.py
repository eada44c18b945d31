"""Acoustic measures of a clip, and the change that each label should cause in them.

A label of a synthetic voice is readable if the clips of a contrast group, which have the same words, differ
in the direction that the label stands for. The measures need no model.
"""

from __future__ import annotations

import wave
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import median_filter, uniform_filter1d

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "EXPECTED",
    "MIN_CHANGE",
    "Measures",
    "formant_shift",
    "measure",
    "normal",
    "read_wav",
    "unreadable_cues",
]

RATE = 16_000
_WINDOW, _HOP = 640, 160
#: dB below the loudest frames at which a frame counts as silent.
_SILENT_DB = 30.0
#: Shortest pause between an event and the speech.
_PAUSE_SECONDS = 0.19
_LAGS = (RATE // 1100, RATE // 62)
#: Range in which envelopes of two clips are compared (Hz) and step (octaves).
_ENVELOPE_HERTZ, _STEP = (250.0, 6000.0), 1 / 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Measures of one clip.

    Attributes:
        pitch: median F0 of the speech, semitones above 55 Hz.
        spread: 10 % to 90 % range of F0, semitones.
        seconds: length of the speech.
        slope: level at 2 to 6 kHz over that at 0.1 to 1 kHz in voiced frames, dB.
        envelope: level of voiced frames on a logarithmic frequency axis, without its linear trend, dB.
        event_seconds: sound outside the speech, seconds.
    """

    pitch: float
    spread: float
    seconds: float
    slope: float
    envelope: Floats
    event_seconds: float


def read_wav(path: Path) -> Floats:
    """Return a 16 kHz mono PCM16 file as float with RMS 1."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        sound: Floats = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    return normal(sound)


def normal(sound: NDArray[np.generic]) -> Floats:
    """Return a sound with RMS 1."""
    floats = np.asarray(sound, dtype=np.float64)
    scaled: Floats = floats / np.sqrt(np.mean(floats**2))
    return scaled


def measure(sound: Floats) -> Measures:
    """Return the measures of (samples,) at 16 kHz."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP]
    level = 10 * np.log10((frames**2).mean(axis=1) + 1e-12)
    active = level > np.percentile(level, 97) - _SILENT_DB
    islands = _islands(active)
    speech = max(islands, key=lambda island: island[1] - island[0])
    tones, certain = _pitches(frames)
    voiced = active & certain
    inside = np.zeros(len(frames), bool)
    inside[speech[0] : speech[1]] = True
    speech_tones = _steady(tones, voiced & inside)
    outside = active & ~inside
    power = np.abs(np.fft.rfft((frames * np.hanning(_WINDOW))[voiced & inside], 2048)) ** 2
    hertz = np.fft.rfftfreq(2048, 1 / RATE).astype(np.float64)
    return Measures(
        pitch=float(np.median(speech_tones)),
        spread=float(np.percentile(speech_tones, 90) - np.percentile(speech_tones, 10)),
        seconds=(speech[1] - speech[0]) * _HOP / RATE,
        slope=_band(power, hertz, 2000, 6000) - _band(power, hertz, 100, 1000),
        envelope=_envelope(power, hertz),
        event_seconds=float(outside.sum() * _HOP / RATE),
    )


def _islands(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (first, last + 1) frames of stretches of sound; shorter pauses do not split a stretch."""
    frames = np.flatnonzero(active)
    limit = _PAUSE_SECONDS * RATE / _HOP
    cuts = np.flatnonzero(np.diff(frames) > limit)
    starts = [0, *(cuts + 1)]
    ends = [*cuts, len(frames) - 1]
    return [(int(frames[a]), int(frames[b]) + 1) for a, b in zip(starts, ends, strict=True)]


def _pitches(frames: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return F0 in semitones above 55 Hz by autocorrelation, and a mask of the certain frames."""
    window = np.hanning(_WINDOW)
    weight = np.fft.irfft(np.abs(np.fft.rfft(window, 2048)) ** 2)[: _LAGS[1] + 2]
    spectra = np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window, 2048)
    correlation = np.fft.irfft(np.abs(spectra) ** 2)[:, : _LAGS[1] + 2]
    correlation = correlation / (correlation[:, :1] + 1e-12) / (weight / weight[0])
    inner = correlation[:, _LAGS[0] : _LAGS[1]]
    # Take the shortest lag that is nearly as good as the best: an octave below is equally periodic.
    peak = (inner >= np.roll(correlation, 1, 1)[:, _LAGS[0] : _LAGS[1]]) & (
        inner >= np.roll(correlation, -1, 1)[:, _LAGS[0] : _LAGS[1]]
    )
    best = inner.max(axis=1)
    good = peak & (inner > 0.88 * best[:, None])
    lag = np.where(good.any(axis=1), good.argmax(axis=1), inner.argmax(axis=1)) + _LAGS[0]
    return 12 * np.log2(RATE / lag / 55), best > 0.55


def _steady(tones: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Return the smoothed F0 of the frames in `mask`, without values over an octave from the median."""
    tones = tones[mask]
    if len(tones) < 5:
        return tones
    tones = median_filter(tones, 5)
    near = np.abs(tones - np.median(tones)) < 12
    return tones[near]


def _band(power: Floats, hertz: Floats, low: float, high: float) -> float:
    return float(10 * np.log10(power[:, (hertz >= low) & (hertz < high)].mean()))


def _envelope(power: Floats, hertz: Floats) -> Floats:
    level = (10 * np.log10(power + 1e-9)).mean(axis=0)
    # A running mean over 300 Hz removes the harmonics.
    smooth = uniform_filter1d(level, round(300 / hertz[1]))
    low, high = _ENVELOPE_HERTZ
    octaves = np.arange(np.log2(low), np.log2(high), _STEP)
    curve = np.interp(2**octaves, hertz, smooth)
    flat: Floats = curve - np.polyval(np.polyfit(octaves, curve, 1), octaves)
    return flat


def formant_shift(one: Measures, other: Measures) -> float:
    """Return the shift in octaves of the first clip's spectral envelope above the second's.

    Both clips must have the same words. The shift is the one at which the two curves correlate best.
    """
    max_shift = round(0.6 / _STEP)
    best, best_fit = 0, -np.inf
    for shift in range(-max_shift, max_shift + 1):
        a = one.envelope[max(0, shift) : len(one.envelope) + min(0, shift)]
        b = other.envelope[max(0, -shift) : len(other.envelope) + min(0, -shift)]
        fit = np.corrcoef(a, b)[0, 1]
        if fit > best_fit:
            best, best_fit = shift, fit
    return best * _STEP


#: Cue -> label -> measure -> expected change against a plain voice, in the unit of the measure. Derived from
#: the meaning of the labels, not from measurements.
EXPECTED: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "emotion": {
        "neutral": {"spread": -1},
        "happy": {"pitch": 2, "spread": 3},
        "sad": {"pitch": -2, "spread": -3, "seconds": 0.25, "slope": -3},
        "anger": {"pitch": 1, "slope": 5, "seconds": -0.1},
        "fear": {"pitch": 4, "spread": -1},
        "surprise": {"pitch": 4, "spread": 4},
    },
    "age": {
        "child": {"pitch": 6, "formants": 0.25},
        "adult": {},
        "old": {"pitch": -2, "seconds": 0.3},
    },
    "gender": {"female": {}, "male": {"pitch": -9, "formants": -0.2}},
    # The measures show that there is a sound; a tagger can name it.
    "event": {
        "none": {},
        "laugh": {"event_seconds": 0.5},
        "cry": {"event_seconds": 0.6},
        "scream": {"event_seconds": 0.6},
        "cough": {"event_seconds": 0.4},
        "sigh": {"event_seconds": 0.5},
        "throat clearing": {"event_seconds": 0.4},
        "sneeze": {"event_seconds": 0.4},
    },
}
#: Measure -> smallest expected change that is tested, and the share of it that must be measured.
MIN_CHANGE: Mapping[str, float] = {
    "pitch": 2.0,
    "spread": 2.0,
    "seconds": 0.25,
    "slope": 3.0,
    "formants": 0.15,
    "event_seconds": 0.3,
}
MIN_SHARE = 0.25


def cue_moves(cue: str, one: str, other: str) -> dict[str, float]:
    """Return the measures that should differ between two labels of a cue, with the expected change."""
    a, b = EXPECTED[cue][one], EXPECTED[cue][other]
    moves = {name: a.get(name, 0.0) - b.get(name, 0.0) for name in MIN_CHANGE}
    return {name: move for name, move in moves.items() if abs(move) >= MIN_CHANGE[name]}


def moved(one: Measures, other: Measures, name: str) -> float:
    """Return the difference of a measure between two clips."""
    if name == "formants":
        return formant_shift(one, other)
    return float(asdict(one)[name] - asdict(other)[name])


def unreadable_cues(
    one: Measures, other: Measures, cues: Mapping[str, str], other_cues: Mapping[str, str]
) -> list[str]:
    """Return the faults in the measured differences between two clips with the same words.

    Every measure that the labels together should change must change in that direction, by at least a quarter
    of the expected change. Each cue that differs must have such a measure, except sounds, which a tagger
    can name.
    """
    total: dict[str, float] = defaultdict(float)
    differing = [cue for cue in cues if cues[cue] != other_cues[cue]]
    for cue in differing:
        a, b = EXPECTED[cue][cues[cue]], EXPECTED[cue][other_cues[cue]]
        for name in MIN_CHANGE:
            total[name] += a.get(name, 0.0) - b.get(name, 0.0)
    faults = []
    for name, move in total.items():
        change = moved(one, other, name)
        if abs(move) >= MIN_CHANGE[name] and change * np.sign(move) < MIN_SHARE * abs(move):
            faults.append(f"{name}: {change:+.2f}, expected about {move:+.2f}")
    for cue in differing:
        moves = cue_moves(cue, cues[cue], other_cues[cue])
        if cue != "event" and not any(abs(total[name]) >= MIN_CHANGE[name] for name in moves):
            faults.append(f"{cue}: no measure distinguishes {cues[cue]} from {other_cues[cue]}")
    return faults
