"""What counts as a verdict, and the score it makes. Nothing is clamped and there is no default."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import JudgeFailure
from echat_eval.io.jsonl import loads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.judge.rubric import Judge

__all__ = ["Verdict", "parse_verdict", "text_score", "voice_score"]

#: Characters of an answer that are read; a verdict is a few hundred.
MAX_ANSWER = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a judge said of one reply.

    Attributes:
        grades: dimension -> whole number.
        voice: grade of the heard emotion; None where none was heard.
    """

    grades: Mapping[str, int]
    reason: str
    voice: int | None = None


def parse_verdict(answer: str, judge: Judge, *, heard: bool = False, ticket: str | None = None) -> Verdict:
    """Return the one verdict of an answer.

    Args:
        heard: whether the judge was shown an emotion, and so had to grade the voice.
        ticket: None: the whole answer is the verdict, as a schema makes it (a code fence around it
            is taken off). A word: prose may stand around exactly one verdict that carries it.

    Raises:
        JudgeFailure: no verdict, two, a wrong ticket, a key too many or too few, a grade out of range.

    >>> from echat_eval.judge.rubric import load_judge
    >>> said = '{"reason": "warm", "content": 4, "cue_awareness": 5, "empathy": 4}'
    >>> parse_verdict(said, load_judge("echat-r1")).grades["cue_awareness"]
    5
    """
    if len(answer) > MAX_ANSWER:
        raise JudgeFailure(f"the judge's answer has {len(answer):,} characters; a verdict is one JSON object")
    found = _whole(answer) if ticket is None else _only_one(answer, judge, ticket)
    expected = {"reason", *judge.dimensions, *(["voice"] if heard else [])}
    if set(found) != expected or not isinstance(found["reason"], str):
        raise JudgeFailure(
            f"the judge's answer is not of the form {{{', '.join(sorted(expected))}}}: {_shown(answer)}"
        )
    grades = {name: _grade(name, found[name], judge.highest) for name in judge.dimensions}
    return Verdict(
        grades=grades,
        reason=found["reason"],
        voice=_grade("voice", found["voice"], judge.highest) if heard else None,
    )


def _grade(name: str, value: Any, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= highest:
        raise JudgeFailure(f"the judge's {name} {value!r} is not a whole number from 0 to {highest}")
    return value


def _whole(answer: str) -> dict[str, Any]:
    text = answer.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    try:
        found = loads(text)
    except ValueError as error:
        raise JudgeFailure(f"the judge's answer is not one JSON object: {_shown(answer)}") from error
    if not isinstance(found, dict):
        raise JudgeFailure(f"the judge's answer is not one JSON object: {_shown(answer)}")
    return found


def _only_one(answer: str, judge: Judge, ticket: str) -> dict[str, Any]:
    """Return the one object in prose that holds grades; a quoted forgery makes it two, and so none."""
    verdicts = [o for o in _objects(answer) if set(o) & {*judge.dimensions, "voice"}]
    if len(verdicts) != 1:
        raise JudgeFailure(f"the judge's answer holds {len(verdicts)} verdicts, expected 1: {_shown(answer)}")
    if verdicts[0].pop("ticket", None) != ticket:
        raise JudgeFailure(f"the judge's verdict does not carry this question's ticket: {_shown(answer)}")
    return verdicts[0]


def _objects(text: str) -> list[dict[str, Any]]:
    """Return every JSON object in a text, outermost ones only, in order."""
    found, at, decoder = [], text.find("{"), json.JSONDecoder()
    while at >= 0:
        try:
            _, end = decoder.raw_decode(text, at)
            found.append(loads(text[at:end]))
        except (ValueError, RecursionError):
            end = at + 1
        at = text.find("{", end)
    return found


def text_score(judge: Judge, grades: Mapping[str, float], task: str) -> float:
    """Return the score of a reply's words, 0 to 100.

    The weighted mean of the grades, and never more than the cap: a fluent reply that is blind to
    the cue cannot score well. The voice has no part in it.

    >>> from echat_eval.judge.rubric import load_judge
    >>> text_score(load_judge("echat-r1"), {"content": 5, "cue_awareness": 1, "empathy": 5}, "emotion")
    40.0
    """
    shares = judge.weights_for(task)
    weighted = sum(100 * shares[name] * grades[name] / judge.highest for name in judge.dimensions)
    return float(min(round(weighted, 9), judge.cap_points * (grades[judge.cap_dimension] + 1)))


def voice_score(judge: Judge, verdict: Verdict) -> float | None:
    """Return the score of the voice, 0 to 100, or None where no emotion was heard."""
    return None if verdict.voice is None else 100.0 * verdict.voice / judge.highest


def _shown(answer: str) -> str:
    line = " ".join(answer.split())
    return repr(line if len(line) <= 80 else line[:79] + "…")
