"""`check judge`: a sound judge passes; cue-blind, lenient and manipulable judges are detected."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from scipy import stats as scipy_stats

from echat_eval.checks.attacks import attacks
from echat_eval.checks.golden import GoldenReply, GoldenVerdicts, golden_outcomes, golden_replies, noise
from echat_eval.cli.check import check
from echat_eval.errors import Exit, Unavailable
from echat_eval.judge import load_judge, text_score
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


def verdicts_of(grades: Callable[[GoldenReply, int], tuple[int, int, int]], repeats: int = 1) -> Any:
    """Return the golden verdicts of a judge: (reply, repeat) -> content, cue awareness and empathy."""
    judge, names = load_judge("echat-r1"), ("content", "cue_awareness", "empathy")
    found = []
    for reply in golden_replies("echat-r1"):
        given = [dict(zip(names, grades(reply, n), strict=True)) for n in range(repeats)]
        points = [text_score(judge, one, reply.question.task) for one in given]
        values = {name: [float(one[name]) for one in given] for name in reply.grades}
        found.append(GoldenVerdicts(reply=reply, values={"score": points, **values}))
    return found


def test_every_bad_golden_reply_has_a_good_one_to_the_same_question() -> None:
    replies = golden_replies("echat-r1")
    assert {r.subject for r in replies} == {r.subject for r in replies if r.kind == "good"}


@pytest.mark.parametrize("grade", range(6))
def test_a_judge_with_one_grade_for_all_meets_at_most_the_good_replies(grade: int) -> None:
    """By bands alone, a judge that always gives 0 met 55 of 70."""
    outcomes = golden_outcomes(verdicts_of(lambda reply, n: (grade, grade, grade)))
    met = [o.reply.kind for o in outcomes if not o.faults]
    assert len(met) == (15 if grade > 3 else 0)
    assert set(met) <= {"good"}


def test_the_distance_adds_nothing_for_a_judge_within_the_bands() -> None:
    assert not [o for o in golden_outcomes(verdicts_of(lambda r, n: GRADES[r.kind])) if o.faults]


def test_noise_of_a_judge_has_a_tolerance() -> None:
    """Cue awareness of good replies is 5, 4 and 2: their mean, 3.7, is below 4, within the judge's noise."""

    def noisy(reply: GoldenReply, n: int) -> tuple[int, int, int]:
        return (5, (5, 4, 2)[n], 5) if reply.kind == "good" else GRADES[reply.kind]

    three = verdicts_of(noisy, repeats=3)
    graded = sum("cue_awareness" in v.values for v in three)
    variance = 15 * (7 / 3) / graded  # 15 of them are good, and vary by 7/3
    expected = scipy_stats.t.ppf(0.975, 2 * graded) * (variance / 3) ** 0.5
    assert noise(three)["cue_awareness"] == pytest.approx(expected)
    assert 4 - 11 / 3 < expected < 1.2
    assert not [o.reply.id for o in golden_outcomes(three) if o.faults]


def test_one_verdict_a_reply_has_no_tolerance() -> None:
    once = verdicts_of(lambda r, n: (5, 3, 5) if r.kind == "good" else GRADES[r.kind])
    assert noise(once) == {}
    assert sum(bool(o.faults) for o in golden_outcomes(once)) == 15
    same = verdicts_of(lambda r, n: GRADES[r.kind], repeats=3)
    assert set(noise(same).values()) == {0.0}


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


def test_missing_verdicts_do_not_count_as_wrong_and_have_their_reason() -> None:
    done = run(lambda request: "hm.", "--golden")
    assert done.return_value == Exit.CANNOT_TELL
    assert " gets 70 golden replies" in done.output.splitlines()[0]
    assert "outside their band 0, missing 70" in done.output
    assert "missing verdicts: 70, 70 of them because: the judge's answer is not one JSON" in done.output
    assert "run the same command" not in done.output  # the same answers would come


def test_a_dead_server_is_asked_three_times() -> None:
    client = CliRunner()
    options = ["judge", "--golden", "--judge", "m", "--judge-url", "http://127.0.0.1:9/v1"]
    done = client.invoke(check, options, standalone_mode=False)
    assert isinstance(done.exception, Unavailable)
    assert "the first 3 questions got no answer, no others were sent" in str(done.exception)


@pytest.mark.parametrize(
    ("grade", "reason"),
    [(5, "the plain reply has 100 of 100 points"), (2, "every answer has 40 points, even that to a reply")],
)
def test_a_judge_with_one_score_for_all_is_not_shown_to_resist(grade: int, reason: str) -> None:
    done = run(lambda request: judge_verdict(grade, grade, grade), "--attacks")
    assert done.return_value == Exit.CANNOT_TELL
    assert "cannot tell whether the judge resists: " in done.output
    assert reason in done.output


def test_check_without_a_selection_is_a_usage_error() -> None:
    done = CliRunner().invoke(check, ["judge"], standalone_mode=False)
    assert "give --golden" in str(done.exception)
    assert not Path("verdicts.jsonl").exists()
