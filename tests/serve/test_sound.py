"""The voice as bytes: the streaming resampler beside scipy's, and headers that every reader takes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from echat_eval.io.audio import read_mono, write_wav
from echat_eval.records import Waveform
from echat_eval.serve.sound import Resampler, SoundStream, encoded

RATES = [
    (22_050, 24_000),
    (22_050, 8_000),
    (22_050, 16_000),
    (24_000, 11_025),
    (16_000, 48_000),
    (8_000, 8_000),
]


@pytest.mark.parametrize(("rate", "new_rate"), RATES)
def test_pieces_resample_to_the_same_samples_as_the_whole(rate: int, new_rate: int) -> None:
    samples = (0.1 * np.random.default_rng(0).standard_normal(5003)).astype(np.float32)
    step = np.gcd(rate, new_rate)
    expected = resample_poly(samples, new_rate // step, rate // step)
    for size in (37, 441, 3000, 9000):
        resampler = Resampler(rate, new_rate)
        pieces = [resampler.push(samples[at : at + size]) for at in range(0, len(samples), size)]
        assert np.array_equal(np.concatenate([*pieces, resampler.end()]), expected)


def test_a_wav_is_that_of_a_run_whole_or_in_pieces(tmp_path: Path) -> None:
    samples = (0.5 * np.random.default_rng(0).standard_normal(3000)).astype(np.float32)
    voice = Waveform(samples=samples, sample_rate=22_050)
    whole = encoded(voice, "wav")
    assert whole == write_wav(voice, tmp_path).path.read_bytes()
    stream = SoundStream(22_050, "wav")
    joined = stream.push(samples[:0]) + stream.push(samples[:100]) + stream.push(samples[100:]) + stream.end()
    assert (joined[44:], SoundStream(22_050, "wav").end()) == (whole[44:], b"")
    path = tmp_path / "stream.wav"
    path.write_bytes(joined)
    assert np.array_equal(
        read_mono(path, rate=None)[0], soundfile.read(io.BytesIO(whole), dtype="float32")[0]
    )
