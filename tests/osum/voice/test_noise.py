"""Noise from a counter: SplitMix64 in torch's integers, normal and independent, and a function of the position."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from echat_eval.osum.voice import noise
from echat_eval.osum.voice.noise import hiss_at, phases_of, start_at
from echat_eval.osum.voice.token2wav import Token2Wav

ALL_BITS = (1 << 64) - 1


def splitmix64(state: int) -> int:
    """The published generator's hash, in Python's integers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & ALL_BITS
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & ALL_BITS
    return state ^ (state >> 31)


@pytest.mark.parametrize("seed", [0, 1, 2**62, 2**64 - 1, 2**63, 123456789012345])
def test_each_number_is_the_hash_of_its_seed_and_position(seed: int) -> None:
    step = 0x9E3779B97F4A7C15
    key = splitmix64((splitmix64(seed) + noise.START * step) & ALL_BITS)
    (drawn,) = start_at([seed], 5, 4, device="cpu")
    for channel, frame in ((0, 0), (39, 3), (40, 0), (79, 2)):
        counter = 5 + frame + (channel % 40 << 40)
        bits = splitmix64((key + counter * step) & ALL_BITS)
        radius = np.sqrt(-2 * np.log(((bits >> 32) + 0.5) / 2**32))
        angle = 2 * np.pi * (bits & 0xFFFFFFFF) / 2**32
        expected = radius * (np.cos(angle) if channel < 40 else np.sin(angle))
        assert float(drawn[channel, frame]) == pytest.approx(expected, abs=2e-6)


def test_the_noise_is_standard_normal() -> None:
    for drawn in (start_at([7], 0, 1000, device="cpu"), hiss_at([7, 8], 9, 0, 20_000, device="cpu")):
        values = drawn.double().flatten().numpy()
        assert stats.kstest(values, "norm").pvalue > 1e-3
        for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
            error = np.sqrt(np.mean(values ** (2 * power)) / len(values))
            assert abs(np.mean(values**power) - moment) < 4 * error
    assert (
        stats.kstest(
            phases_of(range(2000), 9, device="cpu").flatten().numpy(), "uniform", (-np.pi, 2 * np.pi)
        ).pvalue
        > 1e-3
    )


def test_channels_positions_seeds_and_kinds_are_independent() -> None:
    count = 20_000
    two = hiss_at([1, 2], 9, 0, count, device="cpu")
    rows = torch.cat([two.flatten(0, 1), start_at([1], 0, count, device="cpu")[0, :9]])
    for values in (rows, rows.abs(), rows.square()):
        correlation = np.corrcoef(values.double().numpy()) - np.eye(len(rows))
        assert np.abs(correlation).max() < 5 / np.sqrt(count)
    for lag in (1, 2, 256):
        assert np.abs(np.corrcoef(rows[0, lag:], rows[0, :-lag])[0, 1]) < 5 / np.sqrt(count)


def test_noise_is_that_of_the_position_alone_and_in_a_batch() -> None:
    whole = hiss_at([3, 4], 9, 0, 1000, device="cpu")
    assert torch.equal(hiss_at([4], 9, 333, 77, device="cpu")[0], whole[1, :, 333:410])
    assert torch.equal(phases_of([3, 4], 9, device="cpu")[1], phases_of([4], 9, device="cpu")[0])


def test_a_reply_has_the_noise_of_its_seed_alone_and_in_a_batch(tiny: Token2Wav) -> None:
    long, short = tiny.noises([30, 4], [5, 6])
    alone = tiny.noise(4, 6)
    for name in ("start", "phases", "hiss"):
        assert torch.equal(getattr(short, name), getattr(alone, name))
    assert long.start.shape == (80, 24 + 103)
    assert long.hiss.shape == (9, 103 * 256)
