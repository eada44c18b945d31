"""Which scores a mean over all tasks covers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from echat_eval.records import Metric, Score
from echat_eval.scorers.cue_contrast import CONTRAST, MATCH
from echat_eval.scorers.outcome import FAILED
from echat_eval.store.in_all import left_out_of_all
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
