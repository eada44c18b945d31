"""docs/runs.md shows the committed result of the bench of ranks."""

from __future__ import annotations

import json
from pathlib import Path

from bench.stats import ranks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "runs.md"


def test_the_table_of_ranks_is_that_of_the_result() -> None:
    worlds = json.loads(ranks.RESULTS.read_text(encoding="utf-8"))["worlds"]
    assert ranks.table(worlds) in PAGE.read_text(encoding="utf-8")
    assert all(world["coverage"] >= 95 for world in worlds)
