"""Synthetic coughs, laughs, sighs and other sounds: noise and glottal pulses through formant filters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt
from voice import OUT_RATE

Floats = NDArray[np.float64]
Generator = np.random.Generator


def make_event(name: str, pitch: float, formants: float, random: Generator) -> Floats:
    """Return (samples,) at 16 kHz, peak 1.

    Args:
        name: a label of the event cue.
        pitch: the speaker's median F0, Hz.
        formants: factor on the resonances, as in Manner.
        random: source of variation between events.
    """
    sound = _MAKERS[name](pitch, formants, random)
    fade = OUT_RATE // 200
    sound[:fade] *= np.linspace(0, 1, fade)
    sound[-fade:] *= np.linspace(1, 0, fade)
    sound /= np.abs(sound).max()
    return sound


def _count(seconds: float) -> int:
    return round(seconds * OUT_RATE)


def _noise(seconds: float, low: float, high: float, random: Generator) -> Floats:
    bands = butter(2, [low, min(high, 7800)], btype="bandpass", fs=OUT_RATE, output="sos")
    return np.asarray(sosfilt(bands, random.standard_normal(_count(seconds))))


def _pulses(f0: Floats, random: Generator, jitter: float = 0.01) -> Floats:
    """Return glottal pulses along an F0 track (Hz per sample), low-passed to the slope of a voice."""
    phase = np.cumsum(f0 / OUT_RATE)
    if jitter:
        wander = random.standard_normal(int(phase[-1]) + 2) * jitter
        phase = phase + np.interp(phase, np.arange(len(wander)), wander)
    train = np.diff(np.floor(phase), prepend=0).clip(0, 1)
    return np.asarray(lfilter([1.0], [1.0, -1.6, 0.64], train))


def _mouth(
    source: Floats, resonances: tuple[float, ...], formants: float, *, narrowest: float = 90.0
) -> Floats:
    """Pass a source through resonances in Hz, each a tenth of its frequency wide, or `narrowest` Hz."""
    sound = source
    for hertz in resonances:
        centre = min(hertz * formants, 7400)
        radius = np.exp(-np.pi * max(narrowest, centre / 10) / OUT_RATE)
        angle = 2 * np.pi * centre / OUT_RATE
        feedback = [1.0, -2 * radius * np.cos(angle), radius**2]
        sound = np.asarray(lfilter([sum(feedback)], feedback, sound))
    return sound


def _breath(
    seconds: float, high: float, resonances: tuple[float, ...], formants: float, random: Generator
) -> Floats:
    """Return breath noise: the resonances are wide, so that the noise does not whistle."""
    return _mouth(_noise(seconds, 300, high, random), resonances, formants, narrowest=500.0)


def _hump(count: int, attack: float) -> Floats:
    """Return an envelope that rises over the share `attack` and decays over the rest."""
    at = np.linspace(0, 1, count)
    return np.where(at < attack, at / attack, np.exp(-3.0 * (at - attack) / (1 - attack)))


def _joined(parts: list[tuple[float, Floats]]) -> Floats:
    """Return one sound with each part at its start, in seconds."""
    end = max(_count(start) + len(part) for start, part in parts)
    sound = np.zeros(end)
    for start, part in parts:
        at = _count(start)
        sound[at : at + len(part)] += part
    return sound


def _level(sound: Floats, level: float) -> Floats:
    levelled: Floats = sound / (np.sqrt(np.mean(sound**2)) + 1e-12) * level
    return levelled


def _cough(pitch: float, formants: float, random: Generator) -> Floats:
    parts = []
    start = 0.0
    for loud in (1.0, 0.75):
        seconds = random.uniform(0.22, 0.27)
        blast = _level(_breath(seconds, 5000, (700, 1500, 2700), formants, random), 1.0)
        crack = _level(_noise(0.04, 900, 7000, random), 1.1) * _hump(_count(0.04), 0.08)
        blast = blast * _hump(len(blast), 0.06)
        blast[: len(crack)] += crack
        parts.append((start, blast * loud))
        start += seconds + random.uniform(0.05, 0.09)
    return _joined(parts)


def _laugh(pitch: float, formants: float, random: Generator) -> Floats:
    parts = []
    beat = random.uniform(0.17, 0.185)
    for number in range(4):
        count = _count(0.105)
        f0 = pitch * (1.75 - 0.13 * number) * np.linspace(1.06, 0.94, count)
        voiced = _level(_mouth(_pulses(f0, random), (850, 1450, 2700), formants), 1.0) * _hump(count, 0.25)
        breath = _level(_breath(0.06, 6000, (850, 1450), formants, random), 0.2)
        loud = 0.9**number
        parts += [(number * beat, breath * loud), (number * beat + 0.045, voiced * loud)]
    return _joined(parts)


def _cry(pitch: float, formants: float, random: Generator) -> Floats:
    parts = []
    start = 0.0
    for loud in (1.0, 0.85):
        count = _count(random.uniform(0.33, 0.37))
        at = np.linspace(0, 1, count)
        shake = 1 + 0.05 * np.sin(2 * np.pi * 7.5 * at * count / OUT_RATE + random.uniform(0, 6))
        f0 = pitch * (1.75 - 0.6 * at) * shake
        wail = _level(_mouth(_pulses(f0, random, 0.02), (500, 1400, 2600), formants), 1.0)
        breath = _level(_noise(count / OUT_RATE, 800, 5000, random)[:count], 0.12)
        gasp = _level(_noise(0.07, 1200, 5000, random), 0.16) * np.hanning(_count(0.07))
        parts += [
            (start, (wail + breath) * np.hanning(count) ** 0.5 * loud),
            (start + count / OUT_RATE, gasp),
        ]
        start += count / OUT_RATE + 0.07
    return _joined(parts)


def _scream(pitch: float, formants: float, random: Generator) -> Floats:
    count = _count(random.uniform(0.55, 0.62))
    at = np.linspace(0, 1, count)
    f0 = np.clip(pitch * 4.2, 600, 1050) * (0.8 + 0.25 * np.sin(np.pi * at**0.7))
    rough = 1 + 0.35 * np.sign(np.sin(2 * np.pi * 55 * at * count / OUT_RATE))
    voice = _level(_mouth(_pulses(f0, random, 0.03), (1000, 1700, 3200), formants), 1.0)
    scream: Floats = voice * rough * np.hanning(count) ** 0.4
    return scream


def _sigh(pitch: float, formants: float, random: Generator) -> Floats:
    seconds = random.uniform(0.72, 0.8)
    breath = _level(_breath(seconds, 4500, (550, 1500, 2500), formants, random), 1.0)
    return breath * _hump(len(breath), 0.28) ** 0.7


def _throat(pitch: float, formants: float, random: Generator) -> Floats:
    parts = []
    for start, loud in ((0.0, 0.8), (0.3, 1.0)):
        count = _count(random.uniform(0.22, 0.26))
        f0 = np.full(count, np.clip(pitch * 0.45, 55, 110))
        creak = _level(_mouth(_pulses(f0, random, 0.12), (500, 1150, 2400), formants), 1.0)
        rasp = _level(_breath(count / OUT_RATE, 4000, (600, 1300), formants, random)[:count], 0.6)
        parts.append((start, (creak + rasp) * np.hanning(count) ** 0.6 * loud))
    return _joined(parts)


def _sneeze(pitch: float, formants: float, random: Generator) -> Floats:
    inhale = _level(_noise(0.2, 900, 4500, random), 0.22) * np.linspace(0.1, 1, _count(0.2))
    blast = _level(_noise(0.12, 2200, 7600, random), 1.2) * _hump(_count(0.12), 0.05)
    count = _count(0.26)
    tail = _level(_breath(0.26, 4000, (420, 1100, 2400), formants, random)[:count], 0.55)
    return _joined([(0.0, inhale), (0.25, blast), (0.31, tail * _hump(count, 0.1))])


_MAKERS: dict[str, Callable[[float, float, Generator], Floats]] = {
    "cough": _cough,
    "laugh": _laugh,
    "cry": _cry,
    "scream": _scream,
    "sigh": _sigh,
    "throat clearing": _throat,
    "sneeze": _sneeze,
}
