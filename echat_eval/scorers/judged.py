"""The judge's scores: the words of a reply, its voice, and the cue contrast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, variance
from typing import TYPE_CHECKING, Literal

from echat_eval.clients.chat import ChatClient
from echat_eval.errors import NotApplicable, SystemFailure, Unavailable
from echat_eval.io.hashing import digest
from echat_eval.judge import (
    DEFAULT_RUBRIC,
    Judge,
    JudgeClient,
    JudgeParameters,
    Question,
    Ruling,
    grades_voice,
    load_judge,
    text_score,
    voice_score,
)
from echat_eval.judge.cue_text import label_text
from echat_eval.ports import Case
from echat_eval.records import JudgeEvidence, Metric, Sample, Score, State
from echat_eval.scorers.contrast import NO_GROUP, SAME_EXPECTED, WORST, pair_term
from echat_eval.scorers.judge_scorer import (
    JudgeScorer,
    build_question,
    failed_scores,
    pending_score,
    question_of,
    scores_without_judge,
    voice_emotion_of,
)
from echat_eval.scorers.transcripts import ASR_ANNOTATORS, EMOTION_ANNOTATORS, opinions_of, words_or_state

if TYPE_CHECKING:
    from echat_eval.store.cache import Cache

__all__ = [
    "GroupReply",
    "Judged",
    "JudgedContrast",
    "evidence_of",
    "judged_scorers",
    "labels_text",
    "open_client",
    "others_of",
    "question_of",
    "state_without_others",
]


class Judged(JudgeScorer):
    """Judge's verdict on every reply.

    Two metrics: the score of the words, and the score of the voice if an annotator detected its emotion.
    The voice does not count in the first.
    """

    kind = "judged"
    version = "2"
    scope: Literal["sample", "contrast group"] = "sample"
    needs = (*ASR_ANNOTATORS, *EMOTION_ANNOTATORS)
    grades_voice = True

    def _metrics(self) -> tuple[Metric, ...]:
        return (
            Metric(
                name=self.stem,
                title=f"Judge {self.title}",
                unit="points",
                low=0,
                high=100,
                higher_is_better=True,
                worst=0,
            ),
            Metric(
                name=f"{self.stem}_voice",
                title=f"Judge {self.title}, voice",
                unit="points",
                low=0,
                high=100,
                higher_is_better=True,
            ),
        )

    async def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return two scores per case.

        Raises:
            JudgeFailure: an answer of the judge is not a verdict.
        """
        return [score for case in cases for score in await self._both(case)]

    def questions(self, cases: Sequence[Case]) -> Iterator[Question]:
        """Yield the question about each reply that is judged."""
        for case in cases:
            if not scores_without_judge(case, self._pending(case)):
                with suppress(SystemFailure, NotApplicable, Unavailable):
                    yield self.question_of(case)

    def _pending(self, case: Case) -> list[tuple[Score, Metric]]:
        return [(pending_score(case, metric), metric) for metric in self.metrics]

    def question_of(self, case: Case) -> Question:
        """Return the question about a reply.

        Raises:
            SystemFailure, Unavailable, NotApplicable: its words are empty, missing or not available.
        """
        return question_of(case, self.judge)

    async def _both(self, case: Case) -> list[Score]:
        pending = self._pending(case)
        (text, _), (voice, _) = pending
        if scores := scores_without_judge(case, pending):
            return scores
        _, no_emotion = voice_emotion_of(case)
        try:
            question = self.question_of(case)
        except SystemFailure as error:
            return failed_scores(pending, str(error))
        rulings = await self.rulings(question)
        evidence = evidence_of(self.judge, question, rulings, opinions_of(case))
        points = [text_score(self.judge, r.verdict.grades, question.task) for r in rulings]
        text = replace(text, state="value", value=fmean(points), reason=None, evidence=evidence)
        if no_emotion is not None and not grades_voice(self.judge, question):
            return [text, replace(voice, **no_emotion)]
        voices = [v for r in rulings if (v := voice_score(self.judge, r.verdict)) is not None]
        voice = replace(voice, state="value", value=fmean(voices), reason=None, evidence={"voices": voices})
        return [text, voice]


