"""The bench of links between judges: a short run, the committed result, and the document that shows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.judges import link
from echat_eval.stats.linking import fit_link

ROOT = Path(__file__).resolve().parents[2]
FOUND = json.loads(link.RESULTS.read_text(encoding="utf-8"))


def test_a_short_run_covers_and_refuses() -> None:
    row = link.measure(link.WORLDS[1], 15, 7)
    assert row["coverage"]["linker"] >= 80
    assert row["coverage"]["no link"] < 10  # the new judge is milder by 10 points
    assert row["refused by shift"]["20"] == 100


def test_a_planted_shift_is_as_large_as_stated() -> None:
    large = link.draw(link.WORLDS[2], 6000, np.random.default_rng(1))
    shifted = link.planted(large, "label", link.amount_for(large, "label", 15.0))
    left = shifted.old - fit_link(shifted.new, shifted.old, low=0, high=100).old_scale(shifted.new)
    inside = shifted.label == 0
    assert left[inside].mean() - left[~inside].mean() == pytest.approx(-15, abs=0.3)


def test_committed_coverage_is_within_its_goal_in_every_world() -> None:
    assert [row["world"] for row in FOUND["worlds"]] == [world.name for world in link.WORLDS]
    for row in FOUND["worlds"]:
        assert row["runs"] == 2000
        assert 93 <= row["coverage"]["linker"] <= 97
        assert min(row["coverage by system"]) >= 93
        assert 93 <= row["coverage if comparable"] <= 97
        assert row["refused by shift"]["15"] >= 99
        assert row["refused by shift"]["10"] >= 93  # exactly the tolerance, where 95 is the level


def test_the_document_shows_the_result() -> None:
    assert link.table(FOUND) in (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
