"""What the annotators heard in one reply: its words, and the emotion of its voice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.errors import NotApplicable, SystemFailure, Unavailable
from echat_eval.judge import VoiceEmotion
from echat_eval.labels import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echat_eval.ports import Case
    from echat_eval.records import Annotation

__all__ = ["ASR_ANNOTATORS", "EMOTION_ANNOTATORS", "emotion_of", "opinions_of", "words_of"]

#: Annotators that hear words, the first that heard any is believed.
ASR_ANNOTATORS: tuple[str, ...] = ("whisper", "funasr", "transformers-asr")
#: Annotators that hear an emotion; the first is believed, the others are second opinions.
EMOTION_ANNOTATORS: tuple[str, ...] = ("emotion2vec", "sensevoice", "transformers-emotion")


def words_of(case: Case, ears: Sequence[str] = ASR_ANNOTATORS) -> str:
    """Return the words of a reply: what the system wrote, else what the first ear heard.

    Raises:
        SystemFailure: an ear heard no word in a reply without text: it is empty.
        Unavailable: an ear would hear them, and its annotation is missing.
        NotApplicable: neither text nor an ear.
    """
    reply = case.response.reply
    if reply is not None and reply.text and reply.text.strip():
        return reply.text
    for annotation in _of(case, ears):
        if annotation.state == "value" and isinstance(annotation.values.get("hypothesis"), str):
            words = str(annotation.values["hypothesis"])
            if not words.strip():
                raise SystemFailure(f"empty reply: it has no text, and {annotation.annotator} heard no words")
            return words
        if annotation.state == "missing":
            raise Unavailable(f"the words of the reply are missing: {annotation.reason}")
    raise NotApplicable("the reply has no text, and no annotator heard its words")


def emotion_of(case: Case, ears: Sequence[str] = EMOTION_ANNOTATORS) -> VoiceEmotion | None:
    """Return the emotion the first configured ear heard, or None if it could not tell one.

    Raises:
        Unavailable: its annotation is missing.
        NotApplicable: no such annotator heard this reply; the words are never asked instead.
    """
    for annotation in _of(case, ears):
        if annotation.state == "missing":
            raise Unavailable(f"the emotion of the voice is missing: {annotation.reason}")
        if annotation.state != "value":
            continue
        emotion, confidence = annotation.values.get("emotion"), annotation.values.get("confidence")
        if emotion not in LABELS["emotion"] or not isinstance(confidence, int | float):
            return None
        return VoiceEmotion(emotion=str(emotion), confidence=float(confidence))
    raise NotApplicable("no annotator heard an emotion in the reply's voice")


def opinions_of(case: Case, ears: Sequence[str] = EMOTION_ANNOTATORS) -> dict[str, str]:
    """Return annotator -> the emotion it heard, so that disagreement can be seen."""
    return {
        a.annotator: str(a.values["emotion"])
        for a in _of(case, ears)
        if a.state == "value" and "emotion" in a.values
    }


def _of(case: Case, ears: Sequence[str]) -> Iterator[Annotation]:
    return (case.annotations[name] for name in ears if name in case.annotations)
