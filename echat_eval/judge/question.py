"""What a judge is shown: four pieces of data behind a fence that none of them can write.

Replies and transcripts are data. The fence's name is a hash of all that it fences, so nobody can
write it beforehand; invisible characters are dropped and long texts are cut, and the cut is said.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from echat_eval.errors import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.judge.rubric import Judge

__all__ = ["NOT_HEARD", "Prompt", "Question", "VoiceEmotion", "render"]

#: Shown in place of an emotion where no instrument heard one; never guessed from the words.
NOT_HEARD = "not heard"
NOT_GIVEN = "not given"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceEmotion:
    """The emotion an annotator heard in a reply's voice.

    Attributes:
        emotion: one of the benchmark's labels.
        confidence: the annotator's probability of it, 0 to 1.
    """

    emotion: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """All that the published judge is given, and nothing else.

    Attributes:
        task: picks the weights, and is not shown.
        cues: cue name -> gold label; empty: "not given", as a control asks it.
        heard: None is shown as "not heard".
    """

    task: str
    language: str
    transcript: str
    cues: Mapping[str, str]
    reply: str
    heard: VoiceEmotion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A rendered question.

    Attributes:
        fence: the line the data stands between begins with this.
        ticket: what a verdict in prose must carry; None where the server holds a schema.
    """

    text: str
    fence: str
    ticket: str | None


def render(judge: Judge, question: Question, *, turn: int = 0, ticket: bool = False) -> Prompt:
    """Return the prompt for one question.

    Args:
        turn: number of the repeat; each turns the order of the dimensions by one.
        ticket: ask for a word that only this prompt holds, for servers that hold no schema.

    Raises:
        NotApplicable: the judge has no prompt in this language.
    """
    if question.language not in judge.frames:
        raise NotApplicable(f"judge '{judge.name}' has no prompt in language '{question.language}'")
    heard = question.heard
    data = {
        "transcript": _bounded(question.transcript, judge.max_reply_characters),
        "cues": "\n".join(f"{cue}: {label}" for cue, label in sorted(question.cues.items())) or NOT_GIVEN,
        "reply": _bounded(question.reply, judge.max_reply_characters),
        "heard": f"{heard.emotion} (confidence {heard.confidence:.2f})" if heard else NOT_HEARD,
    }
    secret = hashlib.sha256(repr(sorted(data.items())).encode()).hexdigest()
    word = secret[16:24] if ticket else None
    sections = judge.sections[question.language]
    turned = [judge.dimensions[(turn + n) % len(judge.dimensions)] for n in range(len(judge.dimensions))]
    guides = [sections["cue", cue] for cue in sorted(question.cues) if ("cue", cue) in sections]
    parts = {
        **data,
        "fence": "=====" + secret[:16],
        "dimensions": "\n\n".join(sections["dimension", name] for name in turned),
        "cues_guide": "\n\n".join(guides + ([sections["cues", ""]] if len(guides) > 1 else [])),
        "voice_guide": sections["voice", ""] if heard else "",
        "form": _form(judge, turned, heard=heard is not None, word=word),
    }
    return Prompt(
        text=_filled(judge.frames[question.language], parts),
        fence=parts["fence"],
        ticket=word,
    )


def _filled(frame: str, parts: Mapping[str, str]) -> str:
    """Fill every place in one pass, so that a reply holding "{{cues}}" stays a reply."""
    pieces = frame.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, closed, rest = piece.partition("}}")
        filled.append(parts[name] + rest if closed and name in parts else "{{" + piece)
    return "".join(filled)


def _form(judge: Judge, turned: list[str], *, heard: bool, word: str | None) -> str:
    """Return the shape of an answer. It is no JSON itself, so an echo of it is no verdict."""
    keys = [*turned, *(["voice"] if heard else [])]
    grades = ", ".join(f'"{key}": <0..{judge.highest}>' for key in keys)
    return f'{{"reason": "<...>", {grades}' + (f', "ticket": "{word}"}}' if word else "}")


def _bounded(text: str, limit: int) -> str:
    """Return text without control or invisible characters, cut at the limit and said so."""
    kept = "".join(_visible(character) for character in text[: 4 * limit])
    cut = max(len(kept) - limit, 0) + max(len(text) - 4 * limit, 0)
    return f"{kept[:limit]}\n[cut: {cut:,} more characters]" if cut else kept


def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    if unicodedata.category(character) in ("Zl", "Zp"):
        return "\n"
    # Variation selectors draw nothing and can carry text; the other groups draw nothing by nature.
    if "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        return ""
    return "" if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") else character
