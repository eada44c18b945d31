"""A trend over many runs: one figure and one table, with change points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.io.csv_cells import table_csv
from echat_eval.io.display import markdown_text, needs_chinese, number_text, printable
from echat_eval.plugins.packages import require_package
from echat_eval.report.figure_style import chinese_font, look_of, save_as, shown_names, styled, written
from echat_eval.report.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from echat_eval.analysis.change_points import Series

__all__ = ["trend_lines", "write_trend"]

FILES = ("trend.png", "trend.pdf", "trend.csv", "trend.md")
COLUMNS = ("metric", "task", "run", "mean", "low", "high", "change", "adjusted_p", "note")
#: Panels of a figure; the table has all metrics.
MOST_PANELS = 12
WIDTH, HEIGHT = 3.4, 2.0  # inches of a panel
#: Names of runs on an axis; of more runs, some are left out.
MOST_NAMES = 8


def write_trend(series: Sequence[Series], runs: Sequence[str], out: Path, notes: Sequence[str]) -> list[Path]:
    """Write trend.png, trend.pdf, trend.csv and trend.md; return their paths.

    Args:
        series: of every metric.
        runs: names of all runs, in order.
        out: absent, empty, or an earlier trend.
        notes: lines below the table.

    Raises:
        UsageError: the folder has other files.
        NotInstalled: matplotlib is missing.
    """
    require_package("matplotlib", "figures need")
    outlet = Outlet(out, FILES)
    outlet.check()
    outlet.write("trend.csv", table_csv(COLUMNS, _rows(series, runs)))
    outlet.write("trend.md", _markdown(series, runs, notes))
    font = chinese_font()
    chinese = any(map(needs_chinese, (*runs, *(found.metric for found in series))))
    with styled(font if chinese else None) as plt:
        save_as(_figure(plt, series[:MOST_PANELS], runs, font), outlet, "trend")
    outlet.close()
    return [out / name for name in FILES]


def _rows(series: Sequence[Series], runs: Sequence[str]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for found in series:
        means = dict(zip(found.runs, found.means, strict=True))
        changes = {change.run: change for change in found.changes}
        for run in runs:
            row: dict[str, object] = dict.fromkeys(COLUMNS)
            row |= {"metric": found.metric, "task": found.task, "run": run}
            if run in means:
                row |= {"mean": means[run].value, "low": means[run].low, "high": means[run].high}
            row["note"] = found.left_out.get(run, "")
            if run in changes:
                row |= {"change": changes[run].change, "adjusted_p": changes[run].p}
            rows.append(row)
    return rows


def _markdown(series: Sequence[Series], runs: Sequence[str], notes: Sequence[str]) -> str:
    lines = [f"# Trend over {len(runs)} runs", ""]
    lines += ["| metric | first | last | change points: change (adjusted p) | samples | runs |"]
    lines += ["|---|--:|--:|---|--:|--:|"]
    for found in series:
        changes = "; ".join(_change(found, number) for number in range(len(found.changes))) or "none"
        cells = [
            markdown_text(_title(found)),
            number_text(found.means[0].value, 2),
            number_text(found.means[-1].value, 2),
            markdown_text(changes),
            str(found.n),
            str(len(found.runs)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "A change above 0 is better. Means are over the samples with a value in every run of the row.",
        "",
    ]
    left_out = _left_out(series)
    return "\n".join([*lines, *(f"- {markdown_text(line)}" for line in (*left_out, *notes))]).rstrip() + "\n"


def _title(found: Series) -> str:
    return found.metric if found.task is None else f"{found.metric}, {found.task}"


def _change(found: Series, number: int) -> str:
    change = found.changes[number]
    return f"{change.run} {number_text(change.change, 2, signed=True)} ({change.p:.2g})"


def _left_out(series: Sequence[Series]) -> list[str]:
    """Return one line per run that a series lacks."""
    lines: dict[str, None] = {}
    for found in series:
        lines |= {f"{_title(found)}: without {run}, where {why}": None for run, why in found.left_out.items()}
    return list(lines)


def trend_lines(series: Sequence[Series], runs: Sequence[str], notes: Sequence[str]) -> list[str]:
    """Return the change points for a terminal: one line per metric."""
    lines = [f"{len(runs)} runs, {printable(runs[0])} to {printable(runs[-1])}; above 0 is better"]
    for found in series:
        changes = "; ".join(_change(found, number) for number in range(len(found.changes)))
        means = " -> ".join(number_text(found.means[place].value, 2) for place in (0, -1))
        lines.append(
            f"  {printable(_title(found)):<28} {means:<18} {printable(changes) or 'no change point'}"
        )
    return [*lines, *(f"note: {printable(line)}" for line in (*_left_out(series), *notes))]


def _figure(plt: Any, series: Sequence[Series], runs: Sequence[str], font: str | None) -> Any:
    """Draw one panel per metric: means with intervals, and a line where a metric changed."""
    columns = min(2, len(series))
    rows = -(-len(series) // columns)
    figure, panels = plt.subplots(
        rows, columns, squeeze=False, layout="constrained", figsize=(WIDTH * columns, HEIGHT * rows)
    )
    names = shown_names(runs, font)
    place = {run: number for number, run in enumerate(runs)}
    for panel, found in zip(panels.flat, series, strict=False):
        look = look_of(0)
        x = [place[run] for run in found.runs]
        panel.plot(
            x, [mean.value for mean in found.means], look.line, color=look.colour, marker=".", zorder=3
        )
        bounded = [
            (at, e) for at, e in zip(x, found.means, strict=True) if e.low is not None and e.high is not None
        ]
        panel.fill_between(
            [at for at, _ in bounded], [e.low for _, e in bounded], [e.high for _, e in bounded], color="0.85"
        )
        for change in found.changes:
            panel.axvline(place[change.run] - 0.5, color=look_of(4).colour, linewidth=1)
            panel.annotate(
                number_text(change.change, 2, signed=True),
                (place[change.run] - 0.5, 1),
                xycoords=("data", "axes fraction"),
                xytext=(2, -8),
                textcoords="offset points",
                fontsize=7,
                color=look_of(4).colour,
            )
        for run in found.left_out:
            panel.axvline(place[run], color="0.6", linestyle=":", linewidth=1)
        step = -(-len(runs) // MOST_NAMES)
        ticks = range(0, len(runs), step)
        panel.set_xticks(list(ticks), [names[runs[at]] for at in ticks], rotation=30, ha="right", fontsize=7)
        panel.set_xlim(-0.5, len(runs) - 0.5)
        panel.set_title(written(_title(found), font), fontsize=8)
    for panel in list(panels.flat)[len(series) :]:
        panel.axis("off")
    return figure
