"""The doors: what a system, an oracle, an annotator and a scorer have to offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from echat_eval.records import Annotation, AudioRef, Metric, Reply, Request, Response, Sample, Score

__all__ = ["Annotator", "Case", "Oracle", "Progress", "Scorer", "Silent", "System"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that is known of one sample under one system, as a scorer gets it."""

    sample: Sample
    response: Response
    annotations: Mapping[str, Annotation]


@runtime_checkable
class System(Protocol):
    """What is evaluated.

    `respond` may be a coroutine function (`async def`), as it best is where a network is waited for:
    it runs on the process's one event loop, any other on threads. A system may also have
    `respond_batch(requests) -> replies` with `batch_size: int`, `calls_at_once: int`, `load()` and
    `close()`. Anything it raises is recorded, never scored. One whose fingerprint does not see all that
    it answers by says `cached = False`; one that asks a paid server has a `billed_client` and
    `size_of(request)` (see `echat_eval.cost.meter`). On a cluster it runs in copies: it must be picklable
    before `load()`, gets a GPU if its `device` (or `wants_gpu`) says so, and stays with the driver if it
    says `runs_here`.
    """

    name: str

    def respond(self, request: Request) -> Reply | Awaitable[Reply]:
        """Answer one request."""

    def fingerprint(self) -> str | None:
        """Hash of what makes this system answer as it does; None if that cannot be known."""

    def settings(self) -> Mapping[str, Any]:
        """Everything that was set, without secrets."""


@runtime_checkable
class Oracle(Protocol):
    """A floor or a ceiling: it sees the whole sample, and every table marks it."""

    name: str
    role: Literal["floor", "ceiling"]

    def respond_to(self, sample: Sample) -> Reply | Awaitable[Reply]:
        """Answer one sample; may be `async def`."""

    def fingerprint(self) -> str | None:
        """Hash of what makes this oracle answer as it does."""

    def settings(self) -> Mapping[str, Any]:
        """Everything that was set, without secrets."""


@runtime_checkable
class Annotator(Protocol):
    """An automatic instrument that hears a reply (people are raters).

    An annotator may also have `languages: tuple[str, ...]`: it is not applicable to others; and
    `annotate_batch(audios, language=) -> values` with `batch_size`, `calls_at_once`, `load` and `close`.
    """

    name: str
    version: str

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any] | Awaitable[Mapping[str, Any]]:
        """Return what was heard; raises NotApplicable where it cannot hear this. May be `async def`."""

    def fingerprint(self) -> str:
        """Hash of the weights or of the rule."""

    def settings(self) -> Mapping[str, Any]:
        """Everything that was set."""


@runtime_checkable
class Scorer(Protocol):
    """Turns replies and annotations into scores, one per case and metric.

    Attributes:
        needs: names of annotators whose rows it reads.
        scope: "sample", or "contrast group" if a score depends on its group's other replies.

    A scorer may also have `families: tuple[str, ...]`, of "dialogue" (the default) and "understanding":
    it is not applicable to samples of the other.
    """

    name: str
    version: str
    metrics: tuple[Metric, ...]
    needs: tuple[str, ...]
    scope: Literal["sample", "contrast group"]

    def score(self, cases: Sequence[Case]) -> Sequence[Score] | Awaitable[Sequence[Score]]:
        """Score all cases of one scope; `key` may be left empty. May be `async def`."""

    def fingerprint(self) -> str:
        """Hash of the weights, prompt or rule."""

    def settings(self) -> Mapping[str, Any]:
        """Everything that was set."""


class Progress(Protocol):
    """Told what is going on; the command line draws it. Stages may overlap."""

    def stage(self, name: str, total: int, done: int) -> None:
        """A stage begins: `total` rows, of which `done` were there already."""

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        """So many more rows of a stage are done; by default of the stage begun last."""

    def note(self, text: str) -> None:
        """Something to know while it goes on."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str, total: int, done: int) -> None:
        """Say nothing."""

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""
