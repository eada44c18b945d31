"""Scripted parts for tests: a system, an oracle, an annotator and a scorer without models.

They answer as the test prescribes, record what they receive, and can be slow, concurrent, batched or faulty.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.errors import UsageError
from echat_eval.records import AudioRef, Metric, Reply, Request, Sample, Score

if TYPE_CHECKING:
    from echat_eval.ports import Case

__all__ = ["ScriptedAnnotator", "ScriptedOracle", "ScriptedScorer", "ScriptedSystem"]

#: A reply; text stands for a text-only reply, and an error is raised.
Answer = Reply | str | BaseException
#: A fixed answer, answers in the order of the calls, answers by request id, or a function, which may be a
#: coroutine function and may return anything.
Answers = Answer | Sequence[Answer] | Mapping[str, Answer] | Callable[[Request], Any]
#: Seconds that a call takes, also as a function of the request, the recording or the cases.
Delay = float | Callable[[Any], float]


class _ScriptedPart:
    """Identity, delays, failures and records of calls, which all scripted parts share.

    Attributes:
        calls_at_once: maximum number of concurrent calls.
        fingerprint_value, settings_value: returned by `fingerprint` and `settings`; a test may replace them.
        call_sizes: number of items of each call; 1 for a single call.
        max_busy: the most calls that were in progress at once.
        loads, closes: number of calls of `load` and `close`.
        events: "load NAME", "respond NAME", "annotate NAME", "score NAME" and "close NAME", in order; parts
            with the same list share one order.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: Mapping[str, Any] | None,
        calls_at_once: int,
        seconds: Delay,
        failures: Sequence[BaseException],
        events: list[str] | None,
    ) -> None:
        self.name = name
        self.calls_at_once = calls_at_once
        self.settings_value: Mapping[str, Any] = dict(settings or {})
        self.call_sizes: list[int] = []
        self.max_busy = self.loads = self.closes = 0
        self.events: list[str] = [] if events is None else events
        self._seconds = seconds
        self._failures = list(failures)
        self._busy = 0
        self._lock = threading.Lock()

    def load(self) -> Any:
        """Count the call."""
        self.loads += 1
        self.events.append(f"load {self.name}")

    def close(self) -> Any:
        """Count the call."""
        self.closes += 1
        self.events.append(f"close {self.name}")

    def settings(self) -> Mapping[str, Any]:
        """Return the settings that the test gave."""
        return self.settings_value

    def _delay(self, item: Any) -> float:
        return self._seconds(item) if callable(self._seconds) else self._seconds

    @contextmanager
    def _recorded(self, record: list[Any], items: Sequence[Any]) -> Iterator[None]:
        """Record a call while it is in progress, and raise the failure that the script has for it."""
        with self._lock:
            self.call_sizes.append(len(items))
            record.extend(items)
            self._busy += 1
            self.max_busy = max(self.max_busy, self._busy)
            failure = self._failures.pop(0) if self._failures else None
        try:
            if failure is not None:
                raise failure
            yield
        finally:
            with self._lock:
                self._busy -= 1


class ScriptedSystem(_ScriptedPart):
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
            settings=settings,
            calls_at_once=calls_at_once,
            seconds=seconds,
            failures=failures,
            events=events,
        )
        self.answers = answers
        self.requests: list[Request] = []
        self.fingerprint_value = fingerprint
        self._position = 0
        if role is not None:
            self.role = role
        if asynchronous or inspect.iscoroutinefunction(answers):
            self.respond = self._respond_async  # type: ignore[method-assign]
        if batch_size is not None:
            self.batch_size = batch_size
            if not hasattr(type(self), "respond_batch"):
                self.respond_batch = self._respond_batch

    def respond(self, request: Request) -> Any:
        """Return the reply that the script has for a request, or raise its error."""
        with self._recorded(self.requests, [request]):
            time.sleep(self._delay(request))
            self.events.append(f"respond {self.name}")
            return self._answer(request)

    async def _respond_async(self, request: Request) -> Any:
        with self._recorded(self.requests, [request]):
            await asyncio.sleep(self._delay(request))
            self.events.append(f"respond {self.name}")
            answer = self._answer(request)
            return _reply_of(await answer) if inspect.isawaitable(answer) else answer

    def _respond_batch(self, requests: Sequence[Request]) -> list[Any]:
        with self._recorded(self.requests, requests):
            time.sleep(max((self._delay(request) for request in requests), default=0.0))
            self.events.append(f"respond {self.name}")
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
        with self._lock:
            position, self._position = self._position, self._position + 1
        if position >= len(answers):
            raise UsageError(f"{self.name} has {len(answers)} answers and received another request")
        return _reply_of(answers[position])

    def fingerprint(self) -> str | None:
        """Return the fingerprint that the test gave."""
        return self.fingerprint_value


