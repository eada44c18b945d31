"""SenseVoice: words, language, emotion and sound events of a reply; a second opinion."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.funasr import funasr_model
from echat_eval.annotators.local_model import RATE, LocalModel, ModelAnnotator, mono_of
from echat_eval.labels import LABELS, UNKNOWN, split_tags, to_label
from echat_eval.languages import lookup

if TYPE_CHECKING:
    from echat_eval.records import AudioRef

__all__ = ["SenseVoice", "read_tags"]

#: Tags of sounds that are no event of the benchmark; None leaves the event unchanged.
_NO_EVENT = {"Speech": "none", "BGM": None, "Applause": None, "Breath": None}


@dataclass(slots=True, kw_only=True)
class SenseVoice(ModelAnnotator):
    """Recogniser that adds tags. Tags have no probability; its emotion supplements another annotator's."""

    model: str = "iic/SenseVoiceSmall"
    hub: str = "ms"
    revision: str | None = None
    device: str = "cpu"
    batch_size: int = 8
    name: str = field(default="sensevoice", init=False)
    version: str = field(default="2", init=False)
    _model: LocalModel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._model = funasr_model(self.model, hub=self.hub, revision=self.revision, device=self.device)

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return hypothesis, emotion, event, all tags, unmapped tags and never."""
        return self.annotate_batch([audio], language=language)[0]

    def annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> Sequence[Mapping[str, Any]]:
        """Annotate several replies in the same language in one padded forward pass; see `annotate`."""
        monos = [mono_of(audio) for audio in audios]
        with self._model.lock:
            languages = getattr(self._model.ready().model, "lid_dict", {})
            results = self._model.ready().generate(
                monos,
                fs=RATE,
                language=lookup(language, languages) or "auto",
                use_itn=False,
                batch_size=len(monos),
            )
        return [read_tags(result.get("text", "")) for result in results]


def read_tags(text: str) -> dict[str, Any]:
    """Return the values of a text with SenseVoice's tags.

    SenseVoice has no tags for screams, sighs and throat clearing; a missing tag is no evidence against them.

    >>> values = read_tags("<|en|><|SAD|><|Cough|><|woitn|>so sorry")
    >>> values["hypothesis"], values["emotion"], values["event"], values["unmapped"]
    ('so sorry', 'sad', 'cough', [])
    """
    hypothesis, tags = split_tags(text)
    emotion = event = UNKNOWN
    unmapped = []
    for tag in tags:
        if tag in ("withitn", "woitn") or re.fullmatch(r"[a-z]{2,3}|nospeech", tag):
            continue
        if tag in _NO_EVENT:
            event = _NO_EVENT[tag] or event
            unmapped += [] if _NO_EVENT[tag] else [tag]
        elif (label := to_label("emotion", tag)) is not None:
            emotion = label
        elif (label := to_label("event", tag)) is not None:
            event = label
        else:
            unmapped.append(tag)
    return {
        "hypothesis": hypothesis.strip(),
        "emotion": emotion,
        "event": event,
        "tags": tags,
        "unmapped": unmapped,
        "never": [label for label in LABELS["event"] if label in ("scream", "sigh", "throat clearing")],
    }
