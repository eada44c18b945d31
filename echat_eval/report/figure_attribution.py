"""Figures of perceived cues: error attribution and confusion of labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from echat_eval.labels import LABELS
from echat_eval.report.figure_style import legend_below, shown_name
from echat_eval.report.tables import by_role

if TYPE_CHECKING:
    from echat_eval.records import Metric
    from echat_eval.report.runs import MergedRuns

__all__ = ["draw_attribution", "draw_confusion"]

_OUTCOMES = (
    ("perceived, good reply", "#0072B2", ""),
    ("perceived, poor reply", "#56B4E9", "...."),
    ("not perceived, good reply", "#F0E442", "////"),
    ("not perceived, poor reply", "#D55E00", "xxxx"),
    ("failed", "0.25", ""),
)


def _outcomes(runs: MergedRuns, system: str, metric: Metric) -> list[int]:
    """Return the number of samples per outcome, among replies that name a perceived cue."""
    counts = [0] * len(_OUTCOMES)
    threshold = 0.0 if metric.low is None or metric.high is None else (metric.low + metric.high) / 2
    for key, sample in runs.samples.items():
        response = runs.responses.get((system, *key))
        score = runs.scores.get((system, *key), {}).get(metric.name)
        if response is None or score is None:
            continue
        if response.state == "failed":
            counts[4] += 1
        elif (
            response.reply is not None
            and response.reply.perceived
            and score.state == "value"
            and score.value is not None
        ):
            cues = [cue for cue in sample.cues if cue in runs.tasks[sample.task].get("cues", sample.cues)]
            perceived = all(response.reply.perceived.get(cue) == sample.cues[cue] for cue in cues)
            good = score.value > threshold if metric.higher_is_better else score.value < threshold
            counts[(0 if good else 1) if perceived else (2 if good else 3)] += 1
    return counts


def draw_attribution(plt: Any, runs: MergedRuns, width: float, font: str | None) -> Any:
    """Draw the shares of outcomes for systems whose replies name a perceived cue."""
    board = runs.board
    assert board is not None
    metric = board.headline
    systems = by_role(board, metric)["system"]
    rows = [(s, c) for s in systems if sum((c := _outcomes(runs, s, metric))[:4])]
    if not rows:
        return "no reply names a perceived cue"
    figure, panel = plt.subplots(layout="constrained", figsize=(width, 1.15 + 0.3 * len(rows)))
    for y, (_, counts) in enumerate(rows):
        left = 0.0
        for (label, colour, hatch), count in zip(_OUTCOMES, counts, strict=True):
            share = 100 * count / sum(counts)
            panel.barh(
                [y],
                [share],
                left=left,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.6,
                height=0.68,
                label=label if y == 0 else None,
            )
            left += share
    panel.set_yticks(range(len(rows)), [f"{shown_name(s, font)} (n={sum(c)})" for s, c in rows])
    panel.invert_yaxis()
    panel.set_xlim(0, 100)
    panel.set_xlabel(f"% of samples (good: by {shown_name(metric.title, font)})")
    panel.grid(axis="y", visible=False)
    handles, labels = panel.get_legend_handles_labels()
    legend_below(figure, handles, labels, 2 if width < 5 else 5)
    return figure


def draw_confusion(plt: Any, runs: MergedRuns, width: float, font: str | None, *, cue: str) -> Any:
    """Draw the confusion of gold and perceived labels, one panel per system, as row shares with counts."""
    counts: dict[str, dict[tuple[str, str], int]] = {}
    for (system, task, sample_id), response in runs.responses.items():
        gold = runs.samples[task, sample_id].cues.get(cue)
        perceived = response.reply.perceived.get(cue) if response.reply is not None else None
        if gold is not None and perceived is not None:
            confusion = counts.setdefault(system, {})
            confusion[gold, perceived] = confusion.get((gold, perceived), 0) + 1
    if not counts:
        return ""
    rows = [label for label in LABELS[cue] if any(g == label for c in counts.values() for g, _ in c)]
    known = (*LABELS[cue], "unknown")
    columns = [
        label for label in known if label in rows or any(p == label for c in counts.values() for _, p in c)
    ]
    column_count = min(len(counts), 3 if width > 5 else 1)
    row_count = math.ceil(len(counts) / column_count)
    figure, panels = plt.subplots(
        row_count,
        column_count,
        squeeze=False,
        sharey=True,
        layout="constrained",
        figsize=(width, row_count * (0.75 + 0.3 * len(rows)) + 0.35),
    )
    for panel in panels.flat[len(counts) :]:
        panel.set_visible(False)
    for panel, (system, confusion) in zip(panels.flat, sorted(counts.items()), strict=False):
        shares = [
            [
                confusion.get((g, p), 0) / max(1, sum(v for (h, _), v in confusion.items() if h == g))
                for p in columns
            ]
            for g in rows
        ]
        panel.imshow(shares, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        for y, gold in enumerate(rows):
            for x, perceived in enumerate(columns):
                panel.text(
                    x,
                    y,
                    str(confusion.get((gold, perceived), 0)),
                    ha="center",
                    va="center",
                    fontsize=6,
                    color="white" if shares[y][x] > 0.55 else "black",
                )
        panel.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
        panel.set_yticks(range(len(rows)), rows)
        panel.set_title(shown_name(system, font))
        panel.grid(visible=False)
    figure.supxlabel(f"{cue}: perceived (count; shade: share of the gold label)", fontsize=7)
    figure.supylabel("gold", fontsize=8)
    return figure
