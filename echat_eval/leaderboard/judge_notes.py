"""Notes on judges under a leaderboard: what the cap of a rubric does to the scores."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from echat_eval.io.display import number_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from echat_eval.records import JudgeEvidence, Score

__all__ = ["cap_lines"]


def cap_lines(judged: Iterable[tuple[Score, JudgeEvidence]]) -> list[str]:
    """Return, per metric and system, the mean score with and without the rubric's cap.

    Scores of earlier versions, which did not keep the second, are left out.
    """
    pairs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for score, evidence in judged:
        if evidence.uncapped is not None:
            pair = fmean(evidence.points), fmean(evidence.uncapped)
            pairs.setdefault((score.metric, score.system), []).append(pair)
    lines = []
    for (metric, system), found in pairs.items():
        capped = sum(with_cap < without for with_cap, without in found)
        with_cap, without = (fmean(values) for values in zip(*found, strict=True))
        lines.append(
            f"- {metric} of {system} with the rubric's cap {number_text(with_cap, 1)}, without it "
            f"{number_text(without, 1)}: {capped} of {len(found)} judged replies are capped"
        )
    return lines
