"""Drawings of one metric by system and task: forest, bars, heat map. Each returns a figure, or a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.by_voice import reference_value
from echat_eval.leaderboard.plot import drawn_columns
from echat_eval.leaderboard.render import MARK, by_role, estimate_text, metric_title
from echat_eval.records import ROLES
from echat_eval.report.figure_style import axis_label, legend_below, look_of, shown_names
from echat_eval.report.figure_values import (
    CHANCE,
    board_of,
    error_of,
    estimate_of,
    has_chance,
    looks_of,
    title_of,
    without_values,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from echat_eval.records import Metric
    from echat_eval.report.runs import MergedRuns
    from echat_eval.stats import Estimate

__all__ = ["draw_bars", "draw_forest", "draw_heat_map"]

GREY = "0.45"
INTERVAL = "mean and 95 % interval"
ERROR_BAR = {"fmt": "none", "color": "0.15", "capsize": 1.2, "elinewidth": 0.8}
#: Narrower figures are for one column of a paper.
COLUMN = 5.0
#: Inches of a character of a label (7 points), and the width of a digit in its own size.
CHARACTER, LETTER = 0.056, 0.55
#: Points of the smallest letters in a cell.
SMALLEST = 4.5


def draw_forest(plt: Any, runs: MergedRuns, width: float, font: str | None, *, metric: Metric) -> Any:
    """Draw one panel per task and one line per system; floors and ceilings are hollow and grey."""
    if reason := without_values(runs, metric):
        return reason
    board = board_of(runs)
    tasks = drawn_columns(board, metric)
    tasks = (OVERALL,) if width <= COLUMN and OVERALL in tasks else tasks
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
        panel.axvline(reference_value(metric), color="0.6", linewidth=0.8, zorder=0)
        for y, (system, role) in enumerate(rows):
            e = estimate_of(runs, system, task, metric)
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
                xerr=error_of(e),
                fmt={"system": "o", "floor": "s", "ceiling": "D"}[role],
                color=colour,
                mfc=colour if role == "system" else "white",
                capsize=2,
                elinewidth=1.2,
            )
        panel.set_title(title_of(runs, task, font))
    names = shown_names([s for s, _ in rows], font)
    panels[0][0].set_yticks(range(len(rows)), [names[s] + MARK[role] for s, role in rows])
    panels[0][0].invert_yaxis()
    figure.supxlabel(axis_label(f"{metric_title(metric)}, {INTERVAL}", width), fontsize=8)
    return figure


def draw_bars(plt: Any, runs: MergedRuns, width: float, font: str | None, *, metric: Metric) -> Any:
    """Draw systems by task as bars from zero with intervals, and floors and ceilings as lines."""
    if reason := without_values(runs, metric):
        return reason
    board = board_of(runs)
    tasks = drawn_columns(board, metric)
    roles = by_role(board, metric)
    figure, panel = plt.subplots(layout="constrained", figsize=(width, 1.9 if width < COLUMN else 2.4))
    names = shown_names([s for group in roles.values() for s in group], font)
    looks = looks_of(runs)
    handles, labels = [], []
    count = len(roles["system"])
    bar = 0.8 / max(1, count)
    for number, system in enumerate(roles["system"]):
        look, shift = looks[system], (number - (count - 1) / 2) * bar
        found = [(x + shift, estimate_of(runs, system, task, metric)) for x, task in enumerate(tasks)]
        means = [(place, mean) for place, mean in found if mean is not None]
        if not means:
            continue
        drawn = panel.bar(
            [place for place, _ in means],
            [mean.value for _, mean in means],
            bar * 0.92,
            color=look.fill,
            hatch=look.hatch,
            edgecolor=look.outline,
            linewidth=0.4,
        )
        for place, mean in means:
            if (error := error_of(mean)) is not None:
                panel.errorbar([place], [mean.value], yerr=error, **ERROR_BAR)
        handles.append(drawn)
        labels.append(names[system])
    references = [(system, role) for role in ("floor", "ceiling") for system in roles[role]]
    for number, (system, role) in enumerate(references):
        # Lines of equal height hide each other, so each has a marker at a place of its own.
        place, line = 0.84 * (number + 0.5) / len(references) - 0.42, None
        for x, task in enumerate(tasks):
            if (e := estimate_of(runs, system, task, metric)) is not None:
                (line,) = panel.plot(
                    [x - 0.46, x + place, x + 0.46],
                    [e.value] * 3,
                    {"floor": "--", "ceiling": ":"}[role],
                    color=str(0.25 + 0.2 * (number % 3)),
                    linewidth=0.9,
                    marker=look_of(number).marker,
                    markersize=3,
                    markevery=[1],
                    mfc="white",
                    zorder=3.5,
                )
        if line is not None:
            handles.append(line)
            labels.append(names[system] + MARK[role])
    panel.axhline(0, color="black", linewidth=0.8)
    if has_chance(metric):
        handles.append(panel.axhline(CHANCE, color="#D55E00", linewidth=0.8, zorder=3))
        labels.append("chance")
    panel.grid(axis="x", visible=False)
    narrow = width < COLUMN
    panel.set_xticks(
        range(len(tasks)),
        [title_of(runs, t, font) for t in tasks],
        rotation=30 if narrow else 0,
        ha="right" if narrow else "center",
    )
    panel.set_ylabel(axis_label(metric_title(metric), 1.9 if narrow else 2.4))
    legend_below(figure, handles, labels)
    return figure


def draw_heat_map(plt: Any, runs: MergedRuns, width: float, font: str | None, *, metric: Metric) -> Any:
    """Draw systems x tasks as cells with mean and interval; darker is better."""
    if reason := without_values(runs, metric):
        return reason
    board = board_of(runs)
    tasks, roles = drawn_columns(board, metric), by_role(board, metric)
    rows = [(system, role) for role in ROLES for system in roles[role]]
    found = {(s, t): estimate_of(runs, s, t, metric) for s, _ in rows for t in tasks}
    values = [e.value for e in found.values() if e is not None]
    names = {s: name + MARK[role] for (s, role), name in zip(rows, _names(rows, font), strict=True)}
    cells = {key: _cell(e, metric.digits) for key, e in found.items()}
    room = (width - CHARACTER * max(map(len, names.values()))) / len(tasks)
    size = _fitting(cells.values(), room)
    bounded = size >= SMALLEST
    if not bounded:  # the intervals are in the figure of the page's width and in the tables
        cells = {key: text.partition("\n")[0] for key, text in cells.items()}
        size = _fitting(cells.values(), room)
    height = 0.31 if bounded else 0.22
    figure, panel = plt.subplots(layout="constrained", figsize=(width, 0.9 + height * len(rows)))
    lowest, span = min(values), (max(values) - min(values)) or 1.0
    colours = plt.get_cmap("Blues" if metric.higher_is_better else "Blues_r")
    for y, (system, _) in enumerate(rows):
        for x, task in enumerate(tasks):
            e = found[system, task]
            # The darkest and the lightest fifths are left out, so that text is legible on every cell.
            share = None if e is None else 0.08 + 0.72 * (e.value - lowest) / span
            panel.add_patch(
                plt.Rectangle(
                    (x - 0.5, y - 0.5),
                    1,
                    1,
                    facecolor="white" if share is None else colours(share),
                    edgecolor="white",
                    linewidth=1.2,
                )
            )
            dark = share is not None and (share > 0.5) == metric.higher_is_better
            panel.text(
                x,
                y,
                cells[system, task],
                ha="center",
                va="center",
                fontsize=size,
                linespacing=1.15,
                color="white" if dark else "black",
            )
    panel.set_xlim(-0.5, len(tasks) - 0.5)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    titles = [title_of(runs, task, font) for task in tasks]
    slanted = max(map(len, titles)) * CHARACTER > room
    slant = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    panel.set_xticks(range(len(tasks)), titles, **slant)
    panel.set_yticks(range(len(rows)), list(names.values()))
    panel.tick_params(length=0)
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)
    figure.suptitle(
        axis_label(f"{metric_title(metric)}, {INTERVAL if bounded else 'mean'}; darker is better", width),
        fontsize=8,
    )
    return figure


def _names(rows: Sequence[tuple[str, str]], font: str | None) -> list[str]:
    return list(shown_names([system for system, _ in rows], font).values())


def _fitting(texts: Iterable[str], inches: float) -> float:
    """Return the points of letters with which the longest line of texts fits a width, at most 6."""
    longest = max(len(line) for text in texts for line in text.splitlines())
    return min(6.0, 72 * inches / (LETTER * longest + 0.6))


def _cell(e: Estimate | None, digits: int) -> str:
    """Return a mean with its interval below it."""
    if e is None:
        return "n/a"
    return estimate_text(e, digits).replace(" [", "\n[")
