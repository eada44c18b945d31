"""Cue contrast on the shipped tasks with the real embedding: systems that ignore the voice score exactly 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.leaderboard.build import OVERALL, build_leaderboard
from echat_eval.scorers.cue_contrast import CONTRAST, MATCH, CueContrast
from echat_eval.systems import build_system
from echat_eval.task import known_tasks, load_task
from echat_eval.testing import ScriptedOracle
from tests.support.scripted_run import evaluated


def words_only() -> ScriptedOracle:
    """Return a floor that replies with the transcript: the same for all voices of a group."""
    return ScriptedOracle(lambda sample: f"You said: {sample.transcript}", "words-only", role="floor")


@pytest.mark.slow
@pytest.mark.assets
def test_systems_that_ignore_cues_score_zero_and_the_reference_is_above(tmp_path: Path) -> None:
    tasks = [load_task(name) for name in known_tasks()]
    run = evaluated(
        tmp_path / "run",
        tasks,
        [build_system("canned"), words_only(), build_system("reference")],
        scorers=[CueContrast()],
        retry_policy=RetryPolicy(tries=1),
    )
    blind = {MATCH.name: 50.0, CONTRAST.name: 0.0}
    for score in run.scores().values():
        if score.system != "reference" and score.state == "value":
            assert score.value == blind[score.metric], score
    board = build_leaderboard([run])
    assert board.headline == MATCH
    cells = [(task, m.name) for m in (MATCH, CONTRAST) for task in board.columns(m)]
    assert {metric for task, metric in cells if task == OVERALL} == {MATCH.name}
    for task, metric in cells:
        for floor in ("canned", "words-only"):
            estimate = board.summaries[floor, task, metric].estimate
            assert estimate is not None
            assert estimate.value == blind[metric]
        ceiling = board.summaries["reference", task, metric].estimate
        assert ceiling is not None
        assert ceiling.value > blind[metric], (task, ceiling)
        # A share that is 100 in every group has no spread, and five speakers exclude little of its range.
        if metric != MATCH.name:
            assert ceiling.low is not None
            assert ceiling.low > blind[metric], (task, ceiling)
        else:
            assert ceiling.value == 100
