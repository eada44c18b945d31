"""Parsing of verdicts and their scores. Grades are never clamped and have no default."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import JudgeFailure, scrub, writable
from echat_eval.io.display import one_line
from echat_eval.judge.ticket import TICKET, ticket_field

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from echat_eval.judge.rubric import Judge

__all__ = ["NoTicket", "Verdict", "parse_verdict", "text_score", "voice_score"]

#: Characters; longer answers are rejected. A verdict has a few hundred.
MAX_ANSWER = 100_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: A code fence around a whole answer, with the name of a language or without.
_FENCED = re.compile(r"(?:```|~~~)[A-Za-z0-9]*\s*(\{.*\})\s*(?:```|~~~)", re.DOTALL)
#: Marks of a thought that servers leave in an answer.
_OPENING = re.compile(r"<(?:think|thinking|thought|reasoning)>|\[THINK\]", re.IGNORECASE)
_CLOSING = re.compile(r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judge's grades of one reply.

    Attributes:
        grades: dimension -> whole number.
        voice: grade of the voice's emotion; None if no emotion was shown.
    """

    grades: Mapping[str, int]
    reason: str
    voice: int | None = None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; one that names a grade twice leaves open which counts."""
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("the same key twice in one object")
    return found


#: Unlike `io.jsonl.loads`, it accepts lone surrogates: a verdict is paid for; its reason is made writable.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


class NoTicket(JudgeFailure):
    """A verdict that carries no ticket at all, as from a server that ignores the schema."""


def parse_verdict(
    answer: str, judge: Judge, *, with_voice: bool = False, ticket: str | None = None, whole: bool = False
) -> Verdict:
    """Return the one verdict of an answer.

    Args:
        with_voice: the judge was shown an emotion and had to grade the voice.
        ticket: of the question; the verdict must carry it, as the value of "ticket" or in the name of a field
            (see `ticket.ticket_field`). None: it carries none.
        whole: the whole answer is the verdict, as under a schema (a code fence around it is stripped).
            Otherwise, with a ticket, prose may surround exactly one verdict.

    Raises:
        NoTicket: a verdict without a ticket.
        JudgeFailure: no verdict, two, another ticket, a key too many or too few, a grade out of range.

    >>> from echat_eval.judge.rubric import load_judge
    >>> answer = '{"reason": "warm", "content": 4, "cue_awareness": 5, "empathy": 4}'
    >>> parse_verdict(answer, load_judge("echat-r1")).grades["cue_awareness"]
    5
    """
    thought, answer = _without_thought(answer)
    if thought and not answer:
        raise JudgeFailure(f"the judge gave a thought and no answer: {_shown(thought)}")
    if not answer.strip():
        raise JudgeFailure("the judge's answer is empty")
    if len(answer) > MAX_ANSWER:
        raise JudgeFailure(f"the judge's answer has {len(answer):,} characters; a verdict is one JSON object")
    # Strict JSON has no line breaks in a text, and models write them.
    answer = _CONTROL.sub(" ", answer)
    verdict = _whole(answer) if whole or ticket is None else _from_prose(answer, judge)
    if ticket is not None:
        _take_ticket(verdict, ticket, answer)
    expected = {"reason", *judge.dimensions, *(["voice"] if with_voice else [])}
    if set(verdict) != expected or not isinstance(verdict["reason"], str):
        raise JudgeFailure(
            f"the judge's answer is not of the form {{{', '.join(sorted(expected))}}}"
            f"{_differences(verdict, expected)}: {_shown(answer)}"
        )
    grades = {name: _grade(name, verdict[name], judge.highest) for name in judge.dimensions}
    return Verdict(
        grades=grades,
        # The text of an answer was scrubbed before its escapes were read.
        reason=writable(scrub(verdict["reason"])),
        voice=_grade("voice", verdict["voice"], judge.highest) if with_voice else None,
    )


def _differences(verdict: Mapping[str, Any], expected: Collection[str]) -> str:
    """Return which keys a verdict lacks and which it has too many, because an excerpt may end before them."""
    lacks = ", ".join(sorted(set(expected) - set(verdict)))
    extra = one_line(writable(scrub(", ".join(sorted(set(verdict) - set(expected))))), 80)
    parts = [f"lacks {lacks}"] * bool(lacks) + [f"has {extra} too"] * bool(extra)
    return f" ({'; '.join(parts)})" if parts else " (reason is not text)"


def _take_ticket(verdict: dict[str, Any], ticket: str, answer: str) -> None:
    """Remove the ticket from a verdict.

    Raises:
        NoTicket: it carries none.
        JudgeFailure: it carries another one.
    """
    given = [name for name in verdict if name == TICKET or name.startswith(ticket_field(""))]
    if not given:
        raise NoTicket(f"the judge's verdict does not carry this question's ticket: {_shown(answer)}")
    if not any(name == ticket_field(ticket) or verdict[name] == ticket for name in given):
        raise JudgeFailure(f"the judge's verdict carries the ticket of another question: {_shown(answer)}")
    for name in given:
        del verdict[name]


def _without_thought(answer: str) -> tuple[str, str]:
    """Return the thought before an answer, such as `<think>...</think>`, and the answer.

    A thought that does not end leaves no answer. Marks inside the verdict are part of it.
    """
    text = answer.lstrip()
    if text.startswith(("{", "```")):
        return "", answer
    opening = _OPENING.match(text)
    closing = _CLOSING.search(text)
    if closing is not None and (opening is not None or "{" not in text[: closing.start()]):
        return text[: closing.end()], text[closing.end() :].strip()
    return (text, "") if opening is not None else ("", answer)


def _grade(name: str, value: Any, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= highest:
        shown = one_line(writable(scrub(repr(value))), 40)
        raise JudgeFailure(f"the judge's {name} {shown} is not a whole number from 0 to {highest}")
    return value


def _whole(answer: str) -> dict[str, Any]:
    text = answer.strip()
    if fenced := _FENCED.fullmatch(text):
        text = fenced[1]
    try:
        verdict = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise JudgeFailure(f"the judge's answer is not one JSON object: {_shown(answer)}") from error
    if not isinstance(verdict, dict):
        raise JudgeFailure(f"the judge's answer is not one JSON object: {_shown(answer)}")
    return verdict


def _from_prose(answer: str, judge: Judge) -> dict[str, Any]:
    """Return the only object with grades in prose; a quoted forgery makes two, which is a failure."""
    verdicts = [o for o in _objects(answer) if set(o) & {*judge.dimensions, "voice"}]
    if len(verdicts) != 1:
        raise JudgeFailure(f"the judge's answer has {len(verdicts)} verdicts, expected 1: {_shown(answer)}")
    return verdicts[0]


def _objects(text: str) -> list[dict[str, Any]]:
    """Return the outermost JSON objects in a text, in order."""
    objects, start = [], text.find("{")
    while start >= 0:
        try:
            _, end = json.JSONDecoder().raw_decode(text, start)
            objects.append(_DECODER.decode(text[start:end]))
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return objects


def text_score(judge: Judge, grades: Mapping[str, float], task: str, *, with_cap: bool = True) -> float:
    """Return the score of a reply's words, 0 to 100.

    It is the weighted mean of the grades, up to the cap: a fluent reply that ignores the cue cannot score
    well. The grade of the voice does not count. Without the cap, it is the weighted mean alone.

    >>> from echat_eval.judge.rubric import load_judge
    >>> text_score(load_judge("echat-r1"), {"content": 5, "cue_awareness": 1, "empathy": 5}, "emotion")
    40.0
    """
    shares = judge.weights_for(task)
    weighted = round(sum(100 * shares[name] * grades[name] / judge.highest for name in judge.dimensions), 9)
    if not with_cap:
        return float(weighted)
    return float(min(weighted, judge.cap_points * (grades[judge.cap_dimension] + 1)))


def voice_score(judge: Judge, verdict: Verdict) -> float | None:
    """Return the score of the voice, 0 to 100; None without a grade of it."""
    return None if verdict.voice is None else 100.0 * verdict.voice / judge.highest


def _shown(answer: str) -> str:
    return repr(one_line(writable(scrub(answer)), 80))
