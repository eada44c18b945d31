"""Notes on repeated replies: how much they vary, beside the verdicts on one reply."""

from __future__ import annotations

from math import sqrt
from statistics import fmean, variance
from typing import TYPE_CHECKING

from echat_eval.io.display import number_text
from echat_eval.records import JudgeEvidence
from echat_eval.store.repeats import repeats_in, split_repeat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.records import Metric, Score
    from echat_eval.store.run_folder import RunFolder, ScoreId

__all__ = ["repeat_lines", "spread_of_repeats"]


def repeat_lines(folder: RunFolder, headline: Metric) -> list[str]:
    """Return one line per repeated system, for the headline and for metrics of several verdicts."""
    scores = folder.every_score()
    repeats = {system: most for system, most in repeats_in(scores).items() if most > 1}
    if not repeats:
        return []
    metrics = folder.manifest().metrics
    lines = []
    for system, most in repeats.items():
        for metric in metrics:
            spread = spread_of_repeats(scores, system, metric.name)
            if spread is None or (metric.name != headline.name and spread[1] is None):
                continue
            generated, judged = spread
            beside = "" if judged is None else f"; between verdicts on one reply {number_text(judged, 2)}"
            lines.append(
                f"- {system}: {most} replies per sample, averaged; {metric.name}: SD between replies to one "
                f"sample {number_text(generated, 2)}{beside}"
            )
    return lines


def spread_of_repeats(
    scores: Mapping[ScoreId, Score], system: str, metric: str
) -> tuple[float, float | None] | None:
    """Return the standard deviation between replies to one sample, and between verdicts on one reply.

    The first is that of the replies alone: the share of the judge's spread in the mean of a reply's verdicts
    is taken off. The second is None if no reply has two verdicts. None if no sample has two scored replies.
    """
    values: dict[tuple[str, str], list[float]] = {}
    judged: list[float] = []
    shares: list[float] = []
    for (name, task, ident, of), score in scores.items():
        if name != system or of != metric or score.state != "value" or score.value is None:
            continue
        values.setdefault((task, split_repeat(ident)[0]), []).append(score.value)
        evidence = score.evidence
        if isinstance(evidence, JudgeEvidence) and evidence.variance is not None:
            judged.append(evidence.variance)
            shares.append(evidence.variance / len(evidence.points))
    between = [variance(group) for group in values.values() if len(group) > 1]
    if not between:
        return None
    generated = max(0.0, fmean(between) - (fmean(shares) if shares else 0.0))
    return sqrt(generated), sqrt(fmean(judged)) if judged else None
