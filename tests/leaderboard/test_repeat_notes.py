"""Variance between replies and between verdicts, against a simulation with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from echat_eval.leaderboard.repeat_notes import spread_of_repeats
from echat_eval.records import JudgeEvidence, Score
from echat_eval.store.repeats import join_repeat


def judged(points: list[float], sample: int, repeat: int) -> Score:
    evidence = JudgeEvidence(
        grades={},
        points=tuple(points),
        variance=float(np.var(points, ddof=1)) if len(points) > 1 else None,
        reasons=(),
        models=(),
        servers=(),
        verdicts=(),
        prompt_sha256=(),
        voice_emotion=None,
        tokens=(0, 0),
        opinions={},
    )
    return Score(
        key="",
        system="a",
        task="t",
        sample_id=join_repeat(f"s{sample}", repeat),
        metric="m",
        state="value",
        value=float(np.mean(points)),
        evidence=evidence,
    )


@pytest.mark.parametrize("verdicts", [1, 4])
def test_the_spread_of_replies_excludes_that_of_verdicts(verdicts: int) -> None:
    rng = np.random.default_rng(5)
    rows = {}
    for sample in range(1500):
        mean = rng.normal(50, 20)
        for repeat in (1, 2, 3):
            reply = mean + rng.normal(0, 4)
            score = judged(list(reply + rng.normal(0, 6 if verdicts > 1 else 0, verdicts)), sample, repeat)
            rows["a", "t", score.sample_id, "m"] = score
    found = spread_of_repeats(rows, "a", "m")
    assert found is not None
    assert found[0] == pytest.approx(4, rel=0.05)
    assert found[1] is None if verdicts == 1 else found[1] == pytest.approx(6, rel=0.05)
    assert spread_of_repeats(rows, "b", "m") is None
