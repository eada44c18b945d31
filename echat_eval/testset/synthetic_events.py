"""Synthetic coughs, laughs, sighs and other sounds: noise and glottal pulses through formant filters.

A take fixes every parameter of one sound, as numbers from 0 to 1 between the ends of plausible ranges. Most
takes of a difficult sound are no good; `event_takes` has good ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["DRAWS", "EVENTS", "RATE", "synthetic_event"]

#: Sampling rate, Hz.
RATE = 16_000
#: Numbers in a take; a sound that needs more gets the middle of their ranges.
DRAWS = 40


class _Draws(np.random.Generator):
    """Parameters from a take, in the order in which they are drawn; noise from a seed."""

    def __init__(self, take: Sequence[float], seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self._left = list(take)

    def between(self, low: float, high: float) -> float:
        """Return the next parameter."""
        share = self._left.pop(0) if self._left else 0.5
        return low + share * (high - low)

    def one_of(self, count: int) -> int:
        """Return the next parameter as a whole number below `count`."""
        return min(count - 1, int(self.between(0, count)))


def synthetic_event(label: str, take: Sequence[float], pitch: float, *, seed: int = 0) -> Floats:
    """Return (samples,) at `RATE`, peak 1.

    Args:
        label: a key of `EVENTS`.
        take: `DRAWS` numbers from 0 to 1.
        pitch: the speaker's median F0, Hz.
        seed: of the noise.
    """
    if label not in EVENTS:
        raise UsageError(f"no synthetic '{label}'; expected {', '.join(EVENTS)}")
    random = _Draws(take, seed)
    # A large voice is low and has low resonances.
    formants = float(np.clip((pitch / 190) ** 0.25, 0.85, 1.2)) * random.between(0.93, 1.07)
    sound = _roomy(EVENTS[label](pitch, formants, random), random)
    fade = RATE // 200
    sound[:fade] *= np.linspace(0, 1, fade)
    sound[-fade:] *= np.linspace(1, 0, fade)
    peaked: Floats = sound / np.abs(sound).max()
    return peaked


def _count(seconds: float) -> int:
    return round(seconds * RATE)


def _noise(seconds: float, low: float, high: float, random: _Draws) -> Floats:
    from scipy.signal import butter, sosfilt

    bands = butter(2, [low, min(high, 7800)], btype="bandpass", fs=RATE, output="sos")
    return np.asarray(sosfilt(bands, random.standard_normal(_count(seconds))))


def _pulses(f0: Floats, random: _Draws, jitter: float = 0.01, shimmer: float = 0.0) -> Floats:
    """Return glottal pulses along an F0 track (Hz per sample), low-passed to the slope of a voice."""
    from scipy.signal import lfilter

    phase = np.cumsum(f0 / RATE)
    wander = random.standard_normal(int(phase[-1]) + 2)
    phase = phase + np.interp(phase, np.arange(len(wander)), wander * jitter)
    train = np.diff(np.floor(phase), prepend=0).clip(0, 1)
    loud = np.exp(shimmer * random.standard_normal(int(phase[-1]) + 3))
    train = train * loud[np.clip(phase.astype(int), 0, len(loud) - 1)]
    return np.asarray(lfilter([1.0], [1.0, -1.6, 0.64], train))


def _mouth(
    source: Floats, resonances: Sequence[float], formants: float, *, narrowest: float = 90.0
) -> Floats:
    """Pass a source through resonances in Hz, each a tenth of its frequency wide, or `narrowest` Hz."""
    from scipy.signal import lfilter

    sound = source
    for hertz in resonances:
        centre = min(hertz * formants, 7400)
        radius = np.exp(-np.pi * max(narrowest, centre / 10) / RATE)
        angle = 2 * np.pi * centre / RATE
        feedback = [1.0, -2 * radius * np.cos(angle), radius**2]
        sound = np.asarray(lfilter([sum(feedback)], feedback, sound))
    return sound


def _breath(
    seconds: float, high: float, resonances: Sequence[float], formants: float, random: _Draws
) -> Floats:
    """Return breath noise: the resonances are wide, so that the noise does not whistle."""
    return _mouth(
        _noise(seconds, 250, high, random), resonances, formants, narrowest=random.between(250, 600)
    )


def _hump(count: int, attack: float, decay: float = 3.0) -> Floats:
    """Return an envelope that rises over the share `attack` and decays over the rest."""
    at = np.linspace(0, 1, count)
    return np.where(at < attack, at / attack, np.exp(-decay * (at - attack) / (1 - attack)))


def _joined(parts: Sequence[tuple[float, Floats]]) -> Floats:
    """Return one sound with each part at its start, in seconds."""
    sound = np.zeros(max(_count(start) + len(part) for start, part in parts))
    for start, part in parts:
        at = _count(start)
        sound[at : at + len(part)] += part
    return sound


def _level(sound: Floats, level: float) -> Floats:
    levelled: Floats = sound / (np.sqrt(np.mean(sound**2)) + 1e-12) * level
    return levelled


def _roomy(sound: Floats, random: _Draws) -> Floats:
    """Return the sound in a small room."""
    from scipy.signal import fftconvolve

    seconds = random.between(0.08, 0.3)
    tail = random.standard_normal(_count(seconds)) * np.exp(-6.9 * np.linspace(0, 1, _count(seconds)))
    tail *= random.between(0.1, 0.45) / np.sqrt((tail**2).sum())
    tail[: _count(0.003)] = 0.0
    tail[0] = 1.0
    wet: Floats = fftconvolve(sound, tail)[: len(sound) + _count(0.06)]
    return wet


def _cough(pitch: float, formants: float, random: _Draws) -> Floats:
    """Return one to three coughs: a blast, a noisy phase, and often a voiced one."""
    parts = []
    start = 0.0
    gap = random.between(0.02, 0.12)
    voiced = random.between(0.2, 1.6)
    shape = (random.between(450, 800), random.between(1100, 1700), random.between(2300, 3200))
    for loud in (1.0, random.between(0.6, 1.0), 0.8)[: 2 + random.one_of(2)]:
        seconds = random.between(0.16, 0.3)
        body = _level(_breath(seconds, random.between(3500, 7000), shape, formants, random), 1.0)
        body *= _hump(len(body), random.between(0.03, 0.1), random.between(1.5, 4.0))
        crack = _level(_noise(0.035, 500, 7500, random), random.between(0.8, 2.0))
        body[: len(crack)] += crack * _hump(len(crack), 0.06)
        count = len(body)
        at = np.linspace(0, 1, count)
        f0 = pitch * random.between(0.9, 1.9) * (1.15 - 0.4 * at)
        rasp = _level(_mouth(_pulses(f0, random, 0.06, 0.4), shape, formants), voiced)
        body += rasp * _hump(count, random.between(0.1, 0.5), 3.0)
        parts.append((start, body * loud))
        start += seconds + gap
    return _joined(parts)


def _laugh(pitch: float, formants: float, random: _Draws) -> Floats:
    parts = []
    beat = random.between(0.15, 0.21)
    vowel = ((850, 1450, 2700), (620, 1800, 2700), (550, 1100, 2500))[random.one_of(3)]
    high, fall = random.between(1.4, 2.1), random.between(0.06, 0.16)
    for number in range(4 + random.one_of(2)):
        count = _count(random.between(0.08, 0.12))
        f0 = pitch * (high - fall * number) * np.linspace(1.08, 0.92, count)
        voiced = _level(_mouth(_pulses(f0, random, 0.015, 0.1), vowel, formants), 1.0)
        voiced += _level(
            _breath(count / RATE, 6000, vowel, formants, random)[:count], random.between(0.1, 0.4)
        )
        voiced *= _hump(count, 0.25, 2.5)
        breath = _level(_breath(0.06, 6000, vowel[:2], formants, random), random.between(0.15, 0.4))
        loud = 0.9**number
        parts += [(number * beat, breath * loud), (number * beat + 0.045, voiced * loud)]
    return _joined(parts)


def _cry(pitch: float, formants: float, random: _Draws) -> Floats:
    parts = []
    start = 0.0
    vowel = ((500, 1400, 2600), (750, 1300, 2600), (650, 1700, 2700))[random.one_of(3)]
    high, drop = random.between(1.6, 2.8), random.between(0.3, 0.9)
    for loud in (1.0, random.between(0.7, 1.0)):
        count = _count(random.between(0.3, 0.45))
        at = np.linspace(0, 1, count)
        shake = 1 + random.between(0.02, 0.07) * np.sin(
            2 * np.pi * random.between(6, 9) * at * count / RATE + random.between(0, 6)
        )
        f0 = pitch * (high - drop * at) * shake
        wail = _level(_mouth(_pulses(f0, random, 0.02, 0.15), vowel, formants), 1.0)
        breath = _level(_noise(count / RATE, 800, 5000, random)[:count], random.between(0.05, 0.25))
        gasp = _level(_noise(0.09, 1000, 5000, random), 0.25) * np.hanning(_count(0.09))
        parts += [(start, (wail + breath) * np.hanning(count) ** 0.5 * loud), (start + count / RATE, gasp)]
        start += count / RATE + 0.08
    return _joined(parts)


def _scream(pitch: float, formants: float, random: _Draws) -> Floats:
    count = _count(random.between(0.6, 0.85))
    at = np.linspace(0, 1, count)
    f0 = np.clip(pitch * random.between(3.5, 6.0), 600, 1400) * (0.85 + 0.25 * np.sin(np.pi * at**0.6))
    rough = 1 + random.between(0.1, 0.5) * np.sign(
        np.sin(2 * np.pi * random.between(40, 80) * at * count / RATE)
    )
    vowel = ((1000, 1700, 3200), (850, 1400, 2900), (650, 2200, 3100))[random.one_of(3)]
    voice = _level(_mouth(_pulses(f0, random, random.between(0.01, 0.05), 0.2), vowel, formants), 1.0)
    hiss = _level(_noise(count / RATE, 1500, 7500, random)[:count], random.between(0.02, 0.2))
    scream: Floats = (voice * rough + hiss) * _hump(
        count, random.between(0.05, 0.3), random.between(0.5, 2.0)
    )
    return scream


def _sigh(pitch: float, formants: float, random: _Draws) -> Floats:
    seconds = random.between(0.65, 0.95)
    shape = (random.between(450, 750), random.between(1200, 1700), random.between(2300, 2900))
    breath = _level(_breath(seconds, random.between(3000, 7000), shape, formants, random), 1.0)
    count = len(breath)
    f0 = pitch * np.linspace(random.between(0.95, 1.2), random.between(0.6, 0.8), count)
    voice = _level(_mouth(_pulses(f0, random, 0.02, 0.1), shape, formants), random.between(0.0, 0.8))
    return (breath + voice) * _hump(count, random.between(0.1, 0.35), random.between(2.0, 3.5)) ** 0.7


def _throat(pitch: float, formants: float, random: _Draws) -> Floats:
    """Return two or three rasps of a rough voice with a soft onset, run into each other."""
    parts = []
    start = 0.0
    shape = (random.between(350, 800), random.between(1000, 1700), random.between(2200, 3200))
    gap, voiced, tone = random.between(-0.06, 0.06), random.between(0.3, 3.0), random.between(0.4, 1.5)
    rough, high, attack = random.between(0.03, 0.15), random.between(3000, 7000), random.between(0.08, 0.5)
    for loud in (random.between(0.4, 0.9), 1.0, random.between(0.5, 0.9))[: 2 + random.one_of(2)]:
        seconds = random.between(0.12, 0.35)
        body = _level(_breath(seconds, high, shape, formants, random), 1.0)
        count = len(body)
        at = np.linspace(0, 1, count)
        f0 = np.clip(pitch * tone, 60, 300) * (1.15 - random.between(0.0, 0.5) * at)
        body += _level(_mouth(_pulses(f0, random, rough, 0.5), shape, formants), voiced)
        flutter = 1 + random.between(0, 0.5) * np.sin(2 * np.pi * random.between(20, 45) * at * count / RATE)
        parts.append((start, body * flutter * _hump(count, attack, random.between(1.5, 4.0)) * loud))
        start += seconds + gap
    return _joined(parts)


def _sneeze(pitch: float, formants: float, random: _Draws) -> Floats:
    """Return a gasp, a blast between the teeth, and a falling vowel."""
    inhale = _level(_noise(random.between(0.12, 0.3), 700, 5000, random), random.between(0.03, 0.4))
    inhale *= np.linspace(0.1, 1, len(inhale))
    blast = _level(
        _noise(random.between(0.06, 0.2), random.between(500, 2500), 7700, random), random.between(0.8, 2.2)
    )
    blast *= _hump(len(blast), random.between(0.03, 0.3), random.between(1.0, 4.0))
    shape = (random.between(350, 700), random.between(950, 1500), random.between(2100, 2700))
    count = _count(random.between(0.2, 0.35))
    tail = _level(_breath(count / RATE, 5000, shape, formants, random)[:count], random.between(0.4, 1.0))
    f0 = pitch * random.between(1.0, 1.9) * np.linspace(1.2, 0.7, count)
    tail += _level(_mouth(_pulses(f0, random, 0.03, 0.2), shape, formants), random.between(0.0, 1.3))
    gap = len(inhale) / RATE + random.between(0.01, 0.06)
    return _joined([(0.0, inhale), (gap, blast), (gap + 0.06, tail * _hump(count, 0.1, 3.0))])


#: Label of the event cue -> what makes it.
EVENTS: Mapping[str, Callable[[float, float, _Draws], Floats]] = MappingProxyType(
    {
        "cough": _cough,
        "laugh": _laugh,
        "cry": _cry,
        "scream": _scream,
        "sigh": _sigh,
        "throat clearing": _throat,
        "sneeze": _sneeze,
    }
)
