"""Protocols that extensions implement: `System`, `Oracle`, `Annotator`, `Scorer` and `Progress`.

`respond`, `respond_to`, `annotate` and `score` may be coroutine functions (`async def`). Coroutines run on
the one event loop of the process, other functions on threads. Use a coroutine to wait for a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from echat_eval.records import Score

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from echat_eval.records import Annotation, AudioRef, Metric, Reply, Request, Response, Sample, State

__all__ = ["Annotator", "Case", "Oracle", "Progress", "Scorer", "Silent", "System"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The input of a scorer: a sample, one system's response to it, and the annotations of the response.

    Attributes:
        annotations: annotator name -> annotation.
    """

    sample: Sample
    response: Response
    annotations: Mapping[str, Annotation]

    @property
    def no_reply(self) -> tuple[State, str] | None:
        """Return the state and the reason of a score without a reply; None if there is a reply.

        A response of state "value" without a reply is the system's failure.
        """
        response = self.response
        if response.state == "value" and response.reply is not None:
            return None
        state: State = "failed" if response.state == "value" else response.state
        return state, response.reason or "there is no reply"

    def score(
        self,
        metric: Metric,
        state: State,
        *,
        value: float | None = None,
        weight: float = 1.0,
        reason: str | None = None,
        evidence: Mapping[str, Any] | None = None,
    ) -> Score:
        """Return the score of this case under a metric; the runner fills in its key.

        Args:
            metric: the metric.
            state: state of the row; a failed row gets the metric's worst value.
            value: value of a row whose state is "value".
            weight: denominator of a ratio metric.
            reason: why there is no value.
            evidence: intermediate values that the score was computed from.
        """
        return Score(
            key="",
            system=self.response.system,
            task=self.sample.task,
            sample_id=self.sample.id,
            metric=metric.name,
            state=state,
            value=metric.worst if state == "failed" else value,
            weight=weight,
            reason=reason,
            evidence=evidence or {},
        )


@runtime_checkable
class System(Protocol):
    """A dialogue system under evaluation.

    An error that `respond` raises becomes the state of the row. Only a `UsageError` that is not `BadData`
    stops the run.

    Optional members:
        respond_batch(requests) -> replies, batch_size: answer several requests in one call.
        calls_at_once: maximum number of concurrent calls; 1 by default.
        load(), close(): acquire and release models or connections.
        cached: set to False if `fingerprint` does not cover everything that determines the replies.
        billed_client, size_of(request): required of a system that calls a paid server; see
            `echat_eval.cost.meter`.
        device, wants_gpu, runs_here: placement on a cluster. Workers use a GPU if `wants_gpu` is true. If it
            is absent, they use one if `device` is "cuda", or "auto" on a cluster that has GPUs. A system with
            `runs_here = True` stays in the driver process; any other must be picklable before `load()`.
    """

    name: str

    def respond(self, request: Request) -> Reply | Awaitable[Reply]:
        """Return the reply to one request."""

    def fingerprint(self) -> str | None:
        """Return a hash of the weights, program or served model; None if it cannot be determined."""

    def settings(self) -> Mapping[str, Any]:
        """Return all settings, without secrets."""


@runtime_checkable
class Oracle(Protocol):
    """A reference system that receives the whole sample, gold labels included.

    Attributes:
        role: "floor" or "ceiling"; every table marks it.
    """

    name: str
    role: Literal["floor", "ceiling"]

    def respond_to(self, sample: Sample) -> Reply | Awaitable[Reply]:
        """Return the reply to one sample."""

    def fingerprint(self) -> str | None:
        """Return a hash of the weights, program or served model; None if it cannot be determined."""

    def settings(self) -> Mapping[str, Any]:
        """Return all settings, without secrets."""


@runtime_checkable
class Annotator(Protocol):
    """An automatic instrument that measures the audio of a reply, such as a recogniser or a classifier.

    Attributes:
        version: increase it when the annotator's code changes its output.

    Optional members:
        languages: tuple of BCP 47 primary tags; the annotator is not applicable to other languages.
        annotate_batch(audios, language=) -> values, batch_size: annotate several files in one call.
        calls_at_once, load(), close(): as for `System`.
    """

    name: str
    version: str

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any] | Awaitable[Mapping[str, Any]]:
        """Return name -> value of one audio file.

        Raises:
            NotApplicable: the annotator does not support this audio.
        """

    def fingerprint(self) -> str:
        """Return a hash of the weights or the rule."""

    def settings(self) -> Mapping[str, Any]:
        """Return all settings."""


@runtime_checkable
class Scorer(Protocol):
    """A function from responses and annotations to scores, one per case and metric.

    Attributes:
        version: increase it when the scorer's code changes its output.
        metrics: definitions of the metrics it computes.
        needs: names of the annotators whose rows it reads.
        scope: "sample", or "contrast group" if a score depends on the other replies of its group.

    Optional members:
        families: tuple of "dialogue" (the default) and "understanding"; the scorer is not applicable to
            samples of another family.
    """

    name: str
    version: str
    metrics: tuple[Metric, ...]
    needs: tuple[str, ...]
    scope: Literal["sample", "contrast group"]

    def score(self, cases: Sequence[Case]) -> Sequence[Score] | Awaitable[Sequence[Score]]:
        """Return the scores of all cases of one scope; their `key` may be left empty."""

    def fingerprint(self) -> str:
        """Return a hash of the weights, prompt or rule."""

    def settings(self) -> Mapping[str, Any]:
        """Return all settings."""


class Progress(Protocol):
    """Receives the progress of a run; the command line displays it. Stages may overlap."""

    def stage(self, name: str, total: int, done: int) -> None:
        """Start a stage of `total` rows, of which `done` exist already."""

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        """Count further finished rows of a stage; by default of the stage started last."""

    def note(self, text: str) -> None:
        """Show a message while the run continues."""


class Silent:
    """A `Progress` that displays nothing."""

    def stage(self, name: str, total: int, done: int) -> None:
        """Do nothing."""

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""
