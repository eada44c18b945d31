"""The report on a task: a page with plots, JSON, and lines that fit a terminal."""

from __future__ import annotations

import json
from pathlib import Path

from echat_eval.checks.task_check import check_folder
from echat_eval.checks.task_report import write_report
from echat_eval.checks.task_text import check_lines
from tests.support.planted_task import write_planted


def test_page_json_and_lines_have_the_findings(tmp_path: Path) -> None:
    folder = write_planted(
        tmp_path / "mood",
        8,
        change=lambda group, place, row: row.update(
            transcript=f"<b>{group}</b> & words", speaker=f"p{group % 2}"
        ),
        sound=lambda group, place: {"seconds": 0.3 + 0.1 * place},
    )
    checked = check_folder(folder)
    for _ in range(2):  # a second report replaces the first
        write_report(checked, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    facts = json.loads((tmp_path / "report" / "check.json").read_text())
    lines = check_lines(checked)
    assert facts["refused"]
    assert [f["check"] for f in facts["findings"] if f["state"] == "fault"] == ["duration"]
    assert "emotion from duration" in page
    assert "<b>0</b>" not in page
    assert "<script" not in page
    assert {path.stem for path in (tmp_path / "report").glob("*.png")} == {"recalls", "recordings", "labels"}
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("  FAULT        emotion from duration: recall 100.0 %") for line in lines)
    assert len(check_lines(checked, every=True)) > len(lines)
