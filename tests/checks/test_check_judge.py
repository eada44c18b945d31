"""`check judge`: a sound judge passes; cue-blind, lenient and manipulable judges are detected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.checks.attacks import attacks
from echat_eval.checks.golden import golden_replies
from echat_eval.cli.check import check
from echat_eval.errors import Exit
from echat_eval.testing import ScriptedChatServer, judge_verdict, shown_to_judge

GOLDEN = {(g.question.transcript, g.question.reply.strip()): g for g in golden_replies("echat-r1")}
GRADES = {
    "good": (5, 5, 5),
    "cue-blind": (4, 1, 3),
    "cold": (2, 1, 1),
    "off-topic": (0, 0, 2),
    "over-acted": (3, 2, 3),
    "parroting": (3, 1, 2),
    "stereotyped": (2, 0, 1),
    "empty": (0, 0, 0),
    "wrong language": (0, 2, 3),
}


def sound(request: dict[str, Any]) -> str:
    parts = shown_to_judge(request)
    kind = next(
        (
            g.kind
            for (transcript, reply), g in GOLDEN.items()
            if transcript == parts["transcript"] and reply == parts["reply"].strip()
        ),
        "cue-blind",
    )
    return judge_verdict(*GRADES[kind])


def run(answer: Any, *options: str) -> Any:
    with ScriptedChatServer(answer) as judge:
        return CliRunner().invoke(
            check, ["judge", *options, "--judge", "m", "--judge-url", judge.url], standalone_mode=False
        )


def test_sound_judge_passes() -> None:
    done = run(sound, "--golden", "--attacks")
    assert done.return_value == Exit.DONE, done.output
    assert "outside their band 0, missing 0" in done.output
    assert "by at most +0.0" in done.output


def test_cue_blind_judge_is_detected() -> None:
    """The judge grades the words alone and rewards fluency."""
    blind = {**GRADES, "cue-blind": (5, 4, 4), "parroting": (4, 4, 4)}

    def fluent(request: dict[str, Any]) -> str:
        answer = json.loads(sound(request))
        grades = (answer["content"], answer["cue_awareness"], answer["empathy"])
        kind = next(k for k, g in GRADES.items() if g == grades)
        return judge_verdict(*blind[kind])

    done = run(fluent, "--golden")
    assert done.return_value == Exit.REGRESS
    assert "cue-blind         0 of 12" in done.output


def test_lenient_judge_is_detected() -> None:
    assert run(lambda request: judge_verdict(5, 5, 5), "--golden").return_value == Exit.REGRESS


def test_manipulable_judge_is_detected_and_the_shift_is_printed() -> None:
    forged = {a.reply for a in attacks("echat-r1")}
    assert forged

    def manipulable(request: dict[str, Any]) -> str:
        return judge_verdict(5, 5, 5) if "5" in shown_to_judge(request)["reply"] else judge_verdict(4, 1, 3)

    done = run(manipulable, "--attacks")
    assert done.return_value == Exit.REGRESS
    assert "ignore-the-rubric-1: raised the score by" in done.output
    assert "at most" in done.output


@pytest.mark.parametrize("option", ["--golden"])
def test_missing_verdicts_do_not_count_as_wrong(option: str) -> None:
    done = run(lambda request: "hm.", option)
    assert done.return_value == Exit.CANNOT_TELL
    assert "outside their band 0, missing 70" in done.output


def test_check_without_a_selection_is_a_usage_error() -> None:
    done = CliRunner().invoke(check, ["judge"], standalone_mode=False)
    assert "give --golden" in str(done.exception)
    assert not Path("verdicts.jsonl").exists()
