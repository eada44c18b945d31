"""Notes on judges: effects of position and length against planted ones, variance, families of models."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean, variance
from types import SimpleNamespace
from typing import Any

import pytest

from echat_eval.concurrency import event_loop
from echat_eval.io.hashing import sha256_of
from echat_eval.judge import JudgeClient, Recording, load_judge
from echat_eval.judge.recordings import limit_fault
from echat_eval.leaderboard.judge_notes import (
    family_lines,
    family_of_model,
    limit_lines,
    match_lines,
    variance_lines,
)
from echat_eval.ports import Case
from echat_eval.records import AudioRef, JudgeEvidence, Score
from echat_eval.scorers.judged_match import JudgedMatch
from echat_eval.testing import ScriptedChatClient, shown_to_judge
from tests.support.cases import case
from tests.support.present import present

LABELS = ("sad", "happy")


def groups(replies: Callable[[int, str], str], count: int = 6) -> list[list[Case]]:
    found = []
    for number in range(count):
        members = []
        for label in LABELS:
            one = case(f"g{number}{label}", replies(number, label), group=f"g{number}")
            members.append(replace(one, sample=replace(one.sample, cues={"emotion": label})))
        found.append(members)
    return found


def notes(answer: Callable[[dict[str, str]], int], cases: list[list[Case]], repeats: int = 1) -> str:
    def text(prompt: str) -> str:
        return json.dumps({"reason": "scripted", "answers": answer(shown_to_judge(prompt))})

    client: Any = ScriptedChatClient(text)
    scorer = JudgedMatch(JudgeClient(load_judge("echat-r1"), client), repeats=repeats)
    scores: list[Score] = [s for members in cases for s in event_loop.run(scorer.score(members))]
    flat = [one for members in cases for one in members]
    responses = {("s", "emotion", one.sample.id): one.response for one in flat}
    clusters = {("emotion", one.sample.id): one.sample.contrast_group for one in flat}
    return "\n".join(match_lines(scores, responses, clusters))


def by_name(shown: dict[str, str]) -> int:
    first, second = (line.split(": ")[-1] for line in shown["cues"].splitlines())
    return 1 if first in shown["reply"] else 2 if second in shown["reply"] else 0


def test_a_judge_that_reads_the_reply_has_no_effect_of_position() -> None:
    found = notes(by_name, groups(lambda n, label: f"so {label} {n}"))
    assert found.startswith(
        "- judge_echat_r1_match_rate of s: the first voice is named in 50.0 [no spread] %"
    )
    assert "ties 0 % of 24 answers" in found


def test_a_judge_that_names_the_first_voice_is_marked() -> None:
    found = notes(lambda shown: 1, groups(lambda n, label: f"so {label} {n}"))
    assert "the first voice is named in 100.0 [no spread] %" in found


def test_an_effect_of_position_has_an_interval_over_groups() -> None:
    """A judge that names the first voice three times of four, whatever the reply."""

    def mostly_first(shown: dict[str, str]) -> int:
        return 2 if int(sha256_of(json.dumps(shown, sort_keys=True))[:4], 16) % 4 == 0 else 1

    found = notes(mostly_first, groups(lambda n, label: f"so {label} {n}", count=60))
    value, low, high = map(float, present(re.search(r"in (\S+) \[(\S+), (\S+)\] %", found)).groups())
    assert low < 75 < high
    assert 50 < low < value < high


def test_a_judge_that_never_decides_has_ties_alone() -> None:
    found = notes(lambda shown: 0, groups(lambda n, label: f"so {label} {n}"))
    assert found.startswith("- judge_echat_r1_match_rate of s: ties 100 % of 24 answers")


def test_a_judge_that_takes_long_replies_for_their_own_voice_s_is_marked() -> None:
    def by_length(shown: dict[str, str]) -> int:
        return by_name(shown) if len(shown["reply"]) > 20 else 0

    words = {"sad": "so sad, and there is much more to be said {}", "happy": "happy {}"}
    found = notes(by_length, groups(lambda n, label: words[label].format(n)))
    # The longer reply is always right, the shorter a tie: 100 - 50 points.
    assert "own voice's 50.0 [no spread] points more often" in found
    equal = notes(by_length, groups(lambda n, label: f"so {label:<5} {n}"))
    assert "longer" not in equal


def test_answers_that_vary_between_repeats_are_counted() -> None:
    calls = iter(range(10**6))

    def wavering(shown: dict[str, str]) -> int:
        return next(calls) % 2

    found = notes(wavering, groups(lambda n, label: f"so {label} {n}"), repeats=2)
    assert "100 % of questions answered in several ways" in found


def test_scores_of_earlier_versions_and_of_other_scorers_have_no_line() -> None:
    old = Score(
        key="k", system="s", task="emotion", sample_id="a", metric="m", state="value", value=1.0,
        evidence={"own_voice": {"b": 100.0}},
    )  # fmt: skip
    for answers in (None, {}, {"b": 1}, {"b": [[1, 2]]}, {"b": [[1, 0, 0], [1, 0, -1]]}):
        assert match_lines([replace(old, evidence={"answers": answers})], {}, {}) == []
    assert match_lines([old], {}, {}) == []


def evidence(points: tuple[float, ...]) -> JudgeEvidence:
    return JudgeEvidence(
        grades={},
        points=points,
        variance=variance(points) if len(points) > 1 else None,
        reasons=(),
        models=(),
        servers=(),
        verdicts=(),
        prompt_sha256=(),
        voice_emotion=None,
        tokens=(0, 0),
    )


def test_variance_of_repeats_stands_beside_that_of_samples() -> None:
    points = [(10.0, 30.0), (50.0, 50.0), (80.0, 100.0)]
    scores = [
        Score(key="k", system="s", task="t", sample_id=str(n), metric="judge", state="value", value=1.0)
        for n in range(3)
    ]
    within = fmean(variance(p) for p in points)
    between = variance(fmean(p) for p in points)
    assert variance_lines(zip(scores, map(evidence, points), strict=True)) == [
        f"- judge of s: variance between a judge's repeats {within:.1f}, between samples {between:.1f} "
        "(3 samples)"
    ]
    assert variance_lines([(scores[0], evidence((1.0,)))]) == []


@pytest.mark.parametrize(
    ("judge", "system", "family"),
    [
        ("gpt-4o-2024-11-20", "gpt-realtime-2.1", "OpenAI GPT"),
        ("Qwen/Qwen3-32B", "qwen3-omni", "Qwen"),
        ("gpt-4o-2024-11-20", "qwen3-omni", None),
        ("own", "own", None),
    ],
)
def test_a_judge_and_a_system_of_one_family_are_named(judge: str, system: str, family: str | None) -> None:
    manifest: Any = SimpleNamespace(
        scorers={
            "judged": SimpleNamespace(settings={"model": judge, "rubric": "echat-r1"}),
            "wer": SimpleNamespace(settings={"model": system}),
        },
        systems={"mine": SimpleNamespace(settings={"model": system})},
    )
    lines = family_lines([manifest, manifest])
    assert len(lines) == (family is not None)
    assert family is None or f"are of one family, {family}:" in lines[0]
    assert (family_of_model(judge) == family_of_model(system)) == (family is not None or judge == system)


def test_replies_over_the_limit_of_a_judge_are_counted() -> None:
    long = AudioRef(path=Path("long.wav"), sha256="0" * 64, seconds=90.0)
    fault = limit_fault(load_judge("echat-voice-r1"), [Recording(name="reply", audio=long)])

    def row(number: int, reason: str | None) -> Score:
        ident: dict[str, Any] = {"key": "k", "system": "s", "task": "t", "sample_id": str(number)}
        state: Any = "not applicable" if reason else "value"
        return Score(
            metric="judge_a_voice", state=state, value=None if reason else 1.0, reason=reason, **ident
        )

    (line,) = limit_lines([row(0, fault), row(1, fault), row(2, "no audio"), row(3, None)])
    assert line.startswith("- judge_a_voice of s: 2 of 4 replies are not applicable and in no mean")
    assert "90.0 s long" in line
