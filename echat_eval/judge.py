"""Reads a judge's folder, renders what the judge is shown, and parses what it answers.

Replies and transcripts are data: they are fenced by a line that cannot occur in them, and bounded in length.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, JudgeFailure, NotApplicable, UnknownName
from echat_eval.jsonl import loads
from echat_eval.resources import data_folder
from echat_eval.yaml_file import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["SCHEMA_NAME", "Judge", "Verdict", "judge_names", "load_judge", "parse_verdict", "render"]

SCHEMA_NAME = "verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A rubric: what a judge is shown, and which answers are in the agreed form.

    Attributes:
        prompts: language -> prompt, with the places {{fence}}, {{transcript}}, {{cues}} and {{reply}}.
        low, high: whole numbers a verdict may be.
        scale: points of the 0 to 100 scale per step.
        max_reply_characters: longer replies are cut, and the cut is said to the judge.
    """

    name: str
    version: int
    title: str
    prompts: Mapping[str, str]
    low: int
    high: int
    scale: float
    max_reply_characters: int

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of a verdict."""
        return {
            "type": "object",
            "properties": {
                "reason": {"type": "string", "maxLength": 600},
                "score": {"type": "integer", "minimum": self.low, "maximum": self.high},
            },
            "required": ["reason", "score"],
            "additionalProperties": False,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a judge said of one reply."""

    score: int
    reason: str


def judge_names() -> list[str]:
    """Return the names of the shipped judges."""
    return sorted(path.parent.name for path in data_folder("judges").glob("*/judge.yaml"))


def load_judge(name: str) -> Judge:
    """Return a shipped judge.

    >>> load_judge("echat-r0").high
    5
    """
    if name not in judge_names():
        raise UnknownName("judge", name, judge_names())
    folder = data_folder("judges") / name
    facts = read_yaml(folder / "judge.yaml").content
    known = {
        "name",
        "version",
        "title",
        "description",
        "languages",
        "low",
        "high",
        "scale",
        "max_reply_characters",
    }
    for key in (*sorted(known - set(facts)), *sorted(set(facts) - known)):
        raise BadData(f"{folder / 'judge.yaml'}: '{key}' is {'unknown' if key in facts else 'missing'}")
    prompts = {language: _prompt(folder / f"prompt.{language}.md") for language in facts["languages"]}
    return Judge(
        name=facts["name"],
        version=facts["version"],
        title=facts["title"],
        prompts=prompts,
        low=facts["low"],
        high=facts["high"],
        scale=facts["scale"],
        max_reply_characters=facts["max_reply_characters"],
    )


def _prompt(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    for place in ("{{fence}}", "{{transcript}}", "{{cues}}", "{{reply}}"):
        if place not in text:
            raise BadData(f"{path}: has no {place}")
    return text


def render(judge: Judge, *, language: str, transcript: str, cues: Mapping[str, str], reply: str) -> str:
    """Return the prompt for one reply.

    The fence is made of a hash of all that it fences, so nobody can write it beforehand.

    Raises:
        NotApplicable: the judge has no prompt in this language.
    """
    if language not in judge.prompts:
        raise NotApplicable(f"judge '{judge.name}' has no prompt in language '{language}'")
    parts = {
        "transcript": _bounded(transcript, judge.max_reply_characters),
        "cues": "\n".join(f"{cue}: {label}" for cue, label in sorted(cues.items())),
        "reply": _bounded(reply, judge.max_reply_characters),
    }
    fence = "=====" + hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()[:16]
    text = judge.prompts[language].replace("{{fence}}", fence)
    # The places are filled in one pass, so that a reply holding "{{cues}}" stays a reply.
    pieces = text.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, closed, rest = piece.partition("}}")
        filled.append(parts[name] + rest if closed and name in parts else "{{" + piece)
    return "".join(filled)


def _bounded(text: str, limit: int) -> str:
    """Return text without control or invisible characters, cut at the limit and said so."""
    kept = "".join(
        c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn")
    )
    return kept if len(kept) <= limit else kept[:limit] + f"\n[cut: {len(kept) - limit:,} more characters]"


def parse_verdict(answer: str, judge: Judge) -> Verdict:
    """Return the one verdict of an answer. Nothing is clamped and there is no default.

    Raises:
        JudgeFailure: prose, two verdicts, a score that is not a whole number or is out of range.

    >>> parse_verdict('{"reason": "warm", "score": 4}', load_judge("echat-r0")).score
    4
    """
    text = answer.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    try:
        found = loads(text)
    except ValueError as error:
        raise JudgeFailure(f"the judge's answer is not one JSON object: {_shown(answer)}") from error
    if (
        not isinstance(found, dict)
        or set(found) != {"reason", "score"}
        or not isinstance(found["reason"], str)
    ):
        raise JudgeFailure(f"the judge's answer is not of the form {{reason, score}}: {_shown(answer)}")
    score = found["score"]
    if isinstance(score, bool) or not isinstance(score, int) or not judge.low <= score <= judge.high:
        raise JudgeFailure(
            f"the judge's score {score!r} is not a whole number from {judge.low} to {judge.high}"
        )
    return Verdict(score=score, reason=found["reason"])


def _shown(answer: str) -> str:
    line = " ".join(answer.split())
    return repr(line if len(line) <= 80 else line[:79] + "…")
