"""A leaderboard with its notes: as text, as a data frame, in a notebook, and as files."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from echat_eval.io.collector import collector_paused
from echat_eval.io.display import printable
from echat_eval.io.files import make_folder, write_atomically
from echat_eval.leaderboard.build import build_leaderboard
from echat_eval.leaderboard.gap_text import gap_csv, gap_tables
from echat_eval.leaderboard.notes import attribution_tables, secondary_lines
from echat_eval.leaderboard.plot import plot
from echat_eval.leaderboard.published import of_same_measure, published
from echat_eval.leaderboard.rank_text import rank_text
from echat_eval.leaderboard.render import (
    MARK,
    by_task_metrics,
    cell_text,
    markdown,
    metric_title,
    note_markdown,
    other_rows,
    other_titles,
    reading_notes,
    rows_of,
)
from echat_eval.leaderboard.table_rows import CSV_COLUMNS, csv_text, table_rows
from echat_eval.leaderboard.times_text import times_csv, times_tables
from echat_eval.store.settled import SIDE_FILES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from echat_eval.leaderboard.build import Leaderboard
    from echat_eval.leaderboard.published import Published
    from echat_eval.leaderboard.text_table import TextTable
    from echat_eval.records import Metric
    from echat_eval.store.run_folder import RunFolder

__all__ = ["LeaderboardView", "side_files", "side_tables", "view_leaderboard"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LeaderboardView:
    """A leaderboard as a user reads it; a notebook shows it as a table.

    Attributes:
        board: the summaries.
        notes: lines below the tables, such as servers, cue gains and cost.
        published: published tables to show below, never ranked.
        attribution: error attribution, if replies have labels and verdicts.
    """

    board: Leaderboard
    notes: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    attribution: tuple[TextTable, ...] = ()

    @property
    def side_tables(self) -> list[TextTable]:
        """Return the tables below the leaderboard."""
        return [*side_tables(self.board), *self.attribution]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per system, task ("all": every task) and metric.

        Columns: system, role, task, metric, unit, value, low and high (95 % interval), n, clusters; failed,
        missing, not_applicable (numbers of rows); worst_case and best_case (the mean with the missing rows
        at their worst and best); rank_low and rank_high (95 % confidence set of the rank), rank (if the set
        has one rank only); share, share_low and share_high (of the way from chance to the oracle `reference`;
        in "all" the average of the tasks' shares); validated_against_people ("yes", "not shown" or "no" for
        metrics of a judge). The numbers are those of leaderboard.csv.
        """
        import pandas as pd

        return pd.DataFrame(table_rows(self.board), columns=list(CSV_COLUMNS))

    def write(self, folder: Path) -> list[Path]:
        """Write leaderboard.md, .csv, .png (with matplotlib) and the tables below; return the paths."""
        make_folder(folder)
        files = [folder / f"leaderboard.{ending}" for ending in ("md", "csv")]
        write_atomically(files[0], self._repr_markdown_())
        write_atomically(files[1], csv_text(self.board))
        figure = folder / "leaderboard.png"
        files += [figure] * plot(self.board, figure)
        for name, text in side_files(self.board).items():
            if text is None:  # that of an earlier leaderboard
                (folder / name).unlink(missing_ok=True)
            else:
                write_atomically(folder / name, text)
                files.append(folder / name)
        return files

    def _repr_markdown_(self) -> str:
        text = markdown(self.board, list(self.published))
        tables = ["\n".join(table.lines()) for table in self.side_tables]
        parts = [*tables, "\n".join(map(note_markdown, self.notes))]
        return "\n".join([text, *(f"{part}\n" for part in parts if part)])

    def _repr_html_(self) -> str:
        parts = []
        for metric in by_task_metrics(self.board):
            parts.append(f"<p><b>{escape(metric_title(metric))}</b>, mean and 95 % interval</p>")
            parts.append(self._by_task_frame(metric).to_html(index=False, escape=True, border=0))
        parts.append("<p>Other measures, over all tasks</p>")
        parts.append(self._others_frame().to_html(index=False, escape=True, border=0))
        for table in self.side_tables:
            parts.append(f"<p><b>{escape(table.caption)}</b></p>")
            parts.append(table.frame().to_html(index=False, escape=True, border=0))
            parts += [f"<p>{escape(note)}</p>" for note in table.notes]
        parts += [f"<p>{escape(note)}</p>" for note in (*reading_notes(self.board), *self.notes)]
        # The class keeps dollar signs in names from being shown as formulas.
        return "\n".join(['<div class="tex2jax_ignore mathjax_ignore">', *parts, "</div>"])

    def __str__(self) -> str:
        tables = []
        for metric in by_task_metrics(self.board):
            tables.append(f"{metric_title(metric)}, mean and 95 % interval")
            tables += [self._by_task_frame(metric).to_string(index=False), ""]
        tables += [
            "Other measures, over all tasks",
            self._others_frame().to_string(index=False),
        ]
        for table in self.side_tables:
            tables += ["", table.caption, table.frame().to_string(index=False), *table.notes]
        return printable("\n".join([*tables, "", *reading_notes(self.board), *self.notes]), keep="\n")

    __repr__ = __str__

    def _by_task_frame(self, metric: Metric) -> pd.DataFrame:
        """Return the cells of a metric by task, as shown; those of the headline with ranks."""
        import pandas as pd

        board, ranked = self.board, metric is self.board.headline
        rows = [
            [
                *([rank_text(board, name)] if ranked else []),
                name + MARK[role],
                *(cell_text(summary, metric) for summary in summaries),
            ]
            for name, role, summaries in rows_of(board, metric)
        ]
        columns = [*(["rank"] if ranked else []), "system", *board.columns(metric)]
        return pd.DataFrame(rows, columns=columns)

    def _others_frame(self) -> pd.DataFrame:
        """Return the counts of rows by state and the cells of the other metrics, as shown."""
        import pandas as pd

        rows = [[name + MARK[role], *cells] for name, role, cells in other_rows(self.board)]
        return pd.DataFrame(rows, columns=other_titles(self.board))


def side_tables(board: Leaderboard) -> list[TextTable]:
    """Return the tables below the leaderboard: listening gaps, and times of replies by what ends a turn."""
    return [*gap_tables(board), *times_tables(board).values()]


def side_files(board: Leaderboard) -> dict[str, str | None]:
    """Return the names of the files beside leaderboard.csv and their content, None where there is none."""
    texts = gap_csv(board) if board.gaps else None, times_csv(board) if board.times else None
    return dict(zip(SIDE_FILES, texts, strict=True))


def view_leaderboard(
    runs: Sequence[RunFolder],
    *,
    tables: Sequence[str] = (),
    within: float | None = None,
    headline: str | None = None,
) -> LeaderboardView:
    """Return the leaderboard of one or more run folders with its notes.

    Args:
        runs: run folders, or single systems of them.
        tables: names of published tables to show below, if the runs have the same measure.
        within, headline: as in `build_leaderboard`.

    Raises:
        UnknownName: no published table, or no metric, has this name.
        BadData: no scores, a system in two runs, or runs whose tasks, metrics or instruments differ.
    """
    requested = [published(name) for name in tables]
    with collector_paused():
        board = build_leaderboard(runs, within=within, headline=headline)
        shown, notes = of_same_measure(requested, board.metrics)
        lines = (*secondary_lines(runs, board.headline), *(f"- {note}" for note in notes))
        attribution = tuple(attribution_tables(runs, board.headline))
    return LeaderboardView(board=board, notes=lines, published=tuple(shown), attribution=attribution)
