"""Drawings of scores by system and task. Each returns a figure, or the reason why there is none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.render import MARK, by_role, metric_title
from echat_eval.report.figure_style import legend_below, look_of, shown_name, shown_names
from echat_eval.report.tables import tasks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.leaderboard.build import Leaderboard
    from echat_eval.records import Metric
    from echat_eval.report.runs import MergedRuns
    from echat_eval.stats import Estimate

__all__ = [
    "draw_contrast",
    "draw_forest",
    "draw_latency",
    "draw_radar",
    "draw_trend",
]

GREY = "0.45"
INTERVAL = "mean and 95 % interval"


def _board(runs: MergedRuns) -> Leaderboard:
    assert runs.board is not None
    return runs.board


def _estimate(runs: MergedRuns, system: str, task: str, metric: Metric) -> Estimate | None:
    summary = _board(runs).summaries.get((system, task, metric.name))
    return summary.estimate if summary is not None else None


def _error(e: Estimate) -> list[list[float]] | None:
    return None if e.low is None or e.high is None else [[e.value - e.low], [e.high - e.value]]


def _title(runs: MergedRuns, task: str, font: str | None) -> str:
    return "all tasks" if task == OVERALL else shown_name(_board(runs).titles.get(task, task), font)


def draw_forest(plt: Any, runs: MergedRuns, width: float, font: str | None) -> Any:
    """Draw one panel per task and one line per system; floors and ceilings are hollow and grey."""
    board = _board(runs)
    metric = board.headline
    tasks = board.columns(metric)
    tasks = (OVERALL,) if width <= 5 and OVERALL in tasks else tasks
    roles = by_role(board, metric)
    rows = [(s, role) for role in roles for s in roles[role]]
    figure, panels = plt.subplots(
        1,
        len(tasks),
        sharey=True,
        sharex=True,
        squeeze=False,
        layout="constrained",
        figsize=(width, 0.75 + 0.24 * len(rows)),
    )
    for panel, task in zip(panels[0], tasks, strict=True):
        panel.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        for y, (system, role) in enumerate(rows):
            e = _estimate(runs, system, task, metric)
            colour = "black" if role == "system" else GREY
            if e is None:
                panel.annotate(
                    "n/a",
                    (0.5, y),
                    xycoords=("axes fraction", "data"),
                    ha="center",
                    va="center",
                    color=GREY,
                    fontsize=6,
                )
                continue
            panel.errorbar(
                [e.value],
                [y],
                xerr=_error(e),
                fmt={"system": "o", "floor": "s", "ceiling": "D"}[role],
                color=colour,
                mfc=colour if role == "system" else "white",
                capsize=2,
                elinewidth=1.2,
            )
        panel.set_title(_title(runs, task, font))
    names = shown_names([s for s, _ in rows], font)
    panels[0][0].set_yticks(range(len(rows)), [names[s] + MARK[role] for s, role in rows])
    panels[0][0].invert_yaxis()
    figure.supxlabel(f"{metric_title(metric)}, {INTERVAL}", fontsize=8)
    return figure


def draw_contrast(plt: Any, runs: MergedRuns, width: float, font: str | None) -> Any:
    """Draw systems by task as points with intervals, and floors and ceilings as lines."""
    metric = _board(runs).headline
    tasks = _board(runs).columns(metric)
    roles = by_role(_board(runs), metric)
    figure, panel = plt.subplots(layout="constrained", figsize=(width, 0.62 * width if width < 5 else 2.9))
    names = shown_names([s for group in roles.values() for s in group], font)
    handles, labels = [], []
    for role, style in (("floor", "--"), ("ceiling", ":")):
        for number, system in enumerate(roles[role]):
            line = None
            for x, task in enumerate(tasks):
                if (e := _estimate(runs, system, task, metric)) is not None:
                    (line,) = panel.plot(
                        [x - 0.42, x + 0.42], [e.value] * 2, style, color=str(0.3 + 0.2 * (number % 3))
                    )
            if line is not None:
                handles.append(line)
                labels.append(names[system] + MARK[role])
    count = len(roles["system"])
    for number, system in enumerate(roles["system"]):
        look, point = look_of(number), None
        for x, task in enumerate(tasks):
            if (e := _estimate(runs, system, task, metric)) is not None:
                offset = x + (number - (count - 1) / 2) * 0.7 / max(1, count)
                point = panel.errorbar(
                    [offset],
                    [e.value],
                    yerr=_error(e),
                    fmt=look.marker,
                    color=look.colour,
                    capsize=2,
                    elinewidth=1.1,
                )
        if point is not None:
            handles.append(point)
            labels.append(names[system])
    panel.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    panel.grid(axis="x", visible=False)
    narrow = width < 5
    panel.set_xticks(
        range(len(tasks)),
        [_title(runs, t, font) for t in tasks],
        rotation=30 if narrow else 0,
        ha="right" if narrow else "center",
    )
    panel.set_ylabel(metric_title(metric))
    legend_below(figure, handles, labels, 2 if narrow else 5)
    return figure


def draw_latency(plt: Any, runs: MergedRuns, width: float, font: str | None) -> Any:
    """Draw the headline metric against the mean first-audio latency, or else the response time."""
    metric = _board(runs).headline
    if metric.name in _board(runs).tasks_only:
        return "the headline has no mean over all tasks"
    figure, panel = plt.subplots(layout="constrained", figsize=(width, 0.75 * min(width, 4.2)))
    streamed = False
    drawn = 0
    systems = by_role(_board(runs), metric)["system"]
    names = shown_names(systems, font)
    by_vad = {times.system for times in _board(runs).times if times.clock == "vad"}
    for number, system in enumerate(systems):
        replies = [r for (s, _, _), r in runs.responses.items() if s == system and r.reply is not None]
        first = [
            r.reply.first_audio_seconds
            for r in replies
            if r.reply and r.reply.first_audio_seconds is not None
        ]
        total = [r.seconds for r in replies if r.seconds is not None]
        times, e = first or total, _estimate(runs, system, OVERALL, metric)
        if not times or e is None:
            continue
        streamed = streamed or bool(first)
        look, seconds = look_of(number), math.fsum(times) / len(times)
        panel.errorbar(
            [seconds],
            [e.value],
            yerr=_error(e),
            fmt=look.marker,
            color=look.colour,
            capsize=2,
            mfc=look.colour if first else "white",
        )
        panel.annotate(
            names[system] + (" (server VAD)" if system in by_vad else ""),
            (seconds, e.value),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=7,
        )
        drawn += 1
    if not drawn:
        plt.close(figure)
        return "no system has both a score and a measured latency"
    panel.margins(x=0.25)
    panel.set_xlim(left=0)
    panel.set_xlabel("first-audio latency, s (hollow: response time)" if streamed else "response time, s")
    panel.set_ylabel(metric_title(metric))
    return figure


def draw_radar(plt: Any, runs: MergedRuns, width: float, font: str | None) -> Any:
    """Draw the headline metric by task as a radar; its area has no meaning, so prefer the forest."""
    metric, tasks = _board(runs).headline, tasks_of(runs)
    if len(tasks) < 3:
        return f"a radar needs at least three tasks; the runs have {len(tasks)}"
    systems = by_role(_board(runs), metric)["system"]
    angles = [2 * math.pi * n / len(tasks) for n in range(len(tasks))]
    size = min(width, 4.6)
    figure, panel = plt.subplots(
        subplot_kw={"projection": "polar"}, layout="constrained", figsize=(width, size)
    )
    names = shown_names(systems, font)
    values: list[float] = []
    for number, system in enumerate(systems):
        means = [_estimate(runs, system, task, metric) for task in tasks]
        if any(e is None for e in means):
            continue
        look, points = look_of(number), [e.value for e in means if e is not None]
        values += points
        panel.plot(
            [*angles, angles[0]],
            [*points, points[0]],
            look.line,
            marker=look.marker,
            color=look.colour,
            label=names[system],
        )
    if not values:
        plt.close(figure)
        return "no system has a value in every task"
    panel.set_theta_offset(math.pi / 2)
    panel.set_theta_direction(-1)
    panel.set_xticks(angles, [_title(runs, task, font) for task in tasks])
    padding = (max(values) - min(values) or 1.0) * 0.15
    panel.set_ylim(min(0.0, min(values) - padding), max(values) + padding)
    handles, labels = panel.get_legend_handles_labels()
    legend_below(figure, handles, labels, 2 if width < 5 else 5)
    panel.set_title(f"{metric_title(metric)}; the area has no meaning", pad=14)
    return figure


def draw_trend(plt: Any, runs: MergedRuns, width: float, font: str | None, *, stages: Sequence[str]) -> Any:
    """Draw the headline metric over checkpoints, one line per task, with the interval of all tasks."""
    if len(stages) < 2:
        return "" if not stages else "a trend needs at least two systems"
    metric = _board(runs).headline
    figure, panel = plt.subplots(layout="constrained", figsize=(width, 0.7 * min(width, 4.4)))
    for number, task in enumerate(_board(runs).columns(metric)):
        look = look_of(2 if task == OVERALL else number + (number > 1))
        found = [(x, e) for x, s in enumerate(stages) if (e := _estimate(runs, s, task, metric)) is not None]
        if not found:
            continue
        panel.plot(
            [x for x, _ in found],
            [e.value for _, e in found],
            look.line,
            color=look.colour,
            marker=look.marker,
            linewidth=2 if task == OVERALL else 1.1,
            label=_title(runs, task, font),
        )
        if task == OVERALL:
            bounded = [(x, e) for x, e in found if e.low is not None and e.high is not None]
            panel.fill_between(
                [x for x, _ in bounded],
                [e.low for _, e in bounded],
                [e.high for _, e in bounded],
                color="0.85",
            )
    names = shown_names(stages, font)
    panel.set_xticks(range(len(stages)), [names[s] for s in stages])
    panel.set_ylabel(f"{metric_title(metric)}")
    handles, labels = panel.get_legend_handles_labels()
    legend_below(figure, handles, labels, 3 if width < 5 else 6)
    return figure
