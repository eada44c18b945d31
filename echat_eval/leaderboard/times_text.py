"""Times of replies as tables, one per clock, for terminal, notebook, Markdown, CSV, report and page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.io.csv_cells import table_csv
from echat_eval.io.display import number_text
from echat_eval.io.phrase import joined, phrase
from echat_eval.leaderboard.render import MARK
from echat_eval.leaderboard.reply_times import ENDS
from echat_eval.leaderboard.text_table import TextTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.leaderboard.build import Leaderboard
    from echat_eval.leaderboard.reply_times import Clock, Quantiles, ReplyTimes

__all__ = ["TIMES_TITLES", "times_cells", "times_csv", "times_tables"]

_CAPTIONS: Mapping[Clock, str] = {
    "commit": "First audio, exact turns: seconds from the end of the query, median (90th percentile)",
    "vad": "First audio, server VAD: seconds from the end of the query, median (90th percentile)",
    "request": "First audio, whole requests: seconds from the request, median (90th percentile)",
}
#: Meaning of the numbers of a clock.
_NOTES: Mapping[Clock, str] = {
    "commit": "Exact turns: the client ends the turn where the recording ends (turn=commit).",
    "vad": "Server VAD: the server detects the end of the turn (turn=vad); the pause that it needs is part "
    "of these times.",
    "request": "Whole requests: the system gets the recording at once, as a request.",
}
_READING = (
    "n: replies with a time. Audio, audible: the first sample, and the first audible one. Trip: the "
    "network's round trip, part of these times. Breaks: replies that the system began and broke off before "
    "these."
)
TIMES_TITLES = ("system", "turns", "pace", "n", "audio", "audible", "trip, ms", "breaks")
CSV_COLUMNS = (
    "system",
    "role",
    "clock",
    "pace",
    "turn",
    "last_turn",
    "n",
    *(
        f"{name}_{quantile}"
        for name in ("first_audio", "first_audible", "round_trip")
        for quantile in ("median", "p90")
    ),
    "interruptions",
)


def times_tables(board: Leaderboard) -> dict[Clock, TextTable]:
    """Return one table per clock with timed replies; the last has the note on all of them."""
    clocks = [clock for clock in ENDS if any(times.clock == clock for times in board.times)]
    return {
        clock: TextTable(
            caption=_CAPTIONS[clock],
            titles=TIMES_TITLES,
            rows=[times_cells(t, board.roles[t.system]) for t in board.times if t.clock == clock],
            notes=[phrase(_NOTES[clock]), *([phrase(_READING)] if clock == clocks[-1] else [])],
            texts=3,
        )
        for clock in clocks
    }


def times_cells(times: ReplyTimes, role: str) -> list[str]:
    """Return the texts of a row under `TIMES_TITLES`."""
    turns = str(times.turn)
    if times.turn != times.last_turn:
        turns = phrase("{low} to {high}", low=turns, high=str(times.last_turn))
    return [
        joined("", [times.system, phrase(MARK[role])]),
        turns,
        (times.pace or "-").replace("_", " "),
        str(times.n),
        _text(times.first_audio, 1, 2),
        _text(times.first_audible, 1, 2),
        _text(times.round_trip, 1000, 0),
        "-" if times.interruptions is None else str(times.interruptions),
    ]


def _text(found: Quantiles | None, factor: float, digits: int) -> str:
    if found is None:
        return "-"
    return f"{number_text(factor * found.median, digits)} ({number_text(factor * found.ninety, digits)})"


def times_csv(board: Leaderboard) -> str:
    """Return one line per system, clock and range of turns; times in seconds."""
    return table_csv(CSV_COLUMNS, [_row(times, board.roles[times.system]) for times in board.times])


def _row(times: ReplyTimes, role: str) -> dict[str, object]:
    row: dict[str, object] = {
        "system": times.system,
        "role": role,
        "clock": times.clock,
        "pace": times.pace,
        "turn": times.turn,
        "last_turn": times.last_turn,
        "n": times.n,
        "interruptions": times.interruptions,
    }
    for name in ("first_audio", "first_audible", "round_trip"):
        found: Quantiles | None = {
            "first_audio": times.first_audio,
            "first_audible": times.first_audible,
            "round_trip": times.round_trip,
        }[name]
        row[f"{name}_median"] = None if found is None else found.median
        row[f"{name}_p90"] = None if found is None else found.ninety
    return row
