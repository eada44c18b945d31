"""The pages on test sets show the committed results of their benches."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "examples" / "build-testset" / "README.md").read_text(encoding="utf-8")


def result(name: str) -> dict[str, object]:
    found = json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_the_reasons_of_a_small_model_are_those_of_the_result() -> None:
    found = result("testset-small-model")
    dropped = found["dropped"]
    assert isinstance(dropped, dict)
    text = README.partition("## With a small model")[2]
    rows = re.findall(r"^\| (`.*?`) \| (\d+) \|", text, re.MULTILINE)
    shown = {tuple(re.findall(r"`(.+?)`", names)): int(count) for names, count in rows}
    assert {name for names in shown for name in names} == set(dropped)
    for names, count in shown.items():
        assert count == sum(dropped[name] for name in names)
    assert f"In {found['answers']} answers" in text
    assert f"left {found['left']} sentences" in " ".join(text.split())


def test_the_time_of_forty_groups_is_that_of_the_result() -> None:
    found = result("testset")
    text = " ".join(README.split())
    for shown in (
        f"{found['groups']} groups of 40",
        f"{found['processor_seconds']:.0f} s of processor time",
        f"{found['wall_seconds']:.0f} s on the clock",
        f"with nothing to do, took {found['again_wall_seconds']} s",
    ):
        assert shown in text, shown
