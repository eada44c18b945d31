"""The error of the lexicon for natural-language think text, on hand-written think texts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from echat_eval.labels import CUES
from echat_eval.osum.prompts.lexicon import find_cues

ROOT = Path(__file__).resolve().parents[3]
#: Name in the document -> texts. The lexicon was extended by the first ones, and not by the fresh ones.
CASES = {
    name: [json.loads(line) for line in (Path(__file__).parent / file).read_text().splitlines()]
    for name, file in (("tuned", "think_cases.jsonl"), ("fresh", "fresh_think_cases.jsonl"))
}


def errors(cue: str, cases: list[dict[str, str]]) -> tuple[int, int, int, int]:
    """Return (cues read wrong or not found, labelled cues, cues found without a label, other texts)."""
    labelled = [case for case in cases if cue in case]
    wrong = sum(find_cues(case["think"]).get(cue, "none") != case[cue] for case in labelled)
    invented = sum(cue in find_cues(case["think"]) for case in cases if cue not in case)
    return wrong, len(labelled), invented, len(cases) - len(labelled)


@pytest.mark.parametrize("texts", CASES)
@pytest.mark.parametrize("cue", CUES)
def test_documented_error_matches_the_measured_error(cue: str, texts: str) -> None:
    page = (ROOT / "docs" / "osum-echat.md").read_text(encoding="utf-8")
    stated = re.search(rf"\| {cue} \| {texts} \| (\d+) of (\d+) \| (\d+) of (\d+) \|", page)
    assert stated, f"docs/osum-echat.md does not state the lexicon's error on {cue}"
    assert tuple(map(int, stated.groups())) == errors(cue, CASES[texts])


def test_half_of_the_known_misses_are_read_without_further_false_readings() -> None:
    """The lexicon before its extension missed 11 cues of the first texts, and read 4 of the fresh ones falsely."""
    known = [errors(cue, CASES["tuned"]) for cue in CUES]
    fresh = [errors(cue, CASES["fresh"]) for cue in CUES]
    assert sum(missed for missed, *_ in known) <= 11 // 2
    assert sum(invented for _, _, invented, _ in fresh) <= 4


def test_words_about_the_coming_reply_are_not_cues() -> None:
    assert find_cues("用户想聊天。我应该用开心的语气回复,像孩子一样。") == {}
    assert find_cues("I should reply in a happy voice.") == {}


@pytest.mark.parametrize("text", ["他没有生气", "the user is not angry", "并非老人"])
def test_negated_words_are_not_cues(text: str) -> None:
    assert not {"anger", "old"} & set(find_cues(text).values())
