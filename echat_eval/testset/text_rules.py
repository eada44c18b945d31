"""Rules that a written sentence must keep; each has a name, the reason of a dropped row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from echat_eval.io.jsonl import loads
from echat_eval.labels import SHIPPED
from echat_eval.languages import base_of, error_rate_of
from echat_eval.scorers.normalize import normalised, words
from echat_eval.testset.sentences import Member, Sentence

if TYPE_CHECKING:
    from echat_eval.testset.assign import Assignment

__all__ = ["REASONS", "answer_schema", "duplicate_of", "fault_of", "sentence_of"]

#: Name of a reason -> its meaning, for docs and data cards.
REASONS: Mapping[str, str] = {
    "no-answer": "the server did not answer; the next command asks again",
    "not-as-asked": "the answer is no JSON object with the fields of the schema",
    "too-long": "the sentence has more words than max_words",
    "names-the-label": "the sentence names a label or the sound, so that the words give the voice away",
    "other-language": "the sentence or a reply is in another script than the language",
    "equal-replies": "two voices get the same reply",
    "short-reply": "a reply has fewer than four words",
    "repeats-the-query": "a reply contains the sentence itself",
    "duplicate": "an earlier sentence has the same or nearly the same words",
}
_FEWEST_WORDS = 4
#: Share of three-letter pieces that two sentences have in common at most.
_ALIKE = 0.6
_HAN_OR_KANA = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_HANGUL = re.compile("[\uac00-\ud7af]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")


def answer_schema(assignment: Assignment) -> dict[str, Any]:
    """Return the JSON schema of the answer for one sentence."""
    names = ["transcript", *_reply_names(assignment)]
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
        "additionalProperties": False,
    }


def _reply_names(assignment: Assignment) -> list[str]:
    if assignment.expect == "same":
        return ["reply"]
    return [f"reply_{number}" for number in range(1, len(assignment.voices) + 1)]


def sentence_of(answer: str, assignment: Assignment) -> Sentence | tuple[str, str]:
    """Return the sentence of a server's answer, or the reason why it is none, with a detail."""
    names = ["transcript", *_reply_names(assignment)]
    try:
        fields = loads(answer)
    except ValueError as error:
        return "not-as-asked", f"no JSON: {error}"[:200]
    if not isinstance(fields, dict) or any(not isinstance(fields.get(name), str) for name in names):
        return "not-as-asked", f"expected texts {', '.join(names)}; found {answer[:120]!r}"
    texts = [" ".join(fields[name].split()) for name in names]
    if not all(texts):
        return "not-as-asked", f"{names[texts.index('')]} is empty"
    replies = texts[1:] if assignment.expect is None else texts[1:] * len(assignment.voices)
    return Sentence(
        id=assignment.id,
        language=assignment.language,
        transcript=texts[0],
        members=tuple(
            Member(cues=voice, reply=reply) for voice, reply in zip(assignment.voices, replies, strict=True)
        ),
        expect=assignment.expect,
    )


def fault_of(sentence: Sentence, max_words: int) -> tuple[str, str] | None:
    """Return the first rule that a sentence breaks, with what was found; None if it keeps all."""
    return next(_faults(sentence, max_words), None)


def _faults(sentence: Sentence, max_words: int) -> Iterator[tuple[str, str]]:
    language, replies = sentence.language, [member.reply for member in sentence.members]
    count = len(words(sentence.transcript, language))
    longest = max_words if error_rate_of(language) == "wer" else 2 * max_words
    for text in (sentence.transcript, *replies):
        if not _in_script(text, language):
            yield "other-language", f"{text[:80]!r} is not in '{language}'"
    if not 2 <= count <= longest:
        yield "too-long", f"{count} words or characters; expected 2 to {longest}"
    if name := _named_label(sentence):
        yield "names-the-label", f"'{name}' in {sentence.transcript[:80]!r}"
    if sentence.expect is None and len({normalised(reply) for reply in replies}) < len(replies):
        yield "equal-replies", replies[0][:80]
    for reply in replies:
        if len(words(reply, language)) < _FEWEST_WORDS:
            yield "short-reply", reply
        if normalised(sentence.transcript) in normalised(reply):
            yield "repeats-the-query", reply[:80]


def _in_script(text: str, language: str) -> bool:
    """Return whether most letters have the script of the language; other languages are not judged."""
    base = base_of(language)
    own = {"zh": _HAN_OR_KANA, "ja": _HAN_OR_KANA, "ko": _HANGUL}.get(base, _LATIN)
    if base not in {"en", "de", "fr", "es", "it", "pt", "nl", "zh", "ja", "ko"}:
        return True
    letters = [character for character in text if character.isalpha()]
    return bool(letters) and sum(own.match(c) is not None for c in letters) > 0.7 * len(letters)


def _named_label(sentence: Sentence) -> str | None:
    text = f" {normalised(sentence.transcript)} "
    for member in sentence.members:
        for cue, label in member.cues.items():
            spellings = [label, *(a for a, target in SHIPPED[cue].aliases.items() if target == label)]
            for name in spellings:
                spaced = name if error_rate_of(sentence.language) == "cer" else f" {name} "
                if len(name) > 1 and label != "none" and spaced in text:
                    return name
    return None


def duplicate_of(sentence: Sentence, earlier: Sequence[Sentence]) -> Sentence | None:
    """Return an earlier sentence with the same or nearly the same words; None if there is none."""
    pieces = _pieces(sentence.transcript)
    for other in earlier:
        if other.language == sentence.language:
            theirs = _pieces(other.transcript)
            if len(pieces & theirs) >= _ALIKE * max(1, len(pieces | theirs)):
                return other
    return None


def _pieces(text: str) -> set[str]:
    plain = normalised(text).replace(" ", "")
    return {plain[n : n + 3] for n in range(max(1, len(plain) - 2))}
