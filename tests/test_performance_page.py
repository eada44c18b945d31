"""The page on performance quotes the results that lie in bench/results, figure by figure."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_quotes_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "bench"), *sys.path])
    from kill_rows import lines_of
    from speed_table import summarise, table

    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    speed, kill = (
        json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text()) for name in ("speed", "kill")
    )
    assert table(speed) in page
    assert speed["summary"] == summarise(speed["cases"])
    assert lines_of(kill) in page
