"""Calibration error: by hand, at 0 for a calibrated classifier, and away from 0 for others."""

from __future__ import annotations

import numpy as np
import pytest

from bench.stats import calibration as bench
from echat_eval.checks.calibration import calibration
from echat_eval.errors import BadData
from tests.support.present import present


def test_value_by_hand() -> None:
    # Bin 0.6-0.7: confidence 0.65, 1 of 2 right: 0.15 x 2/3. Bin 0.9-1: confidence 1, right: 0.
    found = calibration(np.array([0.65, 0.65, 1.0]), np.array([1.0, 0.0, 1.0]), [0, 1, 2])
    assert found.value == pytest.approx(0.1)
    # Calibrated: 0.15, 0.65 or 0.35 x 2/3 with 0, 1 or 2 of two right.
    of_two = 0.35**2 * 0.65 + 2 * 0.35 * 0.65 * 0.15 + 0.65**2 * 0.35
    assert found.by_chance == pytest.approx(of_two * 2 / 3, abs=0.01)
    assert (found.low, found.n, found.clusters) == (0, 3, 3)


def test_one_cluster_has_no_interval_and_bad_confidences_are_refused() -> None:
    assert calibration(np.array([0.5, 0.7]), np.ones(2), ["ann", "ann"]).low is None
    for confidence in ([], [0.5, 1.2], [np.nan]):
        with pytest.raises(BadData, match="confidences from 0 to 1"):
            calibration(np.array(confidence), np.ones(len(confidence)), list(range(len(confidence))))


def test_plain_error_agrees_with_the_bench() -> None:
    confidence, right, speaker = bench.draw(bench.CELLS[3], np.random.default_rng(1))
    found = calibration(confidence, right, speaker)
    assert found.value == pytest.approx(bench.error_of(confidence, right))
    assert found == calibration(confidence, right, speaker)  # the same in every run


def test_a_calibrated_classifier_is_held_at_zero_and_an_overconfident_one_is_not() -> None:
    """The jackknife interval of the plain error holds 0 in about a third of these runs."""
    row = bench.measure(bench.Cell(200, 1), 150, 0)
    assert row["contains 0"] >= 90
    assert row["contains 0, jackknife"] < 60
    assert bench.measure(bench.Cell(600, 1, gap=0.12), 30, 0)["contains 0"] < 10


def test_clips_of_one_speaker_count_together() -> None:
    speaker = np.repeat(np.arange(10), 20)
    right = (speaker < 5).astype(float)  # five speakers are always right, five never
    alone = calibration(np.full(200, 0.7), right, range(200))
    linked = calibration(np.full(200, 0.7), right, speaker)
    assert alone.low == pytest.approx(0.2 - 0.069, abs=0.01)
    assert present(linked.low) == 0
    assert present(linked.high) > present(alone.high)
