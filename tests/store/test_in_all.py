"""Which scores a mean over all tasks covers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from echat_eval.records import Metric, Score, State
from echat_eval.scorers.cue_contrast import CONTRAST, MATCH
from echat_eval.scorers.outcome import FAILED
from echat_eval.store.in_all import left_out_of_all, tasks_only
from tests.support.cases import case


@pytest.mark.parametrize(
    ("cues", "asks", "metric", "left_out"),
    [
        ({"gender": "female"}, None, MATCH, True),
        ({"gender": "female", "age": "old"}, None, CONTRAST, True),
        ({"gender": "female"}, None, FAILED, False),
        ({"gender": "female", "emotion": "sad"}, None, MATCH, False),
        ({"gender": "female"}, "gender", MATCH, False),
    ],
)
def test_age_and_gender_are_in_no_mean_of_metrics_that_reward_suiting_them(
    cues: dict[str, str], asks: str | None, metric: Metric, left_out: bool
) -> None:
    sample = replace(case("a", None).sample, cues=cues, asks=asks)
    score = Score(key="", system="s", task=sample.task, sample_id="a", metric=metric.name, state="value")
    assert left_out_of_all([MATCH, CONTRAST, FAILED], [sample])(score) is left_out


@pytest.mark.parametrize(
    ("states", "found"),
    [
        ({"emotion": "value", "event": "value"}, {CONTRAST.name}),
        ({"emotion": "value"}, set()),
        # Another system's row, a missing one: the task is part of the mean all the same.
        ({"emotion": "value", "event": "missing"}, {CONTRAST.name}),
        ({"emotion": "value", "asks": "not applicable"}, set()),
        # Gender is in no mean over all tasks; where nothing else was scored, it is one.
        ({"emotion": "value", "gender": "value"}, set()),
        ({"age": "value", "gender": "value"}, {CONTRAST.name}),
    ],
)
def test_a_metric_with_a_scale_of_its_own_in_every_task_has_no_mean_over_several(
    states: dict[str, State], found: set[str]
) -> None:
    scores = [
        Score(key="", system="s", task=task, sample_id="a", metric=metric.name, state=state)
        for metric in (MATCH, CONTRAST)
        for task, state in states.items()
    ]
    assert tasks_only([MATCH, CONTRAST], scores, lambda score: score.task in ("age", "gender")) == found
