"""docs/performance.md quotes the results in bench/results."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_performance_page_quotes_the_results() -> None:
    from bench.kill.rows import lines_of
    from bench.realtime.run import lines_of as live_lines
    from bench.report.page import lines_of as page_lines
    from bench.runner.table import summarise, table
    from bench.tables.run import lines_of as table_lines

    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    speed, kill = (
        json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text()) for name in ("speed", "kill")
    )
    assert table(speed) in page
    assert speed["summary"] == summarise(speed["cases"])
    assert lines_of(kill) in page
    tables = json.loads((ROOT / "bench" / "results" / "tables.json").read_text())
    assert table_lines(tables) in page
    live = json.loads((ROOT / "bench" / "results" / "realtime.json").read_text())
    assert live_lines(live) in page
    assert page_lines(json.loads((ROOT / "bench" / "results" / "page.json").read_text())) in page
