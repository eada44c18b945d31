"""The last day of a judge's model: read from the server's list or the shipped table, recorded and printed."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli.run import run
from echat_eval.judge import JudgeClient, load_judge
from echat_eval.judge.retirement import last_day, retirement_line, retirement_note
from echat_eval.leaderboard.notes import retirement_notes
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing import ScriptedChatClient, ScriptedChatServer
from tests.support.scripted_judge import fitting


class Listed(ScriptedChatClient):
    """A server whose list of models has an entry."""

    entry: Any = None

    async def listed_model(self) -> Any:
        return self.entry


def day_of(entry: Any, model: str = "m-2026-01-01") -> date | None:
    client = Listed(lambda _: "", model=model)
    client.entry = entry
    judge_client = JudgeClient(load_judge("echat-r1"), client)  # type: ignore[arg-type]
    judge_client.server_identity()
    return last_day(judge_client)


@pytest.mark.parametrize("entry", [None, {}, {"shutdown_date": None}, {"shutdown_date": "soon"}])
def test_without_a_date_of_the_server_the_table_counts(entry: Any) -> None:
    assert day_of(entry) is None
    assert day_of(entry, "gpt-4o-2024-11-20") == date(2027, 1, 14)


def test_the_date_of_the_server_comes_first() -> None:
    assert day_of({"shutdown_date": "2027-02-01"}, "gpt-4o-2024-11-20") == date(2027, 2, 1)


def test_lines_name_the_model_the_days_and_the_command() -> None:
    day = date(2027, 1, 14)
    assert "45 days from now; link its successor" in retirement_line("m", day, date(2026, 11, 30))
    assert "2027-01-14, 1 day from now" in retirement_line("m", day, date(2027, 1, 13))
    gone = retirement_line("m", day, date(2027, 2, 1))
    assert "was served until 2027-01-14; a run folder with its verdicts can still be linked" in gone
    assert "--link m" in gone
    assert "--link m" in retirement_note("m", "2027-01-14")


def test_a_run_warns_records_the_day_and_prints_it_below_its_leaderboard(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ScriptedChatServer(fitting, models=["m-2026-01-01"]) as server:
        server.shutdown_dates["m-2026-01-01"] = "2027-03-04"
        words = ["--data", str(tones), "--task", "emotion", "--system", "canned", "--annotator", "acoustics"]
        judge = ["--judge", "m-2026-01-01", "--judge-url", server.url, "--out", str(out)]
        done = CliRunner().invoke(run, [*words, *judge], standalone_mode=False)
    assert done.exception is None
    assert "warning: judge m-2026-01-01 is served until 2027-03-04" in done.output
    folder = RunFolder.existing(out)
    assert folder.manifest().retirements == {"m-2026-01-01": "2027-03-04"}
    assert retirement_notes([folder])[0] in done.output
    assert retirement_notes([folder])[0].partition(";")[0] in (out / "leaderboard.md").read_text()
