"""The judge's prompt: pieces of data between fence lines that the data cannot forge.

Replies and transcripts are data. The fence contains a hash of the data, so a reply cannot contain its
own fence, and every line of data has a prefix, so that none can look like a fence. Invisible characters
are dropped, and long texts are cut with a visible mark.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from echat_eval.errors import NotApplicable
from echat_eval.io.hashing import sha256_of
from echat_eval.judge.cue_text import guide_of, label_text
from echat_eval.judge.rubric import HISTORY, VOICE_DESCRIPTION
from echat_eval.judge.ticket import TICKET
from echat_eval.languages import language_name, lookup
from echat_eval.records import LATER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.judge.recordings import Recording
    from echat_eval.judge.rubric import Judge
    from echat_eval.records import Cue, Turn

__all__ = [
    "NOT_MEASURED",
    "NO_HISTORY",
    "NO_VOICE_EMOTION",
    "QUOTE",
    "Prompt",
    "Question",
    "VoiceEmotion",
    "grades_voice",
    "render",
]

#: Prefix of every line of data: a model that takes the first "=====" for the end of the data finds none.
QUOTE = "> "
#: Shown if no annotator detected an emotion in the voice; the words are no substitute.
NO_VOICE_EMOTION = "not heard"
NOT_GIVEN = "not given"
#: Shown if no annotator measured the voice.
NOT_MEASURED = "not measured"
#: Shown where a sample has no earlier turns, and where a turn is only a recording.
NO_HISTORY = "none"
NO_WORDS = "(a recording; its words are not given)"
MAX_TURNS = 20
MAX_VOICE_CHARACTERS = 600
#: Before a prompt that is in another language than the dialogue.
SPOKEN = (
    "The speaker speaks {language}, and so should the assistant: a reply in any other language is in a "
    "language the speaker did not use. Grade it as a native listener would. Write your reason in English."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceEmotion:
    """The emotion an annotator detected in a reply's voice.

    Attributes:
        emotion: one of the benchmark's labels.
        confidence: the annotator's probability of it, 0 to 1.
    """

    emotion: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The inputs of the published judge, and the earlier turns of a dialogue.

    Attributes:
        task: selects the weights; not shown.
        cues: cue name -> gold label; empty (in a control): shown as "not given".
        voice_emotion: None is shown as `NO_VOICE_EMOTION`.
        rubric: that the question is asked under; None: the client's own.
        history: earlier turns, oldest first; only a rubric that shows them has them in its prompts.
        own_cues: cues that the task defines; their guides are shown.
        recordings: for a rubric whose judge listens; None: no audio.
        voice: description of the reply's voice, for a rubric that shows it; None: nothing was measured.
    """

    task: str
    language: str
    transcript: str
    cues: Mapping[str, str]
    reply: str
    voice_emotion: VoiceEmotion | None = None
    rubric: Judge | None = None
    history: tuple[Turn, ...] = ()
    own_cues: Mapping[str, Cue] | None = None
    recordings: tuple[Recording, ...] | None = field(default=None, metadata=LATER)
    voice: str | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A rendered question.

    Attributes:
        fence: start of the lines that enclose the data.
        recordings: sent after the text, in this order.
    """

    text: str
    fence: str
    recordings: tuple[Recording, ...] = ()


def render(judge: Judge, question: Question, *, turn: int = 0, ticket: str | None = None) -> Prompt:
    """Return the prompt for one question.

    Args:
        turn: number of the repeat; each rotates the order of the dimensions by one.
        ticket: a word that the verdict must repeat, for servers without JSON schemas.

    Raises:
        NotApplicable: the judge has no prompt in this language, or listens and there is no audio.
    """
    language = judge.prompt_language(question.language)
    if language is None:
        raise NotApplicable(f"judge '{judge.name}' has no prompt in language '{question.language}'")
    recordings = question.recordings or () if judge.listens else ()
    if judge.listens and not recordings:
        raise NotApplicable(f"judge '{judge.name}' listens, and there is no audio to listen to")
    emotion = question.voice_emotion
    voice = f"{emotion.emotion} (confidence {emotion.confidence:.2f})" if emotion else NO_VOICE_EMOTION
    own = question.own_cues or {}
    shown = [label_text(cue, label, own, language) for cue, label in sorted(question.cues.items())]
    cues = "\n".join(shown) or NOT_GIVEN
    data = {
        "transcript": _quoted(_bounded(question.transcript, judge.max_reply_characters)),
        "cues": _quoted(cues),
        "reply": _quoted(_bounded(question.reply, judge.max_reply_characters)),
        "heard": _quoted(voice),
    }
    if HISTORY in judge.frames[language]:
        data["history"] = _quoted(_history(question.history, judge.max_reply_characters // 4))
    if VOICE_DESCRIPTION in judge.frames[language]:
        data["voice_description"] = _quoted(_bounded(question.voice or NOT_MEASURED, MAX_VOICE_CHARACTERS))
    with_voice = grades_voice(judge, question)
    sections = judge.sections[language]
    first = 0 if judge.listens else turn
    rotated = [judge.dimensions[(first + n) % len(judge.dimensions)] for n in range(len(judge.dimensions))]
    guides = [
        guide_of(own[cue], language) if cue in own else sections["cue", cue]
        for cue in sorted(question.cues)
        if cue in own or ("cue", cue) in sections
    ]
    # A match question shows the labels of two voices, and its frame has no place for guides.
    placed = "{{cues_guide}}" in judge.frames[language]
    meanings = [] if placed else [guide_of(cue, language) for _, cue in sorted(own.items()) if cue.guides]
    parts = {
        **data,
        "fence": "=====" + sha256_of(repr(sorted(data.items())))[:16],
        "dimensions": "\n\n".join([*(sections["dimension", name] for name in rotated), *meanings]),
        "cues_guide": "\n\n".join(guides + ([sections["cues", ""]] if len(guides) > 1 else [])),
        "voice_guide": sections["voice", ""] if with_voice else "",
        "recordings": "\n".join(
            f"- Recording {number}: {sections['recording', recording.name]}"
            for number, recording in enumerate(recordings, 1)
        ),
        "form": _form(judge, rotated, with_voice=with_voice, ticket=ticket),
    }
    text = _filled(judge.frames[language], parts)
    if lookup(question.language, judge.frames) is None:
        text = SPOKEN.format(language=language_name(question.language)) + "\n\n" + text
    return Prompt(text=text, fence=parts["fence"], recordings=recordings)


def grades_voice(judge: Judge, question: Question) -> bool:
    """Return whether a verdict grades the voice by what instruments found in it, apart from the words."""
    if judge.listens or not any("{{heard}}" in frame for frame in judge.frames.values()):
        return False
    return question.voice_emotion is not None or (judge.shows_voice and question.voice is not None)


def _filled(frame: str, parts: Mapping[str, str]) -> str:
    """Fill all placeholders in one pass, so that "{{cues}}" in a reply is not a placeholder."""
    pieces = frame.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, closed, rest = piece.partition("}}")
        filled.append(parts[name] + rest if closed and name in parts else "{{" + piece)
    return "".join(filled)


def _form(judge: Judge, dimensions: list[str], *, with_voice: bool, ticket: str | None) -> str:
    """Return a template of the answer. It is not valid JSON, so an echo of it is not a verdict."""
    keys = [*dimensions, *(["voice"] if with_voice else [])]
    grades = ", ".join(f'"{key}": <0..{judge.highest}>' for key in keys)
    return f'{{"reason": "<...>", {grades}' + (f', "{TICKET}": "{ticket}"}}' if ticket else "}")


def _history(turns: Sequence[Turn], limit: int) -> str:
    """Return earlier turns, numbered, the last `MAX_TURNS` of them.

    A turn's further lines are indented, so that none looks like the beginning of another turn.

    Args:
        limit: maximum characters of a turn.
    """
    first = max(len(turns) - MAX_TURNS, 0)
    lines = [f"[{first} earlier turns left out]"] if first else []
    for number, turn in enumerate(turns[first:], first + 1):
        words = _bounded(turn.text, limit) if turn.text else NO_WORDS
        lines.append(f"[{number}] {turn.role}: " + words.replace("\n", "\n    "))
    return "\n".join(lines) or NO_HISTORY


def _quoted(text: str) -> str:
    return "\n".join(QUOTE + line for line in text.split("\n"))


def _bounded(text: str, limit: int) -> str:
    """Return text without control or invisible characters, cut with a mark at the limit."""
    kept = "".join(_visible(character) for character in text[: 4 * limit])
    cut = max(len(kept) - limit, 0) + max(len(text) - 4 * limit, 0)
    return f"{kept[:limit]}\n[cut: {cut:,} more characters]" if cut else kept


def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    if unicodedata.category(character) in ("Zl", "Zp"):
        return "\n"
    # Variation selectors are invisible and can carry text; so are the categories below.
    if "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        return ""
    return "" if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") else character
