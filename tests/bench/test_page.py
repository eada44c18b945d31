"""The bench of the page, on few samples: each step of its visit works, and a sound that replies share is stored once."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from bench.report.page import measure


@pytest.mark.skipif(
    shutil.which("chromium") is None or importlib.util.find_spec("playwright") is None,
    reason="needs chromium (Debian: apt-get install chromium) and playwright (pip install playwright)",
)
@pytest.mark.slow
def test_a_page_of_more_samples_than_sounds_is_measured(tmp_path: Path) -> None:
    found = measure(tmp_path, samples=500, repeats=1)
    assert found["reached"], found
    assert set(found["steps_ms"]) >= {
        "search",
        "sort",
        "second metric",
        "scroll",
        "next sample",
        "side by side",
    }
    assert 0 < found["heap_mib"] < found["page_mib"] < found["browser_mib"]
    sounds = list((tmp_path / "out" / "page" / "audio").iterdir())
    assert len(sounds) == 1, (
        "one voice of all replies; the task does not state that its queries may be passed on"
    )