class JudgedContrast(JudgeScorer):
    """Cue contrast by the judge: score under a reply's own labels minus score under its group's others.

    Every reply of a contrast group is judged under every set of labels of the group. A row's value is
    the mean over the group's replies to other labels of

        (fit(own reply, own labels) - fit(own reply, other labels)
         + fit(other reply, other labels) - fit(other reply, own labels)) / 2.

    Its mean over the group is the mean of fit(own, own) - fit(own, other). A judge's preference for one
    label cancels: one reply to the whole group is exactly 0 in every row. The emotion of the voice is
    withheld, so that only words count. `echat_eval.scorers.contrast` has the rule for failed replies.
    """

    kind = "judged-contrast"
    #: 2: the failure rule of `echat_eval.scorers.contrast`.
    version = "2"
    scope: Literal["sample", "contrast group"] = "contrast group"

    def _metrics(self) -> tuple[Metric, ...]:
        named = self.judge_name
        return (
            Metric(
                name=f"{self.stem}_cue_contrast",
                title="Judge's cue contrast" if named is None else f"Judge {named}, cue contrast",
                unit="points",
                low=-100,
                high=100,
                higher_is_better=True,
                worst=WORST,
                by_voice=True,
                pooled=False,
            ),
        )

    def fingerprint(self) -> str:
        """Return the hash of the judge as served and of the contrast's rules."""
        return digest("judged contrast", [super().fingerprint(), self.version])

    async def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return one score per case of one contrast group."""
        replies = [GroupReply(case, *words_or_state(case)) for case in cases]
        return [await self._one(reply, replies) for reply in replies]

    def questions(self, cases: Sequence[Case]) -> Iterator[Question]:
        """Yield the questions about every pair of replies of one contrast group."""
        replies = [GroupReply(case, *words_or_state(case)) for case in cases]
        for reply in replies:
            sample = reply.case.sample
            if reply.state == "value" and contrasted(sample):
                for other in others_of(reply, replies):
                    if other.state in {"value", "failed"}:
                        yield from _pair_questions(reply, other)

    async def _one(self, reply: GroupReply, replies: Sequence[GroupReply]) -> Score:
        case, metric, others = reply.case, self.metrics[0], others_of(reply, replies)
        if case.sample.asks is not None:
            reason = "the sample asks a probing question, not for a reply"
            return case.score(metric, "not applicable", reason=reason)
        if case.sample.contrast_group is None:
            return case.score(metric, "not applicable", reason=NO_GROUP)
        if case.sample.expect == "same":
            return case.score(metric, "not applicable", reason=SAME_EXPECTED)
        if reply.state != "value":
            return case.score(metric, reply.state, reason=reply.text)
        known = [other for other in others if other.state in {"value", "failed"}]
        if not known:
            state, reason = state_without_others(others)
            return case.score(metric, state, reason=reason)
        terms = [await self._term(reply, other) for other in known]
        evidence = {"against": len(terms), "failed": sum(other.state == "failed" for other in known)}
        return case.score(metric, "value", value=fmean(terms), evidence=evidence)

    async def _term(self, reply: GroupReply, other: GroupReply) -> float:
        fits = [await self._points(question) for question in _pair_questions(reply, other)]
        return pair_term((fits[0], fits[1]), (fits[2], fits[3]) if other.state == "value" else None)


@dataclass(frozen=True, slots=True)
class GroupReply:
    """A case of a contrast group with its words; `text` is the reason in another state than "value"."""

    case: Case
    state: State
    text: str


def judged_scorers(
    model: str | None = None,
    url: str | None = None,
    rubric: str = DEFAULT_RUBRIC,
    *,
    repeats: int = 1,
    schema: bool = True,
    temperature: float | None = None,
    parameters: JudgeParameters | None = None,
    calls_at_once: int = 4,
    store: Path | None = None,
    timeout: float = 60.0,
    name: str | None = None,
    tries: int | None = None,
    cache: Cache | None = None,
) -> tuple[Judged, JudgedContrast]:
    """Return both scorers of one judge; they share its connection and its verdicts.

    Args:
        model: None selects the rubric's dated model.
        url: base URL of an OpenAI-compatible server; None: OpenAI.
        rubric: name of a folder in `judges/`.
        repeats: verdicts per question; their variance is in the evidence.
        schema: constrain answers to a JSON schema; the server must support it.
        temperature: in place of that of `parameters`.
        parameters: of the requests; None: the defaults.
        calls_at_once: maximum concurrent calls, over both scorers.
        store: file of verdicts; they outlive the process.
        timeout: seconds per call.
        name: of the judge, which also names its scorers and metrics; None: the rubric names the metrics.
        tries: maximum calls per question, over both scorers; None: no limit.
        cache: verdicts shared between runs; None: no cache.
    """
    judge_client = open_client(
        load_judge(rubric),
        model,
        url,
        schema=schema,
        temperature=temperature,
        parameters=parameters,
        calls_at_once=calls_at_once,
        store=store,
        timeout=timeout,
        tries=tries,
        cache=cache,
    )
    return (
        Judged(judge_client, repeats=repeats, calls_at_once=calls_at_once, judge_name=name),
        JudgedContrast(judge_client, repeats=repeats, calls_at_once=calls_at_once, judge_name=name),
    )


def open_client(
    judge: Judge,
    model: str | None,
    url: str | None,
    *,
    schema: bool = True,
    temperature: float | None = None,
    parameters: JudgeParameters | None = None,
    calls_at_once: int = 4,
    store: Path | None = None,
    timeout: float = 60.0,
    tries: int | None = None,
    cache: Cache | None = None,
) -> JudgeClient:
    """Return the client of a judge; the arguments are those of `judged_scorers`."""
    parameters = parameters or JudgeParameters()
    client = ChatClient(
        model=model or judge.model,
        base_url=url,
        timeout=timeout,
        calls_at_once=calls_at_once,
        token_parameter=parameters.token_parameter,
        reasoning_effort=parameters.reasoning_effort,
        json_object=parameters.schema == "json_object",
        option="--judge-set",
    )
    return JudgeClient(
        judge,
        client,
        use_schema=schema,
        temperature=temperature,
        parameters=parameters,
        store=store,
        tries=tries,
        cache=cache,
    )


def contrasted(sample: Sample) -> bool:
    """Return whether replies to a sample are compared with those to the other voices of its group."""
    return sample.asks is None and sample.contrast_group is not None and sample.expect is None


def others_of(reply: GroupReply, replies: Sequence[GroupReply]) -> list[GroupReply]:
    """Return the samples of the contrast group with other labels."""
    return [other for other in replies if labels_text(other.case) != labels_text(reply.case)]


def state_without_others(others: Sequence[GroupReply]) -> tuple[State, str]:
    """Return the state and reason of a reply whose group has no other reply to compare it with."""
    for other in others:
        if other.state == "missing":
            return "missing", f"needs the reply to {other.case.sample.id}, which is missing: {other.text}"
    return "not applicable", "no other reply in its contrast group answers other labels"


def _pair_questions(reply: GroupReply, other: GroupReply) -> list[Question]:
    """Return words and labels (own, own), (own, other); (other, other), (other, own) unless it failed."""
    pairs = [(reply.text, reply.case), (reply.text, other.case)]
    if other.state == "value":
        pairs += [(other.text, other.case), (other.text, reply.case)]
    return [build_question(reply.case, words, labels.sample.cues, None) for words, labels in pairs]


def labels_text(case: Case) -> str:
    """Return the labels of a case's voice in words."""
    sample = case.sample
    return ", ".join(
        label_text(cue, label, sample.own_cues, sample.language) for cue, label in sorted(sample.cues.items())
    )


def evidence_of(
    judge: Judge, question: Question, rulings: Sequence[Ruling], opinions: Mapping[str, str]
) -> JudgeEvidence:
    """Return the evidence of a score: grades, points and where they come from.

    Args:
        opinions: annotator -> emotion of the voice.
    """
    points = tuple(text_score(judge, r.verdict.grades, question.task) for r in rulings)
    emotion = question.voice_emotion
    return JudgeEvidence(
        grades={d: fmean(r.verdict.grades[d] for r in rulings) for d in judge.dimensions},
        points=points,
        variance=variance(points) if len(points) > 1 else None,
        reasons=tuple(r.verdict.reason for r in rulings),
        models=tuple(sorted({r.model for r in rulings})),
        servers=tuple(sorted({r.server or "" for r in rulings})),
        verdicts=tuple(r.key for r in rulings),
        prompt_sha256=tuple(r.prompt_sha256 for r in rulings),
        voice_emotion=(emotion.emotion, emotion.confidence) if emotion else None,
        tokens=(sum(r.tokens[0] for r in rulings), sum(r.tokens[1] for r in rulings)),
        opinions=opinions,
        uncapped=tuple(text_score(judge, r.verdict.grades, question.task, with_cap=False) for r in rulings),
    )
