"""Does the judge read the labels? The same replies judged with labels shuffled, withheld, or misheard.

A judge whose scores do not fall when the labels are wrong is not reading them, whatever it scores.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from echat_eval.errors import BadData, NotApplicable, Unavailable
from echat_eval.judge import JudgeClient, Question, Verdict, text_score, voice_score
from echat_eval.stats import Estimate, cluster_mean

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["CONTROLS", "Asked", "Control", "control_lines", "run_controls", "subsample"]

#: Control -> what is wrong in it.
CONTROLS: Mapping[str, str] = {
    "labels shuffled": "each reply is judged under the labels of another sample",
    "labels withheld": "the judge is told that no labels are given",
    "heard shuffled": "the emotion heard in the voice is that of another reply",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question as it was asked, and the cluster its sample belongs to."""

    question: Question
    cluster: Hashable


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """How far scores fell.

    Attributes:
        score: "text" or "voice": which score fell (or did not).
        drop: mean of true less wrong, in points, with its interval; None if there was nothing to ask.
        missing: pairs without both verdicts.
        verdict: "falls", "does not fall", or "cannot tell" (no interval, or it holds 0).
    """

    name: str
    score: Literal["text", "voice"]
    drop: Estimate | None
    missing: int
    verdict: Literal["falls", "does not fall", "cannot tell"]


def subsample(asked: Sequence[Asked], limit: int, seed: int = 0) -> list[Asked]:
    """Return at most `limit` questions, whole clusters in an order that only the seed decides."""
    clusters = list(dict.fromkeys(a.cluster for a in asked))
    random.Random(seed).shuffle(clusters)
    kept: list[Asked] = []
    for cluster in clusters:
        members = [a for a in asked if a.cluster == cluster]
        if len(kept) + len(members) <= limit:
            kept += members
    return kept


def run_controls(
    jury: JudgeClient,
    asked: Sequence[Asked],
    *,
    names: Sequence[str] = tuple(CONTROLS),
    seed: int = 0,
    at_once: int = 4,
) -> list[Control]:
    """Return the named controls on these questions.

    The drop of a pair is the true score less the score under the wrong information. Shuffling the heard
    emotion should lower the voice's score and leave the text's where it is: both are shown.
    """
    if not asked:
        raise BadData("no reply to run controls on; judge a run first")
    dice = random.Random(seed)
    judge = jury.judge

    def text(verdict: Verdict, question: Question) -> float:
        return text_score(judge, verdict.grades, question.task)

    def voice(verdict: Verdict, question: Question) -> float:
        found = voice_score(judge, verdict)
        assert found is not None  # only asked where a voice was heard
        return found

    heard = [a for a in asked if a.question.heard is not None]
    plans: list[tuple[str, Literal["text", "voice"], list[tuple[Asked, Question]], Callable[..., float]]] = [
        ("labels shuffled", "text", _other_labels(asked, dice), text),
        ("labels withheld", "text", [(a, replace(a.question, cues={})) for a in asked], text),
    ]
    misheard = _other_voices(heard, dice)
    plans += [("heard shuffled", "voice", misheard, voice), ("heard shuffled", "text", misheard, text)]
    made = []
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        for name, kind, pairs, points in plans:
            if name in names:
                drops = pool.map(lambda pair, its=points: _drop(jury, pair[0], pair[1], its), pairs)
                made.append(_control(name, kind, list(drops)))
    return made


def _drop(
    jury: JudgeClient, asked: Asked, wrong: Question, points: Callable[[Verdict, Question], float]
) -> tuple[Hashable, float | None]:
    try:
        true = points(jury.rule(asked.question).verdict, asked.question)
        return asked.cluster, true - points(jury.rule(wrong).verdict, wrong)
    except (Unavailable, NotApplicable):
        return asked.cluster, None


def _control(
    name: str, kind: Literal["text", "voice"], drops: Sequence[tuple[Hashable, float | None]]
) -> Control:
    known = [(cluster, drop) for cluster, drop in drops if drop is not None]
    missing = len(drops) - len(known)
    if not known:
        return Control(name=name, score=kind, drop=None, missing=missing, verdict="cannot tell")
    codes = {cluster: n for n, cluster in enumerate(dict.fromkeys(c for c, _ in known))}
    drop = cluster_mean([d for _, d in known], [codes[c] for c, _ in known])
    same = all(d == 0 for _, d in known)
    verdict: Literal["falls", "does not fall", "cannot tell"] = "cannot tell"
    if same or (drop.high is not None and drop.high <= 0):
        verdict = "does not fall"
    elif drop.low is not None and drop.low > 0:
        verdict = "falls"
    return Control(name=name, score=kind, drop=drop, missing=missing, verdict=verdict)


def _other_labels(asked: Sequence[Asked], dice: random.Random) -> list[tuple[Asked, Question]]:
    """Pair each question with itself under the labels of another one about the same cues."""
    pairs = []
    for one in asked:
        cues = one.question.cues
        others = [
            a.question.cues for a in asked if set(a.question.cues) == set(cues) and a.question.cues != cues
        ]
        if others:
            pairs.append((one, replace(one.question, cues=dice.choice(others))))
    return pairs


def _other_voices(asked: Sequence[Asked], dice: random.Random) -> list[tuple[Asked, Question]]:
    pairs = []
    for one in asked:
        own = one.question.heard
        others = [
            other
            for a in asked
            if own is not None and (other := a.question.heard) is not None and other.emotion != own.emotion
        ]
        if others:
            pairs.append((one, replace(one.question, heard=dice.choice(others))))
    return pairs


def control_lines(controls: Sequence[Control], asked: int) -> list[str]:
    """Return what a leaderboard says of its judge."""
    lines = [f"Controls on {asked} replies (true less wrong, points, 95 % interval over clusters):"]
    for control in controls:
        if control.drop is None:
            lines.append(f"- {control.name}, {control.score} score: nothing to ask")
            continue
        low, high = control.drop.low, control.drop.high
        interval = "no interval" if low is None or high is None else f"[{low:.1f}, {high:.1f}]"
        missing = f", {control.missing} missing" if control.missing else ""
        lines.append(
            f"- {control.name}, {control.score} score: {control.drop.value:+.1f} {interval}{missing}: "
            f"{control.verdict}"
        )
    labels = next((c for c in controls if c.name == "labels shuffled"), None)
    if labels is not None and labels.verdict != "falls":
        lines.append(
            "This judge is not shown to read the labels: its scores are no evidence of how systems meet cues."
        )
    leak = next((c for c in controls if c.name == "heard shuffled" and c.score == "text"), None)
    if leak is not None and leak.verdict == "falls":
        lines.append("The emotion heard in the voice moves this judge's text score, in which it has no part.")
    return lines
