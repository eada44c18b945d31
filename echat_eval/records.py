"""Records that pass between the stages: from a sample to a response, its annotations and its scores.

All records are frozen. This module imports nothing else of the package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "AVERAGES",
    "LATER",
    "ROLES",
    "STATES",
    "Annotation",
    "AudioRef",
    "Average",
    "Cue",
    "JudgeEvidence",
    "Metric",
    "Reply",
    "Request",
    "Response",
    "Sample",
    "Score",
    "State",
    "SystemRole",
    "Turn",
    "Waveform",
    "failure_value",
    "live_dialogue",
]

#: State of a row. "failed": the system is at fault. "missing": the network, the harness or the judge is.
#: "not applicable": the system or instrument does not handle this kind of sample.
State = Literal["value", "failed", "missing", "not applicable"]
STATES: tuple[State, ...] = ("value", "failed", "missing", "not applicable")
#: Role of a system in tables: a floor ignores the voice, a ceiling receives the gold labels.
SystemRole = Literal["system", "floor", "ceiling"]
ROLES: tuple[SystemRole, ...] = ("system", "floor", "ceiling")
#: How the scores of a metric are averaged; see `Metric`.
Average = Literal["mean", "ratio", "macro recall"]
AVERAGES: tuple[Average, ...] = ("mean", "ratio", "macro recall")

_EMPTY: Mapping[str, Any] = MappingProxyType({})
#: Metadata of a field that is in no hash while it is None, so that rows made before it was added stay valid.
LATER: Mapping[str, bool] = MappingProxyType({"later": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioRef:
    """An audio file, identified by its content.

    Attributes:
        path: current location; never part of a key.
        sha256: hex digest of the file's bytes.
        seconds: duration.
    """

    path: Path
    sha256: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Waveform:
    """Audio samples in memory, not yet stored.

    Attributes:
        samples: (frames,) float in [-1, 1], mono.
        sample_rate: Hz.
    """

    samples: NDArray[np.float32]
    sample_rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """A property of a voice beside its words, and the labels that it can have.

    Attributes:
        name: in files and tables.
        labels: in the order of tables; of an ordinal cue, from the least to the most.
        ordinal: the labels are steps of a scale.
        trait: the cue is who speaks. A reply that suits it may stereotype, so that more is not better.
        aliases: other spelling, in lower case -> label, or "unknown" of an undecided instrument.
        names: language -> name of the cue in that language.
        words: language -> label -> word for it in that language.
        questions: language -> question that asks for the label.
        guides: language -> text for judges: how a reply meets the cue.
    """

    name: str
    labels: tuple[str, ...]
    ordinal: bool = False
    trait: bool = False
    aliases: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    names: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    words: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: _EMPTY)
    questions: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    guides: Mapping[str, str] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of a dialogue before the last, as text, audio or both.

    Attributes:
        cues: of a scripted turn: cue name -> gold label; None: not stated.
    """

    role: Literal["user", "assistant"]
    text: str | None = None
    audio: AudioRef | None = None
    cues: Mapping[str, str] | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One spoken query of a task, with its gold labels.

    Attributes:
        task: name of the task.
        id: unique within the task; never shown to a system.
        audio: the spoken query.
        transcript: the gold words of the query.
        cues: cue name -> gold label.
        language: BCP 47 tag, such as "en", "zh" or "pt-BR".
        source: "real" recording or "synthetic" speech.
        speaker: identifier of the speaker, if known; the same across tasks.
        contrast_group: samples in a group have the same words and differ in a cue.
        references: cue-aware replies written by people.
        history: earlier turns, oldest first.
        asks: "transcript" or the cue that an understanding task asks for; None in dialogue tasks.
        instruction: text of the question that goes with the audio; None in dialogue tasks.
        expect: "same" in a contrast group whose cue does not matter to a good reply; None: replies differ.
        own_cues: name -> cue that the task defines; None: only shipped ones.
        error_rate: whether errors are counted in words or in characters; None: by the language's script.
        turns: scripted turns of the user before this one; each system is asked turn by turn, and its own
            replies are the other half of the dialogue. None: no live dialogue.
        words_suggest: cue name -> label that the words alone suggest, where they are no neutral ones; in a
            contrast group some voice then contradicts them.
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
    expect: Literal["same"] | None = field(default=None, metadata=LATER)
    own_cues: Mapping[str, Cue] | None = field(default=None, metadata=LATER)
    error_rate: Literal["wer", "cer"] | None = field(default=None, metadata=LATER)
    turns: tuple[Turn, ...] | None = field(default=None, metadata=LATER)
    words_suggest: Mapping[str, str] | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The part of a sample that a system receives: no task, label or transcript.

    Attributes:
        id: opaque.
        audio: the spoken query, at a path named by its hash.
        language: BCP 47 tag of the query.
        history: earlier turns, oldest first.
        instruction: text of a question about the audio; None: reply as in a conversation.
        turns: scripted turns before this one, audio only. They identify a live dialogue; a system never gets
            them, but one request per turn, with the dialogue so far as its history.
    """

    id: str
    audio: AudioRef
    language: str
    history: tuple[Turn, ...] = ()
    instruction: str | None = None
    turns: tuple[Turn, ...] | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A system's reply to a request.

    Attributes:
        text: the words, without think text.
        audio: the voice, as a file or as samples; None for a text-only system.
        think: reasoning that precedes the reply, if the system returns it.
        perceived: cue name -> label that the system reports for the query.
        reply_emotion: emotion that the system reports for its reply.
        first_audio_seconds: from the request to the first audio, if the system streams.
        finish_reason: "stop", "length" or another value that the system returns.
        usage: unit -> count, such as prompt_tokens and completion_tokens.
        first_audible_seconds: as `first_audio_seconds`, to the first sample that is audible. Both begin at
            the end of the query's audio for a system that gets it in pieces.
        round_trip_seconds: of the network, measured beside the reply.
        interruptions: replies that a live system began, and that were broken off, before this one.
    """

    text: str | None = None
    audio: AudioRef | Waveform | None = None
    think: str | None = None
    perceived: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    reply_emotion: str | None = None
    first_audio_seconds: float | None = None
    finish_reason: str | None = None
    usage: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    first_audible_seconds: float | None = field(default=None, metadata=LATER)
    round_trip_seconds: float | None = field(default=None, metadata=LATER)
    interruptions: int | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The outcome of one request to one system: a row of responses.jsonl.

    Attributes:
        key: hash of everything that determines the row.
        state: "value" if there is a reply.
        reason: why there is no reply.
        reply: its audio, if any, is a stored AudioRef.
        seconds: wall time of the successful try; of a live dialogue, of its last turn. None if not measured.
        tries: number of calls made; of a live dialogue, number of times that it was begun.
        cached: the reply comes from the cache of another run, so no time was measured.
        turns: replies to the scripted turns of a live dialogue, in order; None without a dialogue.
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
    turns: tuple[Reply, ...] | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """The output of one annotator for one reply: a row of annotations.jsonl.

    Attributes:
        key: hash of everything that determines the row.
        annotator: name of the annotator.
        reason: why there are no values.
        values: name -> number, text, list or mapping, as the annotator documents.
    """

    key: str
    system: str
    task: str
    sample_id: str
    annotator: str
    state: State
    reason: str | None = None
    values: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The definition of a metric: range, direction, averaging and display.

    Attributes:
        name: as in scores.jsonl.
        title: as in tables.
        unit: "points", "%", "s" or "".
        low, high: range of values; None where unbounded.
        higher_is_better: direction.
        worst: score of a failed row; None: see `failure_value`.
        average: "mean" over samples; "ratio": sum of value x weight over sum of weights, as for a corpus
            word error rate weighted by reference words; or "macro recall": the mean within each gold
            label, then the mean over labels.
        headline: its scorer states that it should be shown first and used for ranking.
        proxy: approximates a quantity that cannot be measured here; marked as a proxy in every output.
        by_voice: rewards a reply for suiting the voice. Samples whose only cues are age and gender then
            count in their tasks and labels, not in the mean over all tasks.
        pooled: has the same scale in every task. Otherwise each task has a ceiling of its own, so that a mean
            over several tasks has no meaning, and only the means of tasks are printed.
        digits: decimals in tables.
    """

    name: str
    title: str
    unit: str
    low: float | None
    high: float | None
    higher_is_better: bool
    worst: float | None = None
    average: Average = "mean"
    headline: bool = False
    proxy: bool = False
    by_voice: bool = False
    pooled: bool = True
    digits: int = 1

    @property
    def failure_value(self) -> float | None:
        """Return the value of a failed row; None: such rows are in no mean."""
        return failure_value(self.worst, self.low, self.high, higher_is_better=self.higher_is_better)


def live_dialogue(turns: Sequence[Turn], replies: Sequence[Reply]) -> tuple[Turn, ...]:
    """Return the scripted turns of the user that were answered, each followed by the system's reply."""
    spoken = ((reply.text, reply.audio if isinstance(reply.audio, AudioRef) else None) for reply in replies)
    answers = (Turn(role="assistant", text=text, audio=audio) for text, audio in spoken)
    return tuple(turn for pair in zip(turns, answers, strict=False) for turn in pair)


