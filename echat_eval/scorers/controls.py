"""Negative controls of a judge: judge the same replies again with wrong labels.

If the scores do not fall when labels are shuffled or withheld, the judge does not use the labels.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from echat_eval.errors import BadData, NotApplicable, Unavailable
from echat_eval.judge import JudgeClient, Question, Verdict, text_score, voice_score
from echat_eval.stats import Estimate, as_design, cluster_mean

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = [
    "CONTROLS",
    "Control",
    "ControlQuestion",
    "control_lines",
    "run_controls",
    "smallest_cluster",
    "subsample",
]

#: Name of the control in stored rows.
_VOICE_SHUFFLED = "heard shuffled"
#: Control -> how it changes the question.
CONTROLS: Mapping[str, str] = {
    "labels shuffled": "each reply is judged under the labels of another sample",
    "labels withheld": "the judge is shown that no labels are given",
    _VOICE_SHUFFLED: "the voice emotion is that of another reply",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlQuestion:
    """A question with true information, and the cluster of its sample."""

    question: Question
    cluster: Hashable


#: True question, wrong question.
_Pair = tuple[ControlQuestion, Question]


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Drop of a score under wrong information.

    Attributes:
        score: the score that is compared, "text" or "voice".
        drop: mean of true minus wrong, in points, with its interval; None without any pair.
        missing: pairs without both verdicts.
        verdict: "falls", "does not fall", or "cannot tell" (no interval, or one that includes 0).
    """

    name: str
    score: Literal["text", "voice"]
    drop: Estimate | None
    missing: int
    verdict: Literal["falls", "does not fall", "cannot tell"]


def subsample(questions: Sequence[ControlQuestion], limit: int, seed: int = 0) -> list[ControlQuestion]:
    """Return at most `limit` questions in whole clusters, shuffled by the seed."""
    codes = as_design([q.cluster for q in questions]).factors[0].tolist() if questions else []
    clusters = list(dict.fromkeys(codes))
    random.Random(seed).shuffle(clusters)
    kept: list[ControlQuestion] = []
    for cluster in clusters:
        members = [q for q, code in zip(questions, codes, strict=True) if code == cluster]
        if len(kept) + len(members) <= limit:
            kept += members
    return kept


def smallest_cluster(clusters: Sequence[Hashable]) -> int:
    """Return the size of the smallest cluster, the least number of questions that `subsample` can return."""
    codes = as_design(clusters).factors[0].tolist()
    return min(int(codes.count(code)) for code in set(codes))


def run_controls(
    judge_client: JudgeClient,
    questions: Sequence[ControlQuestion],
    *,
    names: Sequence[str] = tuple(CONTROLS),
    seed: int = 0,
    at_once: int = 4,
) -> list[Control]:
    """Return the named controls on these questions.

    The drop of a pair is the true score minus the score under wrong information. Shuffling the voice
    emotion should lower the voice score and leave the text score unchanged: both are reported.
    """
    if not questions:
        raise BadData("no reply to run controls on; judge a run first")
    rng = random.Random(seed)
    judge = judge_client.judge

    def text(verdict: Verdict, question: Question) -> float:
        return text_score(judge, verdict.grades, question.task)

    def voice(verdict: Verdict, question: Question) -> float:
        score = voice_score(judge, verdict)
        assert score is not None  # only requested for questions with a voice emotion
        return score

    voiced = [q for q in questions if q.question.voice_emotion is not None]
    other_labels = _other_labels(questions, rng)
    no_labels = [(q, replace(q.question, cues={})) for q in questions]
    other_voices = _other_voices(voiced, rng)
    plans: list[tuple[str, Literal["text", "voice"], list[_Pair], Callable[..., float]]] = [
        ("labels shuffled", "text", other_labels, text),
        ("labels withheld", "text", no_labels, text),
        (_VOICE_SHUFFLED, "voice", other_voices, voice),
        (_VOICE_SHUFFLED, "text", other_voices, text),
    ]
    controls = []
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        for name, kind, pairs, points in plans:
            if name in names:
                drops = pool.map(
                    lambda pair, points=points: _drop(judge_client, pair[0], pair[1], points), pairs
                )
                controls.append(_control(name, kind, list(drops)))
    return controls


def _drop(
    judge_client: JudgeClient,
    true: ControlQuestion,
    wrong: Question,
    points: Callable[[Verdict, Question], float],
) -> tuple[Hashable, float | None]:
    try:
        true_points = points(judge_client.rule(true.question).verdict, true.question)
        return true.cluster, true_points - points(judge_client.rule(wrong).verdict, wrong)
    except (Unavailable, NotApplicable):
        return true.cluster, None


def _control(
    name: str, kind: Literal["text", "voice"], drops: Sequence[tuple[Hashable, float | None]]
) -> Control:
    known = [(cluster, drop) for cluster, drop in drops if drop is not None]
    missing = len(drops) - len(known)
    if not known:
        return Control(name=name, score=kind, drop=None, missing=missing, verdict="cannot tell")
    drop = cluster_mean([d for _, d in known], [cluster for cluster, _ in known])
    same = all(d == 0 for _, d in known)
    verdict: Literal["falls", "does not fall", "cannot tell"] = "cannot tell"
    if same or (drop.high is not None and drop.high <= 0):
        verdict = "does not fall"
    elif drop.low is not None and drop.low > 0:
        verdict = "falls"
    return Control(name=name, score=kind, drop=drop, missing=missing, verdict=verdict)


def _other_labels(questions: Sequence[ControlQuestion], rng: random.Random) -> list[_Pair]:
    """Pair each question with itself under other labels, taken from a question about the same cues."""
    pairs = []
    for true in questions:
        cues = true.question.cues
        others = [
            q.question.cues
            for q in questions
            if set(q.question.cues) == set(cues) and q.question.cues != cues
        ]
        if others:
            pairs.append((true, replace(true.question, cues=rng.choice(others))))
    return pairs


def _other_voices(questions: Sequence[ControlQuestion], rng: random.Random) -> list[_Pair]:
    pairs = []
    for true in questions:
        own = true.question.voice_emotion
        others = [
            other
            for q in questions
            if own is not None
            and (other := q.question.voice_emotion) is not None
            and other.emotion != own.emotion
        ]
        if others:
            pairs.append((true, replace(true.question, voice_emotion=rng.choice(others))))
    return pairs


def control_lines(controls: Sequence[Control], replies: int) -> list[str]:
    """Return the leaderboard's lines about the controls of its judge."""
    lines = [f"Controls on {replies} replies (true minus wrong, points, 95 % interval over clusters):"]
    for control in controls:
        if control.drop is None:
            lines.append(f"- {control.name}, {control.score} score: no pairs")
            continue
        low, high = control.drop.low, control.drop.high
        interval = f"[{control.drop.no_interval or f'{low:.1f}, {high:.1f}'}]"
        missing = f", {control.missing} missing, left out without a bound" if control.missing else ""
        lines.append(
            f"- {control.name}, {control.score} score: {control.drop.value:+.1f} {interval}{missing}: "
            f"{control.verdict}"
        )
    labels = next((c for c in controls if c.name == "labels shuffled"), None)
    if labels is not None and labels.verdict != "falls":
        lines.append(
            "This judge is not shown to read the labels: its scores are no evidence of how well systems "
            "respond to cues."
        )
    leak = next((c for c in controls if c.name == _VOICE_SHUFFLED and c.score == "text"), None)
    if leak is not None and leak.verdict == "falls":
        lines.append("The voice emotion moves this judge's text score, in which it should not count.")
    return lines
