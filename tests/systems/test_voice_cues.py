"""Labels of a voice, on sounds whose pitch, timing and brightness are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from echat_eval.systems.voice_cues import RATE, detect_cues

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SILENCE = np.zeros(RATE // 2)


def voice(
    hertz: float, semitones: float, *, rate: float = 4.0, tilt: float = -12.0, rise: float = 0.0
) -> Floats:
    """Return 2 s of syllables at `rate` per second, whose pitch swings by `semitones`, with harmonics.

    Args:
        hertz: median pitch.
        semitones: between the lowest and the highest pitch.
        rate: syllables per second.
        tilt: dB per octave of the harmonics.
        rise: semitones that pitch gains over the last quarter.
    """
    time = np.arange(2 * RATE) / RATE
    tone = semitones / 2 * np.sin(2 * np.pi * 0.9 * time) + rise * np.clip((time - 1.5) / 0.4, 0, 1)
    phase = 2 * np.pi * np.cumsum(hertz * 2 ** (tone / 12)) / RATE
    orders = np.arange(1, int(7000 / hertz))
    sound = sum(order ** (tilt / 6.02) * np.sin(order * phase) for order in orders)
    syllables = 0.08 + 0.92 * np.clip(np.sin(np.pi * rate * time) ** 2 * 1.4, 0, 1)
    shaped: Floats = sound * syllables / np.abs(sound).max() * 0.5
    return shaped


def noise(seconds: float, bursts: int) -> Floats:
    """Return noise in so many bursts; with one, it swells and fades."""
    time = np.arange(int(seconds * RATE)) / RATE
    shape = np.sin(np.pi * bursts * time / seconds) ** 2
    sound: Floats = 0.3 * np.random.default_rng(0).standard_normal(len(time)) * shape
    return sound


def breathy(sound: Floats, rate: float) -> Floats:
    """Return a sound whose weak moments, `rate` a second, are noise."""
    time = np.arange(len(sound)) / RATE
    weak = np.sin(np.pi * rate * time) ** 2 < 0.5
    breath = 0.1 * np.random.default_rng(1).standard_normal(len(sound))
    mixed: Floats = np.where(weak, breath, sound)
    return mixed


def dull(sound: Floats) -> Floats:
    """Return a sound without its high frequencies."""
    filtered: Floats = gaussian_filter1d(sound, 3.0) * 3
    return filtered


@pytest.mark.parametrize(
    ("manner", "sound"),
    [
        ("happy", voice(190, 14)),
        ("surprise", voice(190, 13, rise=9)),
        ("sad", voice(140, 2)),
        ("fear", voice(330, 2)),
        ("child", voice(310, 6)),
        ("anger", voice(170, 6.5, tilt=-3)),
        ("neutral", voice(170, 6.5)),
        ("old", voice(130, 6.5, rate=1.8)),
    ],
)
def test_manners(manner: str, sound: Floats) -> None:
    assert detect_cues(np.concatenate([SILENCE, sound, SILENCE])).manner == manner
    assert detect_cues(sound).event is None


@pytest.mark.parametrize(
    ("event", "sound"),
    [
        ("laugh", breathy(voice(260, 3, rate=6)[: RATE // 1], 6)),
        ("cry", breathy(voice(320, 3, rate=1.4)[: RATE // 1], 1.4)),
        ("scream", voice(300, 18, rate=0.8)[: RATE // 1]),
        ("sigh", noise(0.9, 1)),
        ("cough", dull(noise(0.7, 2))),
        ("sneeze", noise(0.7, 2)),
        ("throat clearing", dull(noise(0.6, 4))),
        (None, voice(200, 5)[: RATE // 1]),  # words after a pause
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_sounds_beside_the_words(event: str | None, sound: Floats, first: bool) -> None:
    pause = SILENCE[: RATE // 3]
    parts = [sound, pause, voice(170, 6.5)] if first else [voice(170, 6.5), pause, sound]
    assert detect_cues(np.concatenate([SILENCE, *parts, SILENCE])).event == event


def test_silence_and_a_click_have_no_event() -> None:
    for sound in (np.zeros(RATE), np.eye(1, RATE, 100)[0]):
        assert detect_cues(sound).event is None
        assert detect_cues(sound).manner in ("neutral", "sad")
