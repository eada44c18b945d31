"""The shares of the ceiling in words."""

from __future__ import annotations

import pytest

from echat_eval.analysis.ranking import Ranking
from echat_eval.leaderboard import share_text
from echat_eval.leaderboard.build import Leaderboard
from echat_eval.leaderboard.by_voice import Shares
from echat_eval.leaderboard.cue_gain import Gain
from echat_eval.records import Metric
from echat_eval.stats import cluster_mean


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.1, 0.5, "0.20 [-0.10, 0.50]"),
        (None, None, "0.20 (no interval)"),
        (0.2, 0.2, "0.20 (no spread)"),
        (0.2, 0.2004, "0.20 [0.20, 0.20]"),  # narrow, and measured
    ],
)
def test_an_interval_without_a_width_is_none(low: float | None, high: float | None, expected: str) -> None:
    room = cluster_mean([1.0, 2.0], ["a", "b"])
    gain = Gain(value=0.2, low=low, high=high, reason=None, room=room, n=4, clusters=2, level=0.95)
    assert share_text._share(gain) == expected


def test_a_task_has_its_printed_name() -> None:
    room = cluster_mean([1.0, 2.0], ["a", "b"])
    gain = Gain(value=0.2, low=None, high=None, reason=None, room=room, n=4, clusters=2, level=0.95)
    metric = Metric(name="m", title="M", unit="%", low=0, high=100, higher_is_better=True, by_voice=True)
    shares = {"m": {"mine": Shares(tasks={"event": gain, "age": gain}, average=None, missing=0)}}
    board = Leaderboard(
        metrics=(metric,),
        tasks=("event", "age"),
        titles={},
        roles={"mine": "system"},
        summaries={},
        headline=metric,
        ranking=Ranking(sets={}, samples={}, fewest={}),
        shares=shares,
        names={"event": "Sounds"},
    )
    assert "Sounds 0.20" in share_text.share_lines(board)[1]
    assert "age 0.20" in share_text.share_lines(board)[1]
