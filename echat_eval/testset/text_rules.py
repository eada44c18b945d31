"""Rules that a written sentence must keep; each has a name, the reason of a dropped row."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from echat_eval.io.display import unseen_characters
from echat_eval.io.jsonl import loads
from echat_eval.labels import SHIPPED
from echat_eval.languages import base_of, error_rate_of
from echat_eval.scorers.normalize import normalised, words
from echat_eval.scorers.understanding import words_that_name
from echat_eval.testset.sentences import Member, Sentence

if TYPE_CHECKING:
    from echat_eval.testset.assign import Assignment

__all__ = [
    "answer_schema",
    "duplicate_fault",
    "duplicate_of",
    "fault_of",
    "kept_sentences",
    "quotation_fault",
    "sentence_of",
]

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


def fault_of(sentence: Sentence, max_words: int, allow: Collection[str] = ()) -> tuple[str, str] | None:
    """Return the first rule that a sentence breaks, with what was found; None if it keeps all.

    Args:
        allow: names of rules that it may break.
    """
    return next((fault for fault in _faults(sentence, max_words) if fault[0] not in allow), None)


def _faults(sentence: Sentence, max_words: int) -> Iterator[tuple[str, str]]:
    language, replies = sentence.language, [member.reply for member in sentence.members]
    count = len(words(sentence.transcript, language))
    longest = max_words if error_rate_of(language) == "wer" else 2 * max_words
    for text in (sentence.transcript, *replies):
        if found := unseen_characters(text):
            yield "control-character", f"{found} in {text[:80]!r}"
        if "://" in text or "_" in text:
            yield "not-speech", text[:80]
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


def quotation_fault(sentence: Sentence, template: str) -> tuple[str, str] | None:
    """Return the reason to drop a sentence that a server copied from the prompt; None if it did not.

    Args:
        template: the prompt before topic and domain are filled in; a sentence may well be the topic.
    """
    spaced = error_rate_of(sentence.language) == "wer"
    mark, fewest = (" ", 2) if spaced else ("", 4)

    def joined(text: str) -> str:  # between marks, so that "art" is not in "start" where words have spaces
        return mark + mark.join(words(text, sentence.language)) + mark

    given = joined(template)
    for text in (sentence.transcript, *(member.reply for member in sentence.members)):
        if len(words(text, sentence.language)) >= fewest and joined(text) in given:
            return "quotes-the-prompt", text[:80]
    return None


def _in_script(text: str, language: str) -> bool:
    """Return whether most letters have the script of the language; other languages are not judged."""
    base = base_of(language)
    own = {"zh": _HAN_OR_KANA, "ja": _HAN_OR_KANA, "ko": _HANGUL}.get(base, _LATIN)
    if base not in {"en", "de", "fr", "es", "it", "pt", "nl", "zh", "ja", "ko"}:
        return True
    letters = [character for character in text if character.isalpha()]
    return bool(letters) and sum(own.match(c) is not None for c in letters) > 0.7 * len(letters)


def _named_label(sentence: Sentence) -> str | None:
    """Return the first word that names a label of the sentence's cues, its own or another."""
    cues = dict.fromkeys(cue for member in sentence.members for cue in member.cues)
    return next((word for cue in cues for word in words_that_name(SHIPPED[cue], sentence.transcript)), None)


def kept_sentences(
    sentences: Sequence[Sentence], max_words: int, allow: Collection[str] = ()
) -> tuple[list[Sentence], list[tuple[Sentence, str, str]]]:
    """Return the sentences that keep all rules, and the others with reason and detail."""
    kept: list[Sentence] = []
    lost: list[tuple[Sentence, str, str]] = []
    for sentence in sentences:
        fault = fault_of(sentence, max_words, allow)
        if fault is None and "duplicate" not in allow:
            fault = duplicate_fault(sentence, kept)
        if fault is None:
            kept.append(sentence)
        else:
            lost.append((sentence, *fault))
    return kept, lost


def duplicate_fault(sentence: Sentence, earlier: Sequence[Sentence]) -> tuple[str, str] | None:
    """Return the reason to drop a sentence that is like an earlier one; None if it is not."""
    if (other := duplicate_of(sentence, earlier)) is None:
        return None
    return "duplicate", f"{sentence.transcript!r} is like {other.transcript!r} ({other.id})"


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
