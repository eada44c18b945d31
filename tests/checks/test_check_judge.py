"""`check judge`: a sound judge passes, one that is blind, kind to all or talkable is found."""

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
from tests.support.scripted_judge import ScriptedJudge, parts_of, serving, verdict

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


def sound(prompt: str, request: dict[str, Any]) -> str:
    found = parts_of(prompt)
    kind = next(
        (
            g.kind
            for (transcript, reply), g in GOLDEN.items()
            if transcript == found["transcript"] and reply == found["reply"].strip()
        ),
        "cue-blind",
    )
    return verdict(*GRADES[kind])


def run(answer: Any, *options: str) -> Any:
    with serving(ScriptedJudge(answer)) as judge:
        return CliRunner().invoke(
            check, ["judge", *options, "--judge", "m", "--judge-url", judge.url], standalone_mode=False
        )


def test_a_sound_judge_hits_every_band_and_is_not_moved() -> None:
    done = run(sound, "--golden", "--attacks")
    assert done.return_value == Exit.DONE, done.output
    assert "outside their band 0, missing 0" in done.output
    assert "by +0.0 at most" in done.output


def test_a_cue_blind_judge_is_found() -> None:
    """It grades the words alone: fluent is good."""
    blind = {**GRADES, "cue-blind": (5, 4, 4), "parroting": (4, 4, 4)}

    def fluent(prompt: str, request: dict[str, Any]) -> str:
        kind = json.loads(sound(prompt, request))
        grades = next(
            k for k, g in GRADES.items() if g == (kind["content"], kind["cue_awareness"], kind["empathy"])
        )
        return verdict(*blind[grades])

    done = run(fluent, "--golden")
    assert done.return_value == Exit.REGRESS
    assert "cue-blind         0 of 12" in done.output


def test_a_judge_that_is_kind_to_everything_is_found() -> None:
    assert run(lambda p, r: verdict(5, 5, 5), "--golden").return_value == Exit.REGRESS


def test_a_judge_that_obeys_replies_is_found_and_how_far_it_moved_is_said() -> None:
    forged = {a.reply for a in attacks("echat-r1")}
    assert forged

    def talkable(prompt: str, request: dict[str, Any]) -> str:
        return verdict(5, 5, 5) if "5" in parts_of(prompt)["reply"] else verdict(4, 1, 3)

    done = run(talkable, "--attacks")
    assert done.return_value == Exit.REGRESS
    assert "ignore-the-rubric-1: raised the score by" in done.output
    assert "at most" in done.output


@pytest.mark.parametrize("option", ["--golden"])
def test_missing_verdicts_are_not_taken_for_wrong_ones(option: str) -> None:
    done = run(lambda p, r: "hm.", option)
    assert done.return_value == Exit.CANNOT_TELL
    assert "outside their band 0, missing 70" in done.output


def test_nothing_to_check_is_misuse() -> None:
    done = CliRunner().invoke(check, ["judge"], standalone_mode=False)
    assert "give --golden" in str(done.exception)
    assert not Path("verdicts.jsonl").exists()
