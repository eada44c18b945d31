"""Where sound begins, beside signals whose beginning is known."""

from __future__ import annotations

import numpy as np
import pytest

from echat_eval.io.audible import AUDIBLE_LEVEL, first_audible


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 44_100])
@pytest.mark.parametrize("silence", [0.0, 0.05, 0.25, 1.0])
def test_speech_after_noise_of_a_synthesizer(rate: int, silence: float) -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 10 ** (-65 / 20), int(rate * silence))
    tone = 0.1 * np.sin(2 * np.pi * 200 * np.arange(int(rate * 0.2)) / rate)
    found = first_audible(np.concatenate([noise, tone]).astype(np.float32), rate)
    assert found == pytest.approx(silence, abs=0.011)


def test_silence_and_the_level() -> None:
    assert first_audible(np.zeros(0, dtype=np.float32), 8000) is None
    quiet = np.full(800, AUDIBLE_LEVEL * 0.99, dtype=np.float32)
    assert first_audible(quiet, 8000) is None
    assert first_audible(quiet * 1.02, 8000) == 0.0
