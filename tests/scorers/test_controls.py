"""Controls: scores of a judge that reads the labels fall without them; others are reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from echat_eval.checks.scripted_judge import scripted_client
from echat_eval.errors import BadData, Unavailable
from echat_eval.judge import JudgeClient, Question, VoiceEmotion, load_judge
from echat_eval.scorers.controls import (
    ControlQuestion,
    control_lines,
    run_controls,
    smallest_cluster,
    subsample,
)
from echat_eval.testing import ScriptedChatClient

JUDGE = load_judge("echat-r1")
WORD = {"sad": "sorry", "happy": "lovely"}


def questions(n: int = 12) -> list[ControlQuestion]:
    return [
        ControlQuestion(
            question=Question(
                task="emotion",
                language="en",
                transcript=f"Letter {k // 2}.",
                cues={"emotion": label},
                reply=f"{WORD[label]} {k}",
                voice_emotion=VoiceEmotion(emotion=label, confidence=0.9),
            ),
            cluster=k // 2,
        )
        for k in range(n)
        for label in (("sad", "happy")[k % 2],)
    ]


def reads(shown: Mapping[str, str]) -> tuple[int, int, int]:
    label = shown["cues"].partition(": ")[2]
    return (4, 5 if WORD.get(label, "?") in shown["reply"] else 1, 4)


def voice_fits(shown: Mapping[str, str]) -> int:
    return 5 if shown["voice_emotion"].startswith(shown["cues"].partition(": ")[2]) else 0


def controls_of(grade: Any, voice: Any = lambda shown: 3) -> dict[tuple[str, str], Any]:
    judge_client = JudgeClient(JUDGE, scripted_client(grade, voice))  # type: ignore[arg-type]
    return {(c.name, c.score): c for c in run_controls(judge_client, questions(), at_once=1)}


def test_drop_of_a_judge_that_reads_the_labels_by_hand() -> None:
    controls = controls_of(reads, voice_fits)
    # Own: 20 + 40 + 28 = 88; under any other label, or none, 20 + 8 + 28 = 56 is capped at 40.
    for name in ("labels shuffled", "labels withheld"):
        assert controls[name, "text"].drop.value == pytest.approx(48)
        assert controls[name, "text"].verdict == "cannot tell"  # all drops are equal: no spread, no interval
    assert controls["heard shuffled", "voice"].drop.value == pytest.approx(100)
    assert controls["heard shuffled", "text"].drop.value == 0


def noisy(shown: Mapping[str, str]) -> tuple[int, int, int]:
    content, cue, empathy = reads(shown)
    return (content - int(shown["reply"].split()[1]) % 3, cue, empathy)


def test_varying_drops_have_an_interval_above_zero() -> None:
    control = controls_of(noisy)["labels shuffled", "text"]
    assert control.verdict == "falls"
    assert control.drop.low > 0
    assert control.drop.clusters == 6


def test_judge_that_ignores_the_labels_is_reported() -> None:
    controls = controls_of(lambda shown: (3, 3, 3))
    assert controls["labels shuffled", "text"].verdict == "does not fall"
    lines = control_lines(list(controls.values()), 12)
    assert any("not shown to read" in line for line in lines)
    assert not any("not shown to read" in line for line in control_lines([*controls_of(noisy).values()], 12))


def test_text_score_that_follows_the_voice_is_reported() -> None:
    def leaking(shown: Mapping[str, str]) -> tuple[int, int, int]:
        fits = shown["voice_emotion"].startswith(shown["cues"].partition(": ")[2])
        return (4, 5 if fits else 1 + int(shown["reply"].split()[1]) % 3, 3)

    lines = control_lines([*controls_of(leaking).values()], 12)
    assert any("moves this judge's text score" in line for line in lines)


def test_missing_verdicts_are_counted_and_are_not_drops() -> None:
    def unavailable(prompt: str) -> str:
        raise Unavailable("away")

    judge_client = JudgeClient(JUDGE, ScriptedChatClient(unavailable))  # type: ignore[arg-type]
    controls = run_controls(judge_client, questions(), at_once=1)
    assert {(c.drop, c.verdict) for c in controls} == {(None, "cannot tell")}
    assert controls[0].missing == 12
    with pytest.raises(BadData, match="no reply"):
        run_controls(judge_client, [])


def test_subsample_has_whole_clusters_and_depends_on_the_seed_alone() -> None:
    kept = subsample(questions(40), 10, seed=1)
    assert len(kept) == 10
    assert all(sum(a.cluster == k.cluster for k in kept) == 2 for a in kept)
    assert subsample(questions(40), 10, seed=1) == kept
    assert subsample(questions(40), 10, seed=2) != kept
    assert smallest_cluster([q.cluster for q in questions(7)]) == 1
    assert subsample(questions(40), smallest_cluster([q.cluster for q in questions(40)]))