def _reply_of(answer: Any) -> Any:
    if isinstance(answer, BaseException):
        raise answer
    return Reply(text=answer) if isinstance(answer, str) else answer


class ScriptedOracle(_ScriptedPart):
    """A reference system whose replies are a function of the whole sample.

    Args:
        answer: a function of the sample; text stands for a text-only reply.
        name, role, fingerprint, settings: see `Oracle`.

    Attributes:
        samples: the samples received, in order.
    """

    def __init__(
        self,
        answer: Callable[[Sample], Any],
        name: str = "scripted-oracle",
        *,
        role: Literal["floor", "ceiling"] = "ceiling",
        fingerprint: str | None = "scripted-1",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            name,
            settings=settings,
            calls_at_once=1,
            seconds=0.0,
            failures=(),
            events=None,
        )
        self.answer = answer
        self.role: Literal["floor", "ceiling"] = role
        self.samples: list[Sample] = []
        self.fingerprint_value = fingerprint

    def respond_to(self, sample: Sample) -> Any:
        """Return the reply that the script has for a sample."""
        with self._recorded(self.samples, [sample]):
            return _reply_of(self.answer(sample))

    def fingerprint(self) -> str | None:
        """Return the fingerprint that the test gave."""
        return self.fingerprint_value


class ScriptedAnnotator(_ScriptedPart):
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
            settings=settings,
            calls_at_once=calls_at_once,
            seconds=seconds,
            failures=failures,
            events=events,
        )
        self.version = version
        self.values = values
        self.audios: list[AudioRef] = []
        self.fingerprint_value = fingerprint
        self._position = 0
        if languages is not None:
            self.languages = languages
        if batch_size is not None:
            self.batch_size = batch_size
            if not hasattr(type(self), "annotate_batch"):
                self.annotate_batch = self._annotate_batch

    def annotate(self, audio: AudioRef, *, language: str) -> Any:
        """Return the values that the script has for a recording, or raise its error."""
        with self._recorded(self.audios, [audio]):
            time.sleep(self._delay(audio))
            self.events.append(f"annotate {self.name}")
            return self._values(audio, language)

    def _annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> list[Any]:
        with self._recorded(self.audios, audios):
            time.sleep(max((self._delay(audio) for audio in audios), default=0.0))
            self.events.append(f"annotate {self.name}")
            return [self._values(audio, language) for audio in audios]

    def _values(self, audio: AudioRef, language: str) -> Any:
        values: Any = self.values
        if callable(values):
            values = values(audio, language)
        elif isinstance(values, Sequence):
            with self._lock:
                position, self._position = self._position, self._position + 1
            if position >= len(values):
                raise UsageError(f"{self.name} has {len(values)} values and received another recording")
            values = values[position]
        if isinstance(values, BaseException):
            raise values
        return values

    def fingerprint(self) -> str:
        """Return the fingerprint that the test gave."""
        return self.fingerprint_value


class ScriptedScorer(_ScriptedPart):
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
        self.fingerprint_value = fingerprint
        self._scores_all = scores_all
        if families is not None:
            self.families = families
        if asynchronous:
            self.score = self._score_async  # type: ignore[method-assign]

    def score(self, cases: Sequence[Case]) -> Any:
        """Return the scores of the cases of one scope."""
        with self._recorded(self.cases, cases):
            time.sleep(self._delay(cases))
            self.events.append(f"score {self.name}")
            return [score for case in cases for score in self._scores(case)]

    async def _score_async(self, cases: Sequence[Case]) -> Any:
        with self._recorded(self.cases, cases):
            await asyncio.sleep(self._delay(cases))
            self.events.append(f"score {self.name}")
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

    def fingerprint(self) -> str:
        """Return the fingerprint that the test gave."""
        return self.fingerprint_value


def _percentage(name: str) -> Metric:
    return Metric(
        name=name, title=name, unit="points", low=0, high=100, higher_is_better=True, worst=0, headline=True
    )
