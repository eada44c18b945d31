"""Times of replies: by what ends a turn, by turn, and in every table beside the leaderboard."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.leaderboard.build import build_leaderboard
from echat_eval.leaderboard.reply_times import Quantiles, earlier_replies, times_of
from echat_eval.leaderboard.times_text import TIMES_TITLES, times_cells, times_csv, times_tables
from echat_eval.leaderboard.view import LeaderboardView
from echat_eval.records import Reply, Response
from echat_eval.report.provenance import provenance
from echat_eval.report.runs import merge_runs
from echat_eval.report.times_table import report_times
from echat_eval.store.manifest import SystemFacts
from echat_eval.store.run_folder import RunFolder
from tests.support.report_runs import data_of, make_page

SYSTEMS = {
    "chat": SystemFacts(settings={"model": "m"}),
    "exact": SystemFacts(settings={"turn": "commit", "pace": "real_time"}),
    "vad": SystemFacts(settings={"turn": "vad", "pace": "at_once"}),
}


def reply(seconds: float | None, **more: Any) -> Reply:
    return Reply(text="Yes.", first_audio_seconds=seconds, **more)


def response(system: str, name: str, last: Reply, *turns: Reply, cached: bool = False) -> Response:
    row = Response(key="", system=system, task="t", sample_id=name, state="value", reply=last, cached=cached)
    return replace(row, turns=turns or None)


def test_clocks_and_later_turns_are_apart() -> None:
    rows = [
        response("vad", "a", reply(0.7, first_audible_seconds=0.9, interruptions=2)),
        response("exact", "a", reply(0.3), reply(0.1), reply(0.2)),
        response("exact", "b", reply(0.5), reply(0.2)),
        response("chat", "a", reply(1.5)),
        response("chat", "b", reply(9.0), cached=True),
        response("chat", "c", reply(None)),
        response("of another run", "a", reply(0.1)),
    ]
    found = times_of(rows, SYSTEMS)
    assert [(t.system, t.clock, t.pace, t.turn, t.last_turn, t.n) for t in found] == [
        ("exact", "commit", "real_time", 1, 1, 2),
        ("exact", "commit", "real_time", 2, 3, 3),
        ("vad", "vad", "at_once", 1, 1, 1),
        ("chat", "request", None, 1, 1, 1),
    ]
    assert found[1].first_audio == pytest.approx((0.3, 0.46))  # of 0.2, 0.3 and 0.5
    assert found[1].first_audible is None
    assert found[1].interruptions is None
    assert (found[2].first_audible, found[2].interruptions) == (Quantiles(0.9, 0.9), 2)
    assert found[3].first_audio == Quantiles(1.5, 1.5)
    assert earlier_replies(rows) == {"exact": 3}
    assert times_cells(found[2], "floor") == ["vad (floor)", "1", "at once", "1", "0.70 (0.70)", "0.90 (0.90)", "-", "2"]  # fmt: skip
    assert times_cells(found[1], "system")[1] == "2 to 3"


def test_every_view_has_one_table_per_clock_and_the_earlier_replies(
    timed_run: RunFolder, tmp_path: Path
) -> None:
    board = build_leaderboard([timed_run])
    view = LeaderboardView(board=board)
    tables = times_tables(board)
    assert list(tables) == ["commit", "vad"]
    assert [[row[0] for row in table.rows] for table in tables.values()] == [["commit"] * 2, ["vad"] * 2]
    for text in (str(view), view._repr_html_(), view._repr_markdown_()):
        assert text.index("exact turns") < text.index("server VAD")
        assert "0.10 (0.10)" in text
        assert "earlier replies" in text
    names = {path.name for path in view.write(tmp_path / "out")}
    assert "reply_times.csv" in names
    assert "listening_gap.csv" not in names
    rows = list(csv.DictReader(io.StringIO(times_csv(board))))
    assert [(r["clock"], r["turn"], r["last_turn"], r["n"]) for r in rows][:2] == [
        ("commit", "1", "1", "2"),
        ("commit", "2", "3", "4"),
    ]
    assert float(rows[1]["first_audible_median"]) == pytest.approx(0.65)
    assert (tmp_path / "out" / "reply_times.csv").is_file()
    LeaderboardView(board=replace(board, times=())).write(tmp_path / "out")
    assert not (tmp_path / "out" / "reply_times.csv").exists()


def test_the_report_has_a_table_per_clock_with_its_rows(timed_run: RunFolder) -> None:
    runs = merge_runs([timed_run])
    assert runs.board is not None
    tables = report_times(runs.board)
    assert [table.name for table in tables] == ["reply-times-commit", "reply-times-vad"]
    assert tables[0].columns == TIMES_TITLES[1:]
    first = tables[0].blocks[0].rows[0]
    assert [cell.value for cell in first.cells][2:] == pytest.approx([2, 0.1, 0.35, 12, 0])
    facts = provenance(runs, tables)
    cell = next(cell for cell in facts["cells"] if cell["table"] == "reply-times-vad")
    traced = [facts["responses"][n] for a, b in cell["responses"] for n in range(a, b)]
    assert [(row[0], row[2]) for row in traced] == [("vad", "s0h"), ("vad", "s0s")]


def test_the_page_has_times_modes_and_turns(timed_run: RunFolder, tmp_path: Path) -> None:
    page = make_page([timed_run], tmp_path / "page")
    board = data_of(page, "board")
    assert {s["name"]: s["clock"] for s in board["systems"]} == {"commit": "commit", "vad": "vad", "text": "request"}  # fmt: skip
    assert [(table["clock"], len(table["rows"])) for table in board["times"]] == [("commit", 2), ("vad", 2)]
    assert board["earlier"] == {"commit": 4, "vad": 4, "text": 4}
    turn = data_of(page, "shard-0")[0]["replies"]["vad"]["turns"][1]
    assert (turn["first_audio_seconds"], turn["interruptions"]) == (pytest.approx(0.3), 0)
    assert turn["first_audible_seconds"] == pytest.approx(0.55)
