"""A leaderboard as a plot."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from echat_eval.io.display import FIGURE_NAME_CHARACTERS, spelled, unique_labels
from echat_eval.io.files import write_atomically
from echat_eval.io.hashing import digest
from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.by_voice import reference_value
from echat_eval.leaderboard.render import MARK, heading, metric_title, rows_of
from echat_eval.leaderboard.table_rows import csv_text

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.leaderboard.build import Leaderboard
    from echat_eval.records import Metric
    from echat_eval.stats import Estimate

__all__ = ["drawn_columns", "plot"]


def drawn_columns(board: Leaderboard, metric: Metric) -> tuple[str, ...]:
    """Return the columns of a metric to draw: without "all" where its numbers are those of the only task."""
    columns = board.columns(metric)
    if len(columns) != 2 or columns[0] != OVERALL:
        return columns

    def estimates(column: str) -> list[Estimate | None]:
        found = (board.summaries.get((system, column, metric.name)) for system in board.roles)
        return [None if summary is None else summary.estimate for summary in found]

    return columns[1:] if estimates(columns[0]) == estimates(columns[1]) else columns


def plot(board: Leaderboard, path: Path) -> bool:
    """Draw the headline metric: one panel per task, one line per system, floors and ceilings in grey.

    An existing plot of the same board is kept, because drawing takes longer than everything else. Without
    matplotlib there is no plot, and that of an earlier board is removed; return whether there is one.
    """
    board_digest = _digest(board)
    if path.is_file() and board_digest.encode() in path.read_bytes()[:1024]:
        return True
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:  # the numbers of a run need no figure
        path.unlink(missing_ok=True)
        return False

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    metric = board.headline
    rows = list(rows_of(board, metric))
    columns = drawn_columns(board, metric)
    width = max(7.0, 1.9 * len(columns))
    figure, panels = plt.subplots(
        1,
        len(columns),
        sharex=True,
        sharey=True,
        figsize=(width, 1.3 + 0.42 * len(rows)),
        layout="constrained",
        squeeze=False,
    )
    for column, panel in zip(columns, panels[0], strict=True):
        for y, (name, role, _) in enumerate(rows):
            summary = board.summaries.get((name, column, metric.name))
            if summary is None or summary.estimate is None:
                middle = panel.get_yaxis_transform()  # the width of the panel, whatever its numbers
                panel.text(0.5, y, "n/a", transform=middle, ha="center", va="center", color="0.5", fontsize=8)
                continue
            e = summary.estimate
            colour, marker = (
                ("#0b5394", "o") if role == "system" else ("0.45", "s" if role == "floor" else "D")
            )
            if e.low is not None and e.high is not None:
                panel.plot([e.low, e.high], [y, y], color=colour, linewidth=2)
            panel.plot([e.value], [y], marker=marker, color=colour, markersize=6)
        panel.axvline(reference_value(metric), color="0.7", linewidth=0.8, linestyle="--", zorder=0)
        panel.set_title(board.titles.get(column, column), fontsize=9)
        panel.tick_params(labelsize=8)
        panel.tick_params(axis="y", length=0)
        panel.spines[["top", "right", "left"]].set_visible(False)
    # "$" would start a formula.
    short = unique_labels((name for name, _, _ in rows), FIGURE_NAME_CHARACTERS, spelled)
    labels = [short[name].replace("$", r"\$") + MARK[role] for name, role, _ in rows]
    panels[0][0].set_yticks(range(len(rows)), labels, fontsize=8)
    panels[0][0].invert_yaxis()
    figure.supxlabel(f"{metric_title(metric)}, mean and 95 % interval", fontsize=9)
    with io.BytesIO() as image:
        figure.savefig(image, format="png", dpi=160, metadata={"Description": board_digest})
        plt.close(figure)
        write_atomically(path, image.getvalue())
    return True


def _digest(board: Leaderboard) -> str:
    """Return the hash of everything that the plot of a board shows."""
    return digest("plot 2", [csv_text(board), heading(board, board.headline), metric_title(board.headline)])
