"""Drawing of people's ratings against a judge's scores, reply by reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.leaderboard.published import words_judge
from echat_eval.leaderboard.render import by_role
from echat_eval.report.figure_style import axis_label, legend_below, shown_names
from echat_eval.report.figure_values import looks_of
from echat_eval.report.rating.validate import rated_scores

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.report.runs import MergedRuns

__all__ = ["draw_people"]


def draw_people(plt: Any, runs: MergedRuns, width: float, font: str | None, *, ratings: Path | None) -> Any:
    """Draw one point per rated reply, the judge's score and the mean rating; "" without ratings."""
    assert runs.board is not None
    if ratings is None:
        return ""
    metric = words_judge(runs.board.metrics)
    scores = [
        s for found in runs.scores.values() for s in found.values() if metric and s.metric == metric.name
    ]
    rated = rated_scores(runs.ratings(ratings), scores)
    if metric is None or not rated:
        return "no judge graded what people rated"
    figure, panel = plt.subplots(layout="constrained", figsize=(width, min(width, 4.0)))
    panel.plot([0, 100], [0, 100], color="0.7", linewidth=0.8, linestyle="--", zorder=0)
    order = [s for systems in by_role(runs.board, metric).values() for s in systems]
    names, looks = shown_names(order, font), looks_of(runs)
    handles, labels = [], []
    for system in order:
        own = [r for r in rated if r.system == system]
        if own:
            look = looks[system]
            handle = panel.scatter(
                [r.judge for r in own],
                [r.people for r in own],
                s=14,
                alpha=0.6,
                color=look.colour,
                marker=look.marker,
                linewidths=0,
            )
            handles.append(handle)
            labels.append(names[system])
    panel.set(xlim=(-3, 103), ylim=(-3, 103), aspect="equal")
    panel.set_xlabel(axis_label(f"{metric.title}, {metric.unit}", min(width, 4.0)))
    panel.set_ylabel("people, mean rating, 0 to 100")
    legend_below(figure, handles, labels)
    return figure