def failure_value(
    worst: float | None, low: float | None, high: float | None, *, higher_is_better: bool
) -> float | None:
    """Return the value of a failed row: the metric's worst value, by default the bad end of its range.

    None if that end is open: no number stands for a failure, and such rows are in no mean.
    """
    return worst if worst is not None else low if higher_is_better else high


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeEvidence:
    """The verdicts behind a judge's score of one reply.

    Attributes:
        grades: dimension -> mean grade over the repeats.
        points: score of each repeat.
        variance: of the points; None for a single verdict.
        reasons: the judge's reason in each repeat.
        models, servers: that gave the verdicts, as they reported themselves; "" for a server without a
            fingerprint.
        verdicts: key of each verdict.
        prompt_sha256: hash of each prompt.
        voice_emotion: emotion of the voice and its confidence, as shown to the judge; None: not shown.
        tokens: of prompts and answers, over the repeats.
        opinions: annotator -> emotion of the voice; empty if none labelled it.
        uncapped: score of each repeat without the rubric's cap; None: from an earlier version.
    """

    grades: Mapping[str, float]
    points: tuple[float, ...]
    variance: float | None
    reasons: tuple[str, ...]
    models: tuple[str, ...]
    servers: tuple[str, ...]
    verdicts: tuple[str, ...]
    prompt_sha256: tuple[str, ...]
    voice_emotion: tuple[str, float] | None
    tokens: tuple[int, int]
    opinions: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    uncapped: tuple[float, ...] | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One metric of one response: a row of scores.jsonl.

    Attributes:
        key: hash of everything that determines the row.
        metric: name of the metric.
        value: None unless the state is "value", or "failed" under a metric with a worst value.
        weight: 1, or the denominator of a ratio metric.
        reason: why there is no value.
        evidence: intermediate values that the score was computed from; of a judge's score, its verdicts.
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
    evidence: Mapping[str, Any] | JudgeEvidence = field(default_factory=lambda: _EMPTY)
