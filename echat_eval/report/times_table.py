"""Times of replies as tables of a report, one per clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.times_text import TIMES_TITLES, times_cells, times_tables
from echat_eval.report.cells import NOT_APPLICABLE, Block, Table, TableCell, TableRow

if TYPE_CHECKING:
    from echat_eval.leaderboard.build import Leaderboard
    from echat_eval.leaderboard.reply_times import Quantiles, ReplyTimes

__all__ = ["report_times"]


def report_times(board: Leaderboard) -> list[Table]:
    """Return the times of replies, one table per clock; empty without timed replies."""
    return [
        Table(
            name=f"reply-times-{clock}",
            caption=shown.caption,
            columns=TIMES_TITLES[1:],
            blocks=(Block(rows=tuple(_row(t, board) for t in board.times if t.clock == clock)),),
            notes=tuple(shown.notes),
        )
        for clock, shown in times_tables(board).items()
    ]


def _row(times: ReplyTimes, board: Leaderboard) -> TableRow:
    sources = {"replies": {"system": times.system, "task": OVERALL}}
    label, turns, pace, *texts = times_cells(times, board.roles[times.system])
    values = [
        times.n,
        *map(_median, (times.first_audio, times.first_audible)),
        None if times.round_trip is None else 1000 * times.round_trip.median,
        times.interruptions,
    ]
    return TableRow(
        label=label,
        cells=(
            TableCell(text=turns, sources=sources),
            TableCell(text=pace, sources=sources),
            *(_cell(text, value, sources) for text, value in zip(texts, values, strict=True)),
        ),
    )


def _median(found: Quantiles | None) -> float | None:
    return None if found is None else found.median


def _cell(text: str, value: float | None, sources: dict[str, Any]) -> TableCell:
    return TableCell(
        text=text,
        value=value,
        state="not applicable" if text == NOT_APPLICABLE else "value",
        sources=sources,
    )
