"""Words and voice emotion of one reply, from the system's text and its annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.errors import NotApplicable, SystemFailure, Unavailable
from echat_eval.judge import VoiceEmotion
from echat_eval.labels import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echat_eval.ports import Case
    from echat_eval.records import Annotation, State

__all__ = [
    "ASR_ANNOTATORS",
    "EMOTION_ANNOTATORS",
    "emotion_of",
    "opinions_of",
    "words_of",
    "words_or_state",
]

#: ASR annotators in order of preference; the first with a hypothesis counts.
ASR_ANNOTATORS: tuple[str, ...] = ("whisper", "funasr", "transformers-asr")
#: Emotion annotators; the first configured one counts, the others are second opinions.
EMOTION_ANNOTATORS: tuple[str, ...] = ("emotion2vec", "sensevoice", "transformers-emotion")


def words_of(case: Case, annotators: Sequence[str] = ASR_ANNOTATORS) -> str:
    """Return the words of a reply: the system's text, else the first ASR hypothesis.

    Raises:
        SystemFailure: the reply has no text, and its ASR hypothesis is empty.
        Unavailable: the reply has no text, and its ASR annotation is missing.
        NotApplicable: the reply has no text, and no ASR annotator covers it.
    """
    reply = case.response.reply
    if reply is not None and reply.text and reply.text.strip():
        return reply.text
    for annotation in _annotations(case, annotators):
        if annotation.state == "value" and isinstance(annotation.values.get("hypothesis"), str):
            words = str(annotation.values["hypothesis"])
            if not words.strip():
                raise SystemFailure(f"empty reply: it has no text, and {annotation.annotator} found no words")
            return words
        if annotation.state == "missing":
            raise Unavailable(f"the words of the reply are missing: {annotation.reason}")
    raise NotApplicable("the reply has no text, and no annotator transcribed it")


def words_or_state(case: Case) -> tuple[State, str]:
    """Return "value" and the words of a reply, or the state and reason of a score without them.

    For scorers that turn every case into a score; the words are those of `words_of`.
    """
    if case.no_reply is not None:
        return case.no_reply
    try:
        return "value", words_of(case)
    except SystemFailure as error:
        return "failed", str(error)
    except Unavailable as error:
        return "missing", str(error)
    except NotApplicable as error:
        return "not applicable", str(error)


def emotion_of(case: Case, annotators: Sequence[str] = EMOTION_ANNOTATORS) -> VoiceEmotion | None:
    """Return the emotion by the first configured annotator, or None if it abstained.

    Raises:
        Unavailable: its annotation is missing.
        NotApplicable: no emotion annotator covers this reply; the words are no substitute.
    """
    for annotation in _annotations(case, annotators):
        if annotation.state == "missing":
            raise Unavailable(f"the emotion of the voice is missing: {annotation.reason}")
        if annotation.state != "value":
            continue
        emotion, confidence = annotation.values.get("emotion"), annotation.values.get("confidence")
        if emotion not in LABELS["emotion"] or not isinstance(confidence, int | float):
            return None
        return VoiceEmotion(emotion=str(emotion), confidence=float(confidence))
    raise NotApplicable("no annotator covers the emotion of the reply's voice")


def opinions_of(case: Case, annotators: Sequence[str] = EMOTION_ANNOTATORS) -> dict[str, str]:
    """Return annotator -> its emotion label, to show disagreement."""
    return {
        a.annotator: str(a.values["emotion"])
        for a in _annotations(case, annotators)
        if a.state == "value" and "emotion" in a.values
    }


def _annotations(case: Case, annotators: Sequence[str]) -> Iterator[Annotation]:
    return (case.annotations[name] for name in annotators if name in case.annotations)
