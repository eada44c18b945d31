"""Drawings of the headline metric against time, on a radar, and over checkpoints.

Each returns a figure, or the reason why there is none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from echat_eval.io.display import number_text
from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.render import by_role, metric_title
from echat_eval.report.figure_style import axis_label, legend_below, look_of, shown_names
from echat_eval.report.figure_values import board_of, error_of, estimate_of, looks_of, tasks_with, title_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.report.runs import MergedRuns

__all__ = ["draw_latency", "draw_radar", "draw_trend"]

#: A reader cannot tell more lines apart on a radar.
MOST_ON_RADAR = 6


def draw_latency(plt: Any, runs: MergedRuns, width: float, font: str | None) -> Any:
    """Draw the headline metric against the mean first-audio latency, or else the response time."""
    metric = board_of(runs).headline
    if metric.name in board_of(runs).tasks_only:
        return "the headline has no mean over all tasks"
    figure, panel = plt.subplots(layout="constrained", figsize=(width, 0.6 * min(width, 4.2)))
    streamed = False
    handles, labels = [], []
    systems = by_role(board_of(runs), metric)["system"]
    names = shown_names(systems, font)
    looks = looks_of(runs)
    by_vad = {times.system for times in board_of(runs).times if times.clock == "vad"}
    for system in systems:
        replies = [r for (s, _, _), r in runs.responses.items() if s == system and r.reply is not None]
        first = [
            r.reply.first_audio_seconds
            for r in replies
            if r.reply and r.reply.first_audio_seconds is not None
        ]
        total = [r.seconds for r in replies if r.seconds is not None]
        times, e = first or total, estimate_of(runs, system, OVERALL, metric)
        if not times or e is None:
            continue
        streamed = streamed or bool(first)
        look, seconds = looks[system], math.fsum(times) / len(times)
        drawn = panel.errorbar(
            [seconds],
            [e.value],
            yerr=error_of(e),
            fmt=look.marker,
            color=look.colour,
            capsize=2,
            mfc=look.colour if first else "white",
        )
        handles.append(drawn)
        labels.append(names[system] + (" (server VAD)" if system in by_vad else ""))
    if not handles:
        plt.close(figure)
        return "no system has both a score and a measured latency"
    panel.margins(x=0.08)
    panel.set_xlim(left=-0.02 * panel.get_xlim()[1])
    panel.set_xlabel("first-audio latency, s (hollow: response time)" if streamed else "response time, s")
    panel.set_ylabel(axis_label(metric_title(metric), 0.6 * min(width, 4.2)))
    # Names in the figure would stand on error bars.
    legend_below(figure, handles, labels)
    return figure


def draw_radar(plt: Any, runs: MergedRuns, width: float, font: str | None) -> Any:
    """Draw the headline metric by task as a radar; its area has no meaning, so prefer the forest."""
    from matplotlib.ticker import MaxNLocator

    metric = board_of(runs).headline
    tasks = tasks_with(board_of(runs), metric)
    if len(tasks) < 3:
        return f"a radar needs at least three tasks with the headline; the runs have {len(tasks)}"
    systems = by_role(board_of(runs), metric)["system"]
    means = {s: [estimate_of(runs, s, task, metric) for task in tasks] for s in systems}
    found = {s: [e.value for e in row if e is not None] for s, row in means.items()}
    drawn = [s for s in systems if len(found[s]) == len(tasks)]
    if not drawn:
        return "no system has a value in every task"
    left_out = len(drawn) - MOST_ON_RADAR
    drawn = drawn[:MOST_ON_RADAR]
    angles = [2 * math.pi * n / len(tasks) for n in range(len(tasks))]
    size = min(width, 4.0)
    figure, panel = plt.subplots(
        subplot_kw={"projection": "polar"}, layout="constrained", figsize=(width, size + 0.25)
    )
    names, looks = shown_names(drawn, font), looks_of(runs)
    for system in drawn:
        look, points = looks[system], found[system]
        panel.plot(
            [*angles, angles[0]],
            [*points, points[0]],
            look.line,
            marker=look.marker,
            markersize=3.5,
            linewidth=1.1,
            color=look.colour,
            label=names[system],
            clip_on=False,
        )
    panel.set_theta_offset(math.pi / 2)
    panel.set_theta_direction(-1)
    panel.set_xticks(angles, [title_of(runs, task, font) for task in tasks])
    values = [value for system in drawn for value in found[system]]
    lowest, highest = min(values), max(values)
    # A scale that begins near the lowest value keeps lines apart; the centre is printed, because it is not 0.
    step = 10.0 ** math.floor(math.log10((highest - lowest) or 1.0))
    centre = math.floor((lowest - 0.25 * ((highest - lowest) or 1.0)) / step) * step
    panel.set_ylim(centre, highest)
    # The numbers of the scale stand between two axes, where fewest lines pass.
    panel.set_rlabel_position(180 / len(tasks))
    panel.tick_params(axis="y", labelsize=6, labelcolor="0.35")
    ticks = MaxNLocator(4).tick_values(centre, highest)
    panel.set_yticks([tick for tick in ticks if centre < tick <= highest])
    panel.spines["polar"].set_visible(False)
    handles, labels = panel.get_legend_handles_labels()
    legend_below(figure, handles, labels)
    more = f"; {left_out} more in the forest" if left_out > 0 else ""
    title = f"{metric_title(metric)}; the centre is {number_text(centre, 0)}, the area has no meaning{more}"
    figure.suptitle(axis_label(title, width), fontsize=8)
    figure.get_layout_engine().set(h_pad=0.14)  # titles of tasks stand outside of the circle
    return figure


def draw_trend(plt: Any, runs: MergedRuns, width: float, font: str | None, *, stages: Sequence[str]) -> Any:
    """Draw the headline metric over checkpoints, one line per task, with the interval of all tasks."""
    if len(stages) < 2:
        return "" if not stages else "a trend needs at least two systems"
    metric = board_of(runs).headline
    figure, panel = plt.subplots(layout="constrained", figsize=(width, 0.7 * min(width, 4.4)))
    for number, task in enumerate(board_of(runs).columns(metric)):
        look = look_of(2 if task == OVERALL else number + (number > 1))
        means = [(x, estimate_of(runs, system, task, metric)) for x, system in enumerate(stages)]
        found = [(x, e) for x, e in means if e is not None]
        if not found:
            continue
        panel.plot(
            [x for x, _ in found],
            [e.value for _, e in found],
            look.line,
            color=look.colour,
            marker=look.marker,
            linewidth=2 if task == OVERALL else 1.1,
            label=title_of(runs, task, font),
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
    narrow = width < 5
    panel.set_xticks(
        range(len(stages)),
        [names[s] for s in stages],
        rotation=30 if narrow else 0,
        ha="right" if narrow else "center",
    )
    panel.set_ylabel(f"{metric_title(metric)}")
    handles, labels = panel.get_legend_handles_labels()
    legend_below(figure, handles, labels)
    return figure
