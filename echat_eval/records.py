"""The records that pass between the stages. Imports nothing of ours; everything is frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "STATES",
    "Annotation",
    "AudioRef",
    "Metric",
    "Reply",
    "Request",
    "Response",
    "Sample",
    "Score",
    "State",
    "Turn",
    "Waveform",
]

#: The four states of the ledger.
State = Literal["value", "failed", "missing", "not applicable"]
STATES: tuple[State, ...] = ("value", "failed", "missing", "not applicable")

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioRef:
    """An audio file, named by its content.

    Attributes:
        path: where the file lies now; never part of a key.
        sha256: hex digest of the file's bytes.
        seconds: duration.
    """

    path: Path
    sha256: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Waveform:
    """Sound a system made and has not stored.

    Attributes:
        samples: (frames,) float in [-1, 1], mono.
        sample_rate: Hz.
    """

    samples: NDArray[np.float32]
    sample_rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One earlier turn of a dialogue: `role` is "user" or "assistant"."""

    role: Literal["user", "assistant"]
    text: str | None = None
    audio: AudioRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What is asked and what the answer is known to be about.

    Attributes:
        task: the task's name.
        id: unique within the task; never shown to a system.
        audio: the spoken query.
        transcript: the gold words of the query.
        cues: cue name -> gold label.
        language: BCP 47 primary tag, "en" or "zh".
        source: "real" recording or "synthetic" speech.
        speaker: who speaks, if known; the same name is the same person in every task.
        contrast_group: samples of one group have the same words and differ in a cue.
        references: cue-aware replies a person wrote.
        history: earlier turns, oldest first.
        asks: what an understanding task wants to know: "transcript" or a cue; None: a reply, as in dialogue.
        instruction: the probing question that goes with the audio, in words; None in dialogue.
    """

    task: str
    id: str
    audio: AudioRef
    transcript: str
    cues: Mapping[str, str]
    language: str
    source: Literal["real", "synthetic"]
    speaker: str | None = None
    contrast_group: str | None = None
    references: tuple[str, ...] = ()
    history: tuple[Turn, ...] = ()
    asks: str | None = None
    instruction: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """All that a system may know of a sample: no task, label or transcript.

    Attributes:
        id: opaque.
        audio: the spoken query, at a path named by its hash.
        language: BCP 47 primary tag of the query.
        history: earlier turns, oldest first.
        instruction: a question about the audio, in words; None: answer it as in a conversation.
    """

    id: str
    audio: AudioRef
    language: str
    history: tuple[Turn, ...] = ()
    instruction: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a system answers.

    Attributes:
        text: the words, without think text.
        audio: the voice, as a file or as samples; None for a text-only system.
        think: what the system wrote before replying, if it shows it.
        perceived: cue name -> the label the system says it heard.
        reply_emotion: the emotion the system says it answers in, if it says one.
        first_audio_seconds: from the request to the first sound, if the system streams.
        finish_reason: "stop", "length" or the system's own word.
        usage: counted units, such as prompt_tokens and completion_tokens.
    """

    text: str | None = None
    audio: AudioRef | Waveform | None = None
    think: str | None = None
    perceived: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    reply_emotion: str | None = None
    first_audio_seconds: float | None = None
    finish_reason: str | None = None
    usage: Mapping[str, float] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One row of responses.jsonl: what happened when a system was asked.

    Attributes:
        key: hash of everything that determines the row.
        state: "value" when there is a reply.
        reason: why there is none.
        reply: audio, if any, is stored and an AudioRef.
        seconds: wall time of the successful try; None where nothing was measured.
        tries: how often the system was asked.
        cached: another run asked, and the reply was kept; nothing was measured then.
    """

    key: str
    system: str
    task: str
    sample_id: str
    state: State
    reason: str | None = None
    reply: Reply | None = None
    seconds: float | None = None
    tries: int = 1
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One row of annotations.jsonl: what an instrument heard in one reply.

    Attributes:
        values: name -> number, text, list or mapping, as the annotator documents.
    """

    key: str
    system: str
    task: str
    sample_id: str
    annotator: str
    state: State
    reason: str | None = None
    values: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What a number means; belongs to the metric, not to a report.

    Attributes:
        name: as in scores.jsonl.
        title: as in tables.
        unit: "points", "%", "s" or "".
        low, high: the range a value can take; None where it is open.
        higher_is_better: direction.
        worst: what a failed row earns; None: a failed row is in no mean.
        average: "mean" over samples, or "ratio": sum of value x weight over sum of weights,
            as for a corpus word error rate whose weights are reference words, or "macro recall":
            the mean per label of what was asked, then the mean over labels.
        headline: shown first, and ranked by.
        proxy: stands in for what cannot be measured here, and is named so everywhere.
        digits: decimals in tables.
    """

    name: str
    title: str
    unit: str
    low: float | None
    high: float | None
    higher_is_better: bool
    worst: float | None = None
    average: Literal["mean", "ratio", "macro recall"] = "mean"
    headline: bool = False
    proxy: bool = False
    digits: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One row of scores.jsonl.

    Attributes:
        value: None unless the state is "value", or "failed" under a metric with a worst value.
        weight: 1, or the denominator of a ratio metric.
        evidence: what the number was made of.
    """

    key: str
    system: str
    task: str
    sample_id: str
    metric: str
    state: State
    value: float | None = None
    weight: float = 1.0
    reason: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
