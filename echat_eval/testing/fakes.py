"""Scripted parts for tests: a system, an oracle, an annotator and a scorer without models.

They answer as the test prescribes, record what they receive, and can be slow, concurrent, batched or faulty.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.errors import UsageError
from echat_eval.records import AudioRef, Metric, Reply, Request, Sample, Score
from echat_eval.testing.scripted_part import Delay, ScriptedPart

if TYPE_CHECKING:
    from echat_eval.ports import Case

__all__ = ["ScriptedAnnotator", "ScriptedOracle", "ScriptedScorer", "ScriptedSystem"]

#: A reply; text stands for a text-only reply, and an error is raised.
Answer = Reply | str | BaseException
#: A fixed answer, answers in the order of the calls, answers by request id, or a function, which may be a
#: coroutine function and may return anything.
Answers = Answer | Sequence[Answer] | Mapping[str, Answer] | Callable[[Request], Any]


class ScriptedSystem(ScriptedPart):
    """A system with prescribed replies.

    Args:
        answers: a reply, a text, an error to raise, a list of these in the order of the calls, a mapping of
            these by request id, or a function of the request. A coroutine function makes `respond` one.
        name: name of the system.
        role: role in tables, "floor" or "ceiling"; None: an ordinary system.
        asynchronous: make `respond` a coroutine function.
        batch_size: offer `respond_batch`, for at most this number of requests; None: no batches.
        seconds: time that a call takes.
        failures: errors of the first calls, one each, before the answers begin.
        calls_at_once, fingerprint, settings: see `System`; without a fingerprint no reply is reused.
        events: list that the calls are written to, in order.

    Attributes:
        requests: the requests received, in order.

    A list that is used up and a request id without an answer raise UsageError, which stops the run.
    """

    verb, results, item = "respond", "answers", "request"

    role: Literal["floor", "ceiling"]
    batch_size: int
    respond_batch: Callable[[Sequence[Request]], Any]
    cached: bool

    def __init__(
        self,
        answers: Answers = "I see.",
        name: str = "scripted",
        *,
        role: Literal["floor", "ceiling"] | None = None,
        asynchronous: bool = False,
        batch_size: int | None = None,
        calls_at_once: int = 1,
        seconds: Delay = 0.0,
        failures: Sequence[BaseException] = (),
        fingerprint: str | None = "scripted-1",
        settings: Mapping[str, Any] | None = None,
        events: list[str] | None = None,
    ) -> None:
        super().__init__(
            name,
            fingerprint=fingerprint,
            settings=settings,
            calls_at_once=calls_at_once,
            seconds=seconds,
            failures=failures,
            events=events,
        )
        self.answers = answers
        self.requests: list[Request] = []
        if role is not None:
            self.role = role
        if asynchronous or inspect.iscoroutinefunction(answers):
            self.respond = self._respond_async  # type: ignore[method-assign]
        if batch_size is not None:
            self._offer(batch_size=batch_size, respond_batch=self._respond_batch)

    def respond(self, request: Request) -> Any:
        """Return the reply that the script has for a request, or raise its error."""
        with self._called(self.requests, [request]):
            return self._answer(request)

    async def _respond_async(self, request: Request) -> Any:
        async with self._called_async(self.requests, [request]):
            answer = self._answer(request)
            return _reply_of(await answer) if inspect.isawaitable(answer) else answer

    def _respond_batch(self, requests: Sequence[Request]) -> list[Any]:
        with self._called(self.requests, requests):
            return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Any:
        answers = self.answers
        if callable(answers):
            return _reply_of(answers(request))
        if isinstance(answers, Mapping):
            if request.id not in answers:
                raise UsageError(f"{self.name} has no answer to request '{request.id}'")
            return _reply_of(answers[request.id])
        if isinstance(answers, Reply | str | BaseException):
            return _reply_of(answers)
        return _reply_of(self._in_order(answers))


def _reply_of(answer: Any) -> Any:
    if isinstance(answer, BaseException):
        raise answer
    return Reply(text=answer) if isinstance(answer, str) else answer


class ScriptedOracle(ScriptedPart):
    """A reference system whose replies are a function of the whole sample.

    Args:
        answer: a function of the sample; text stands for a text-only reply.
        name, role, fingerprint, settings: see `Oracle`.

    Attributes:
        samples: the samples received, in order.
    """

    verb, results, item = "respond", "answers", "sample"

    def __init__(
        self,
        answer: Callable[[Sample], Any],
        name: str = "scripted-oracle",
        *,
        role: Literal["floor", "ceiling"] = "ceiling",
        fingerprint: str | None = "scripted-1",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, fingerprint=fingerprint, settings=settings)
        self.answer = answer
        self.role: Literal["floor", "ceiling"] = role
        self.samples: list[Sample] = []

    def respond_to(self, sample: Sample) -> Any:
        """Return the reply that the script has for a sample."""
        with self._called(self.samples, [sample]):
            return _reply_of(self.answer(sample))


class ScriptedAnnotator(ScriptedPart):
    """An annotator with prescribed values.

    Args:
        values: values of every recording, an error to raise, a list of these in the order of the calls, or a
            function of the recording and its language.
        languages: languages that it states; None: it states none.
        batch_size: offer `annotate_batch`, for at most this number of files; None: no batches.
        seconds: time that a call takes.
        failures: errors of the first calls, one each, before the values begin.
        name, version, calls_at_once, fingerprint, settings: see `Annotator`.
        events: list that the calls are written to, in order.

    Attributes:
        audios: the recordings received, in order.
    """

    verb, results, item = "annotate", "values", "recording"

    languages: tuple[str, ...]
    batch_size: int
    annotate_batch: Callable[..., Any]

    def __init__(
        self,
        values: Mapping[str, Any]
        | BaseException
        | Sequence[Mapping[str, Any] | BaseException]
        | Callable[[AudioRef, str], Mapping[str, Any]],
        name: str = "scripted",
        *,
        version: str = "1",
        languages: tuple[str, ...] | None = None,
        batch_size: int | None = None,
        calls_at_once: int = 1,
        seconds: Delay = 0.0,
        failures: Sequence[BaseException] = (),
        fingerprint: str = "scripted-1",
        settings: Mapping[str, Any] | None = None,
        events: list[str] | None = None,
    ) -> None:
        super().__init__(
            name,
            fingerprint=fingerprint,
            settings=settings,
            calls_at_once=calls_at_once,
            seconds=seconds,
            failures=failures,
            events=events,
        )
        self.version = version
        self.values = values
        self.audios: list[AudioRef] = []
        if languages is not None:
            self.languages = languages
        if batch_size is not None:
            self._offer(batch_size=batch_size, annotate_batch=self._annotate_batch)

    def annotate(self, audio: AudioRef, *, language: str) -> Any:
        """Return the values that the script has for a recording, or raise its error."""
        with self._called(self.audios, [audio]):
            return self._values(audio, language)

    def _annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> list[Any]:
        with self._called(self.audios, audios):
            return [self._values(audio, language) for audio in audios]

    def _values(self, audio: AudioRef, language: str) -> Any:
        values: Any = self.values
        if callable(values):
            values = values(audio, language)
        elif isinstance(values, Sequence):
            values = self._in_order(values)
        if isinstance(values, BaseException):
            raise values
        return values


class ScriptedScorer(ScriptedPart):
    """A scorer with prescribed values.

    A case without a reply gets the state of its response; a failed one the worst value.

    Args:
        value: a number for every case with a reply, or a function of such a case. The function returns a
            number under the first metric, one `Score`, or several.
        metrics: definitions; None: one headline metric with the scorer's name from 0 to 100, higher is
            better, worst value 0.
        families: families of samples that it states; None: it states none.
        scores_all: call the function for every case, also for those without a reply.
        asynchronous: make `score` a coroutine function.
        seconds: time that a call takes.
        failures: errors of the first calls, one each, before the values begin.
        name, version, needs, scope, calls_at_once, fingerprint, settings: see `Scorer`.
        events: list that the calls are written to, in order.

    Attributes:
        cases: the cases received, in order.
    """

    verb, results, item = "score", "scores", "case"

    families: tuple[Literal["dialogue", "understanding"], ...]

    def __init__(
        self,
        value: float | Callable[[Case], float | Score | Sequence[Score]] = 50.0,
        name: str = "scripted",
        *,
        version: str = "1",
        metrics: Sequence[Metric] | None = None,
        needs: tuple[str, ...] = (),
        scope: Literal["sample", "contrast group"] = "sample",
        families: tuple[Literal["dialogue", "understanding"], ...] | None = None,
        scores_all: bool = False,
        asynchronous: bool = False,
        calls_at_once: int = 1,
        seconds: Delay = 0.0,
        failures: Sequence[BaseException] = (),
        fingerprint: str = "scripted-1",
        settings: Mapping[str, Any] | None = None,
        events: list[str] | None = None,
    ) -> None:
        super().__init__(
            name,
            fingerprint=fingerprint,
            settings=settings,
            calls_at_once=calls_at_once,
            seconds=seconds,
            failures=failures,
            events=events,
        )
        self.version = version
        self.value = value
        self.metrics = tuple(metrics) if metrics is not None else (_percentage(name),)
        self.needs = needs
        self.scope: Literal["sample", "contrast group"] = scope
        self.cases: list[Case] = []
        self._scores_all = scores_all
        if families is not None:
            self.families = families
        if asynchronous:
            self.score = self._score_async  # type: ignore[method-assign]

    def score(self, cases: Sequence[Case]) -> Any:
        """Return the scores of the cases of one scope."""
        with self._called(self.cases, cases, delay_of=cases):
            return [score for case in cases for score in self._scores(case)]

    async def _score_async(self, cases: Sequence[Case]) -> Any:
        async with self._called_async(self.cases, cases, delay_of=cases):
            return [score for case in cases for score in self._scores(case)]

    def _scores(self, case: Case) -> Sequence[Score]:
        if case.no_reply is not None and not self._scores_all:
            state, reason = case.no_reply
            return [case.score(metric, state, reason=reason) for metric in self.metrics]
        value = self.value(case) if callable(self.value) else self.value
        if isinstance(value, Score):
            return [value]
        if isinstance(value, Sequence):
            return value
        return [case.score(self.metrics[0], "value", value=value)]


def _percentage(name: str) -> Metric:
    return Metric(
        name=name, title=name, unit="points", low=0, high=100, higher_is_better=True, worst=0, headline=True
    )
