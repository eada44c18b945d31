"""The error of the lexicon for natural-language think text, on forty hand-written think texts."""

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
    """Return (cues read wrong or not found, labelled cues, cues found without a label)."""
    labelled = [case for case in CASES if cue in case]
    wrong = sum(find_cues(case["think"]).get(cue, "none") != case[cue] for case in labelled)
    invented = sum(cue in find_cues(case["think"]) for case in CASES if cue not in case)
    return wrong, len(labelled), invented


@pytest.mark.parametrize("cue", CUES)
def test_documented_error_matches_the_measured_error(cue: str) -> None:
    wrong, labelled, invented = errors(cue)
    page = (ROOT / "docs" / "osum-echat.md").read_text(encoding="utf-8")
    stated = re.search(rf"\| {cue} \| (\d+) of (\d+) \| (\d+) of (\d+) \|", page)
    assert stated, f"docs/osum-echat.md does not state the lexicon's error on {cue}"
    assert tuple(map(int, stated.groups())) == (wrong, labelled, invented, len(CASES) - labelled)


def test_words_about_the_coming_reply_are_not_cues() -> None:
    assert find_cues("用户想聊天。我应该用开心的语气回复,像孩子一样。") == {}
    assert find_cues("I should reply in a happy voice.") == {}


@pytest.mark.parametrize("text", ["他没有生气", "the user is not angry", "并非老人"])
def test_negated_words_are_not_cues(text: str) -> None:
    assert not {"anger", "old"} & set(find_cues(text).values())
