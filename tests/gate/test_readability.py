"""Metrics that compare replies ask for a readability guard: contrasts and match rates of every kind."""

from __future__ import annotations

import pytest

from echat_eval.analysis.metric_rule import MetricRule
from echat_eval.gate.readability import is_contrast


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("match_rate_proxy", True),
        ("judge_text_match_rate", True),
        ("judge_audio_listening_match", True),
        ("voice_match_experimental", True),
        ("judge_text_cue_contrast", True),
        ("judge_text", False),
        ("judge_audio_voice", False),
    ],
)
def test_match_rates_of_every_kind_compare_replies(name: str, expected: bool) -> None:
    assert is_contrast(name, MetricRule(higher_is_better=True, low=0, high=100)) is expected
