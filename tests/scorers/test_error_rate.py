"""One count of edits behind every error rate, against an independent edit distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from echat_eval.checks.labelled import Clip, annotate_clips
from echat_eval.errors import BadData
from echat_eval.scorers.error_rate import count_edits
from echat_eval.scorers.transcription import TranscriptionConsistency
from echat_eval.scorers.understanding import Understanding
from echat_eval.testing import ScriptedAnnotator
from tests.support.cases import SOUND, case


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Return the edit distance by the textbook recurrence."""
    row = list(range(len(hypothesis) + 1))
    for i, unit in enumerate(reference, 1):
        row, above = [i], row
        for j, other in enumerate(hypothesis, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (unit != other)))
    return row[-1]


def test_edits_equal_the_textbook_distance() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        reference, hypothesis = (
            rng.choice(list("abcd"), size=int(rng.integers(low, 9))).tolist() for low in (1, 0)
        )
        found = count_edits(reference, hypothesis)
        assert found.errors == edit_distance(reference, hypothesis)
        assert found.percent == 100.0 * found.errors / len(reference)
    with pytest.raises(BadData, match="no words"):
        count_edits([], ["a"])


@pytest.mark.parametrize(
    ("reference", "hypothesis", "language"),
    [
        ("Take all the time you need!", "take the dime you need now", "en"),
        ("It's 7 o'clock.", "its seven oclock", "en"),
        ("我很难过。", "我很南过了", "zh"),
        ("Oh.", "", "en"),
    ],
)
def test_scorers_and_the_check_of_annotators_print_one_rate(
    reference: str, hypothesis: str, language: str
) -> None:
    spoken = case("a", reference, hypothesis=hypothesis, language=language)
    answer = case("a", hypothesis or "...", language=language)
    answer = replace(answer, sample=replace(answer.sample, asks="transcript", transcript=reference))
    clip = Clip(audio=SOUND, language=language, transcript=reference, speaker="s", labels={})
    rates = {
        score.value
        for scorer, found in ((TranscriptionConsistency(), spoken), (Understanding(), answer))
        for score in scorer.score([found])
        if score.state == "value"
    }
    error_rate = annotate_clips(ScriptedAnnotator({"hypothesis": hypothesis}, "whisper"), [clip]).error_rate
    assert error_rate is not None
    assert rates == {error_rate.value}
