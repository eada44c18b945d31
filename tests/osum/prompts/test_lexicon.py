"""How wrong the lexicon for natural-language think is, on forty think texts written by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from echat_eval.labels import CUES
from echat_eval.osum.prompts.lexicon import find_cues

ROOT = Path(__file__).resolve().parents[3]
CASES = [json.loads(line) for line in (Path(__file__).parent / "think_cases.jsonl").read_text().splitlines()]


def errors(cue: str) -> tuple[int, int, int]:
    """Return (named and read wrong or not at all, named, read where nothing was named)."""
    named = [case for case in CASES if cue in case]
    wrong = sum(find_cues(case["think"]).get(cue, "none") != case[cue] for case in named)
    invented = sum(cue in find_cues(case["think"]) for case in CASES if cue not in case)
    return wrong, len(named), invented


@pytest.mark.parametrize("cue", CUES)
def test_the_documented_error_is_the_measured_one(cue: str) -> None:
    wrong, named, invented = errors(cue)
    page = (ROOT / "docs" / "osum-echat.md").read_text(encoding="utf-8")
    stated = re.search(rf"\| {cue} \| (\d+) of (\d+) \| (\d+) of (\d+) \|", page)
    assert stated, f"docs/osum-echat.md does not state the lexicon's error on {cue}"
    assert tuple(map(int, stated.groups())) == (wrong, named, invented, len(CASES) - named)


def test_words_about_the_reply_to_come_are_not_heard_cues() -> None:
    assert find_cues("用户想聊天。我应该用开心的语气回复,像孩子一样。") == {}
    assert find_cues("I should reply in a happy voice.") == {}


@pytest.mark.parametrize("text", ["他没有生气", "the user is not angry", "并非老人"])
def test_what_is_denied_is_not_heard(text: str) -> None:
    assert not {"anger", "old"} & set(find_cues(text).values())
