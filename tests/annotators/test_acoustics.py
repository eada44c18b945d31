"""Acoustic measures of synthetic sounds with known pitch, pauses and energy."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from echat_eval.annotators.acoustics import Acoustics, describe
from echat_eval.io.audio import audio_ref
from tests.support.present import present

RATE = 16000


def pulses(hertz: np.ndarray | float, seconds: float = 2.0) -> np.ndarray:
    """Return a voice-like pulse train: all harmonics below 7 kHz, louder near two formants."""
    hertz = np.broadcast_to(hertz, int(seconds * RATE)).astype(float)
    phase = 2 * np.pi * np.cumsum(hertz / RATE)
    sound = np.zeros(len(hertz))
    for n in range(1, int(7000 / hertz.min()) + 1):
        loudness = sum(1 / (1 + ((n * hertz - formant) / 100) ** 2) for formant in (700, 1200)) + 0.02
        sound += np.where(n * hertz < 7000, loudness, 0) * np.cos(n * phase)
    sound *= 0.5 / np.abs(sound).max()
    return sound


@pytest.mark.parametrize("hertz", [70, 90, 120, 165, 220, 300, 450, 580])
@pytest.mark.parametrize("kind", ["pulses", "tone"])
def test_pitch_of_a_synthetic_sound(hertz: float, kind: str) -> None:
    sound = (
        pulses(hertz) if kind == "pulses" else 0.3 * np.sin(2 * np.pi * hertz * np.arange(2 * RATE) / RATE)
    )
    values = describe(sound)
    assert values["f0_median_hz"] == pytest.approx(hertz, rel=0.01)
    assert values["f0_range_semitones"] == pytest.approx(0.0, abs=0.3)
    assert present(values["voiced_share"]) > 0.95


def test_pitch_is_robust_to_noise_and_level() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 2 * RATE)
    assert describe(0.2 * pulses(140) + 0.1 * noise)["f0_median_hz"] == pytest.approx(140, rel=0.02)


def test_range_of_a_sweep_spans_its_percentiles() -> None:
    # One octave, linear in semitones: the 10th to the 90th percentile span 0.8 x 12.
    values = describe(pulses(110 * 2 ** np.linspace(0, 1, 3 * RATE), 3.0))
    assert values["f0_range_semitones"] == pytest.approx(9.6, abs=0.4)
    assert values["f0_median_hz"] == pytest.approx(110 * math.sqrt(2), rel=0.02)


def test_noise_has_no_pitch() -> None:
    values = describe(np.random.default_rng(0).normal(0, 0.1, 2 * RATE))
    assert present(values["voiced_share"]) < 0.05


def test_pauses_are_counted_between_first_and_last_sound() -> None:
    silence, word = np.zeros(RATE // 2), pulses(150, 0.5)
    sound = np.concatenate([silence, word, silence, word, np.zeros(RATE // 10), word, silence, word, silence])
    values = describe(sound)
    assert values["pause_share"] == pytest.approx(1.0 / 3.1, abs=0.03)
    assert values["pauses_per_second"] == pytest.approx(2 / 3.1, abs=0.03)


@pytest.mark.parametrize("rate", [2.0, 4.0, 6.0])
def test_energy_peaks_count_syllables_of_a_modulated_voice(rate: float) -> None:
    time = np.arange(3 * RATE) / RATE
    values = describe(pulses(150, 3.0) * (0.5 - 0.45 * np.cos(2 * np.pi * rate * time)))
    assert values["energy_peaks_per_second"] == pytest.approx(rate, rel=0.1)


def test_energy_is_in_db_of_full_scale() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    assert describe(0.5 * tone)["energy_db"] == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.1)
    assert describe(0.5 * tone)["energy_range_db"] == pytest.approx(0, abs=0.1)
    assert describe(0.5 * tone)["spectral_centroid_hz"] == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(RATE),
        np.full(RATE, 0.3),
        np.zeros(200),
        1e-6 * np.ones(RATE),
        np.eye(1, RATE)[0],
        pulses(100, 0.02),
    ],
    ids=["silence", "constant", "short silence", "tiny", "one click", "20 ms"],
)
def test_unmeasurable_values_are_none(sound: np.ndarray) -> None:
    values = describe(sound)
    json.dumps(values, allow_nan=False)
    if not sound.std():
        assert {k for k, v in values.items() if v is not None} == {"seconds"}


def test_annotator_reads_files_of_any_sampling_rate(tmp_path: Path) -> None:
    soundfile.write(
        tmp_path / "x.flac",
        np.tile(0.4 * np.sin(np.arange(96000) * 2 * np.pi * 200 / 48000), (2, 1)).T,
        48000,
    )
    values = Acoustics().annotate(audio_ref(tmp_path / "x.flac"), language="zh")
    assert values["f0_median_hz"] == pytest.approx(200, rel=0.01)
    assert values["seconds"] == 2.0
    assert Acoustics().fingerprint() == Acoustics().fingerprint()
