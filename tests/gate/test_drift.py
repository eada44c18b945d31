"""The gate and a judge that shifted: corrected differences, blockers that no correction covers, and notes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from echat_eval.analysis import ScoredSystem, load_scored_system
from echat_eval.gate import MetricRule, Policy, decide
from echat_eval.gate.accept import accept
from echat_eval.gate.decision import Provenance
from echat_eval.gate.drift import judge_drift
from echat_eval.store.anchors import AnchorPoints

METRIC = "judge_echat_r1"
RULE = MetricRule(higher_is_better=True, low=0, high=100, critical=True)


def anchors(shift: float = 0.0, *, noise: float = 3.0, seed: int = 0, walk: float = 0.0) -> Any:
    rng = np.random.default_rng(seed)
    return tuple(
        AnchorPoints(
            metric=METRIC,
            judge="m-2026-01-01",
            anchor=f"a{n}",
            question=f"q{n % 20}",
            points=float(np.clip(50 + shift + walk * (n - 30) / 30 + rng.normal(0, noise), 0, 100)),
            after=10 * n + 10,
        )
        for n in range(60)
    )


def run(name: str, found: Any = (), level: float = 50.0) -> ScoredSystem:
    rng = np.random.default_rng(7 if name == "new" else 8)
    frame = pd.DataFrame(
        {
            "task": "emotion",
            "sample_id": [f"s{n}" for n in range(200)],
            "cluster": [f"c{n // 2}" for n in range(200)],
            "system": name,
            "metric": METRIC,
            "state": "value",
            "value": np.clip(level + rng.normal(0, 8, 200), 0, 100),
        }
    )
    return ScoredSystem(name=name, system=name, frame=frame, anchors=found)


def decision(ours: ScoredSystem, theirs: ScoredSystem) -> Any:
    drift = judge_drift(ours, theirs)
    provenance = Provenance(blockers=drift.blockers, notes=drift.notes, shifts=drift.shifts)
    return decide(ours.frame, theirs.frame, Policy(margin=4.0, metrics={METRIC: RULE}), provenance=provenance)


def test_a_stricter_judge_is_no_drop_of_the_system() -> None:
    ours, theirs = run("new", anchors(-6, seed=1), level=44.0), run("old", anchors(seed=2))
    blind = decision(run("new", level=44.0), run("old"))
    assert blind.outcome == "regress"
    found = decision(ours, theirs)
    assert found.outcome == "pass"
    shift = judge_drift(ours, theirs).shifts[METRIC].level
    assert found.difference.value == pytest.approx(blind.difference.value - shift.value)
    assert found.difference.se > blind.difference.se
    (note,) = judge_drift(ours, theirs).notes
    assert note.startswith(f"judge m-2026-01-01: {shift.value:+.1f} [")
    assert note in found.warnings


def test_a_milder_judge_hides_no_drop() -> None:
    ours, theirs = run("new", anchors(8, seed=1)), run("old", anchors(seed=2))
    assert decision(run("new"), run("old")).outcome == "pass"
    assert decision(ours, theirs).outcome == "regress"


def test_a_judge_that_repeats_itself_changes_no_number() -> None:
    same = anchors(noise=2.0)
    drift = judge_drift(run("new", same), run("old", same))
    assert drift.shifts == {}
    assert drift.notes == ("judge m-2026-01-01: the same points twice on 60 anchors",)


@pytest.mark.parametrize(
    ("found", "text"),
    [(anchors(walk=15, seed=1), "moved by"), (anchors(-20, seed=1), "more than half a grade")],
)
def test_a_shift_beyond_correction_blocks_the_decision(found: Any, text: str) -> None:
    made = decision(run("new", found), run("old", anchors(seed=2)))
    assert made.outcome == "cannot tell"
    assert any(text in reason for reason in made.reasons)


def test_an_accepted_baseline_keeps_its_anchors(tmp_path: Path) -> None:
    theirs = run("old", anchors(seed=2))
    accept(theirs, tmp_path / "main", now=datetime(2026, 11, 30, tzinfo=UTC))
    kept = load_scored_system(str(tmp_path / "main"))
    assert kept.anchors == theirs.anchors
    ours = run("new", anchors(-6, seed=1))
    assert judge_drift(ours, kept).shifts == judge_drift(ours, theirs).shifts != {}


def test_missing_or_few_anchors_are_noted() -> None:
    whole = anchors()
    assert "the baseline's run has no anchors" in judge_drift(run("new", whole), run("old")).notes[0]
    assert "fewer than 10 anchors" in judge_drift(run("new", whole), run("old", whole[:5])).notes[0]
    assert judge_drift(run("new"), run("old", whole)).notes == ()
