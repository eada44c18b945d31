"""Base class of the judge's scorers, and the scores of replies that need no judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any, ClassVar

from echat_eval.clients.chat import ChatClient
from echat_eval.errors import NotApplicable, Unavailable, UsageError, scrub
from echat_eval.io.hashing import digest
from echat_eval.judge import Judge, JudgeClient, Question, Ruling, VoiceEmotion, text_score
from echat_eval.ports import Case, Destination
from echat_eval.records import Metric, Score
from echat_eval.scorers.transcripts import ASR_ANNOTATORS, emotion_of, words_of
from echat_eval.scorers.voice_description import VOICE_ANNOTATORS, describe_voice

__all__ = [
    "JudgeScorer",
    "build_question",
    "failed_scores",
    "pending_score",
    "question_of",
    "scores_without_judge",
    "voice_emotion_of",
]


class JudgeScorer:
    """Base of the judge's scorers: the judge client, the number of repeats, and the judge's identity.

    A subclass defines `kind`, `_metrics` and the members of `ports.Scorer`.
    """

    #: Name of the scorer of an unnamed judge.
    kind: ClassVar[str]
    #: The voice is graded: a rubric that describes it needs what instruments measured in it.
    grades_voice: ClassVar[bool] = False
    needs: tuple[str, ...] = ASR_ANNOTATORS

    def __init__(
        self,
        judge_client: JudgeClient,
        *,
        repeats: int = 1,
        calls_at_once: int = 4,
        judge_name: str | None = None,
    ) -> None:
        if repeats < 1:
            raise UsageError(f"repeats is {repeats}; expected at least 1")
        self.name = self.kind if judge_name is None else f"{self.kind}:{judge_name}"
        self.stem = f"judge_{judge_name or judge_client.judge.name}".replace("-", "_")
        self.judge_name = judge_name
        self.judge_client = judge_client
        self.judge: Judge = judge_client.judge
        self.repeats = repeats
        self.calls_at_once = calls_at_once
        self.metrics: tuple[Metric, ...] = self._metrics()
        if self.grades_voice and self.judge.shows_voice:
            self.needs = (*self.needs, *(name for name in VOICE_ANNOTATORS if name not in self.needs))

    def _metrics(self) -> tuple[Metric, ...]:
        """Return the definitions of the metrics, whose names begin with `stem`."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """Return the judge's name in titles of metrics."""
        return self.judge_name or self.judge.name

    async def rulings(self, question: Question) -> list[Ruling]:
        """Return one ruling per repeat."""
        return [await self.judge_client.ruling(question, repeat=n) for n in range(self.repeats)]

    @property
    def billed_client(self) -> ChatClient:
        """Return the client that pays for the calls to the judge's server."""
        return self.judge_client.client

    def destinations(self) -> Sequence[Destination]:
        """Return the judge's server; it gets words only."""
        turns = ("earlier turns",) if self.judge.shows_history else ()
        voice = ("measures of voices",) if self.grades_voice and self.judge.shows_voice else ()
        contents = ("transcripts", "gold labels", "words of replies", *turns, *voice)
        return [Destination(url=self.judge_client.client.address, contents=contents)]

    def fingerprint(self) -> str:
        """Return the hash of the rubric, the model as the server reports it, and the sampling.

        Runs whose judges differ in it are not comparable. The server's own fingerprint is in the settings
        and so in every score's key, but not in this hash: services that answer from several machines
        report several.
        """
        judge_client, identity = self.judge_client, self.judge_client.server_identity()
        model = identity.model if identity is not None else None
        changed = judge_client.parameters.changed()
        return digest(
            "judge as served",
            [
                self.judge.fingerprint(),
                judge_client.client.model,
                model,
                judge_client.use_schema,
                judge_client.temperature,
                *([changed] if changed else []),
            ],
        )

    def settings(self) -> Mapping[str, Any]:
        """Return the model, its address and server, the rubric and the sampling."""
        client, identity = self.judge_client.client, self.judge_client.server_identity()
        changed = self.judge_client.parameters.changed()
        return {
            "model": client.model,
            "url": client.base_url and scrub(client.base_url),
            "rubric": self.judge.name,
            "repeats": self.repeats,
            "schema": self.judge_client.use_schema,
            "temperature": self.judge_client.temperature,
            **({"parameters": changed} if changed else {}),
            "served": asdict(identity) if identity is not None else None,
        }

    def close(self) -> None:
        """Close connections."""
        self.judge_client.close()

    async def _points(self, question: Question) -> float:
        rulings = await self.rulings(question)
        return fmean(text_score(self.judge, r.verdict.grades, question.task) for r in rulings)


def question_of(case: Case, judge: Judge | None = None) -> Question:
    """Return the question about a reply: its words, its sample's labels, and its voice.

    Args:
        case: with the reply.
        judge: with a rubric that describes the voice, the question holds the description.

    Raises:
        SystemFailure, Unavailable, NotApplicable: its words are empty, missing or not available.
    """
    question = build_question(case, words_of(case), case.sample.cues, voice_emotion_of(case)[0])
    if judge is None or not judge.shows_voice:
        return question
    return replace(question, voice=describe_voice(case))


def build_question(
    case: Case,
    words: str,
    cues: Mapping[str, str],
    voice_emotion: VoiceEmotion | None,
    *,
    rubric: Judge | None = None,
) -> Question:
    """Return the question about these words under these labels, in the context of a case."""
    sample = case.sample
    own = {name: cue for name, cue in (sample.own_cues or {}).items() if name in sample.cues}
    return Question(
        task=case.sample.task,
        language=case.sample.language,
        transcript=case.sample.transcript,
        cues=cues,
        reply=words,
        voice_emotion=voice_emotion,
        rubric=rubric,
        own_cues=own or None,
        history=case.history,
    )


def voice_emotion_of(case: Case) -> tuple[VoiceEmotion | None, dict[str, Any] | None]:
    """Return the emotion of a reply's voice, or the state and reason of the voice score without one."""
    try:
        emotion = emotion_of(case)
    except NotApplicable as error:
        return None, {"state": "not applicable", "reason": str(error)}
    except Unavailable as error:
        return None, {"state": "missing", "reason": str(error)}
    if emotion is None:
        return None, {"state": "not applicable", "reason": "the annotator abstained from an emotion label"}
    return emotion, None


def pending_score(case: Case, metric: Metric) -> Score:
    """Return the score of a case before it is judged."""
    return case.score(metric, "missing", reason="the response is missing")


def scores_without_judge(case: Case, pending: Sequence[tuple[Score, Metric]]) -> list[Score]:
    """Return the scores of a case without a reply to judge; an empty list if there is one."""
    response = case.response
    if case.sample.asks is not None:
        reason = "the sample asks a probing question, not for a reply"
        return [replace(score, state="not applicable", reason=reason) for score, _ in pending]
    if response.state == "value" and response.reply is not None:
        return []
    if response.state == "failed":
        return failed_scores(pending, response.reason or "the system failed")
    if response.state == "not applicable":
        return [replace(score, state="not applicable", reason=response.reason) for score, _ in pending]
    return [score for score, _ in pending]


def failed_scores(pending: Sequence[tuple[Score, Metric]], reason: str) -> list[Score]:
    """Return the scores of a failed reply: the metric's worst value, else "not applicable"."""
    return [
        replace(score, state="not applicable", reason="the system failed")
        if metric.worst is None
        else replace(score, state="failed", value=metric.worst, reason=reason)
        for score, metric in pending
    ]
