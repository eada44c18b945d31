"""Protocols that extensions implement: `System`, `Oracle`, `Annotator`, `Scorer` and `Progress`.

Optional abilities are protocols of their own, such as `BatchSystem`: an object has the ability if it has the
members. Abilities that concern money are in `echat_eval.cost.meter`; those of a judge's scorer are in
`echat_eval.judge.scorer`.

`respond`, `respond_to`, `annotate` and `score` may be coroutine functions (`async def`). Coroutines run on
the one event loop of the process, other functions on threads. Use a coroutine to wait for a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from echat_eval.languages import supports
from echat_eval.records import Score, live_dialogue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from echat_eval.records import (
        Annotation,
        AudioRef,
        JudgeEvidence,
        Metric,
        Reply,
        Request,
        Response,
        Sample,
        State,
        SystemRole,
        Turn,
    )

__all__ = [
    "Annotator",
    "BatchAnnotator",
    "BatchSystem",
    "Billed",
    "CachedReplies",
    "Case",
    "Closable",
    "Concurrent",
    "Destination",
    "DialogueLimited",
    "Family",
    "FamilyScorer",
    "GpuUser",
    "LanguageLimited",
    "Licensed",
    "Loadable",
    "OnDevice",
    "Oracle",
    "Progress",
    "RepliesByFile",
    "RoleMarked",
    "RunsInDriver",
    "Scorer",
    "Sending",
    "Session",
    "SessionSystem",
    "ShowsCost",
    "Silent",
    "System",
    "TrackedRun",
    "Tracker",
    "batch_size_of",
    "calls_at_once_of",
    "dialogue_fault_of",
    "families_of",
    "family_of",
    "has_cached_replies",
    "language_fault",
    "licence_of",
    "role_of",
]

#: Kinds of task: "dialogue" asks for a reply, "understanding" asks a question about the audio.
Family = Literal["dialogue", "understanding"]


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
    def history(self) -> tuple[Turn, ...]:
        """Return the turns before the last one, oldest first; of a live dialogue with the replies."""
        if self.sample.turns is None:
            return self.sample.history
        return live_dialogue(self.sample.turns, self.response.turns or ())

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
        evidence: Mapping[str, Any] | JudgeEvidence | None = None,
    ) -> Score:
        """Return the score of this case under a metric; the runner fills in its key.

        Args:
            metric: the metric.
            state: state of the row; a failed row gets the metric's `failure_value`.
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
            value=metric.failure_value if state == "failed" else value,
            weight=weight,
            reason=reason,
            evidence=evidence or {},
        )


@runtime_checkable
class System(Protocol):
    """A dialogue system under evaluation.

    An error that `respond` raises becomes the state of the row. Only a `UsageError` that is not `BadData`
    stops the run.

    Optional abilities: `BatchSystem`, `Concurrent`, `Loadable`, `Closable`, `CachedReplies`, `RoleMarked`,
    `RepliesByFile`, `SessionSystem`, `DialogueLimited`; `echat_eval.cost.meter.MeteredSystem`, required of a
    system that calls a paid server; `RunsInDriver`, `GpuUser` and `OnDevice` for its place on a cluster. A
    system that does not run in the driver must be picklable before `load()`.
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

    Optional abilities: `BatchAnnotator`, `LanguageLimited`, `Licensed`, `Concurrent`, `Loadable`, `Closable`.
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

    Optional abilities: `FamilyScorer`, `Concurrent`, `Loadable`, `Closable`; of a judge's scorer,
    `echat_eval.judge.scorer.JudgingScorer`.
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


# -- optional abilities ----------------------------------------------------------


@runtime_checkable
class Concurrent(Protocol):
    """A system, annotator or scorer that takes several calls at once; others take one at a time."""

    calls_at_once: int


@runtime_checkable
class Loadable(Protocol):
    """Acquires models or connections before the first call. `load` may be a coroutine function."""

    def load(self) -> object:
        """Acquire them; the result is ignored."""


@runtime_checkable
class Closable(Protocol):
    """Releases models or connections after the last call. `close` may be a coroutine function."""

    def close(self) -> object:
        """Release them; the result is ignored. `load` may follow."""


@runtime_checkable
class BatchSystem(Protocol):
    """A system that answers several requests in one call.

    Attributes:
        batch_size: maximum number of requests per call.
    """

    batch_size: int

    def respond_batch(
        self, requests: Sequence[Request]
    ) -> Sequence[Reply | None] | Awaitable[Sequence[Reply | None]]:
        """Return one reply per request, in order; None for a request to be sent alone, where it can fail."""


@runtime_checkable
class BatchAnnotator(Protocol):
    """An annotator that measures several files in one call.

    Attributes:
        batch_size: maximum number of files per call.
    """

    batch_size: int

    def annotate_batch(
        self, audios: Sequence[AudioRef], *, language: str
    ) -> Sequence[Mapping[str, Any]] | Awaitable[Sequence[Mapping[str, Any]]]:
        """Return the values of each file, in order; all files are in one language."""


@runtime_checkable
class Session(Protocol):
    """One live dialogue with a system that remembers its turns."""

    def respond(self, request: Request) -> Reply | Awaitable[Reply]:
        """Return the reply to the next turn. The request's history states what the session should remember.

        Raises:
            Unavailable: the session has ended on its own; the dialogue is begun again in another one.
        """

    def close(self) -> object:
        """End the session, after its last turn or an error; the result is ignored."""


@runtime_checkable
class SessionSystem(Protocol):
    """A system that keeps the state of a live dialogue: one session per dialogue.

    Other systems get the turns of a dialogue by `respond`, each with the dialogue so far as its history; one
    that cannot take a history raises NotApplicable.

    Attributes:
        holds_sessions: whether it does, as it is set up.
    """

    holds_sessions: bool

    def open_session(self, request: Request) -> Session | Awaitable[Session]:
        """Begin a dialogue whose first turn is this request."""


@runtime_checkable
class DialogueLimited(Protocol):
    """A system that may be unable to hold live dialogues; it then gets no turn of them.

    Their rows are *not applicable*.
    """

    def dialogue_fault(self) -> str | None:
        """Return why it cannot hold one as it is set up; None if it can."""


@runtime_checkable
class CachedReplies(Protocol):
    """A system that states whether other runs may reuse its replies; by default they may.

    Attributes:
        cached: False if `fingerprint` does not cover everything that determines the replies, or if the system
            is faster than a look-up.
    """

    cached: bool


@runtime_checkable
class RoleMarked(Protocol):
    """A system with a role in tables, such as a floor that ignores the voice."""

    role: SystemRole


@runtime_checkable
class RepliesByFile(Protocol):
    """A system whose replies were made elsewhere and are matched to requests by name."""

    def unclaimed(self, requests: Iterable[Request]) -> Sequence[str]:
        """Return the names of replies that match no request."""


@runtime_checkable
class LanguageLimited(Protocol):
    """An annotator for some languages. It is not called for others: their rows are *not applicable*.

    Attributes:
        languages: BCP 47 tags; "en" covers "en-GB".
    """

    languages: tuple[str, ...]


@runtime_checkable
class Licensed(Protocol):
    """A part whose weights have a licence that users must know."""

    licence: str | None


@runtime_checkable
class FamilyScorer(Protocol):
    """A scorer that states which families of samples it scores; by default dialogue only."""

    families: tuple[Family, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A server to which a part sends data of the run.

    Attributes:
        url: its address.
        contents: what it gets, in words such as "query audio", "transcripts", "gold labels", "words of
            replies".
    """

    url: str
    contents: tuple[str, ...]


@runtime_checkable
class Sending(Protocol):
    """A system or scorer that sends data of the run to servers; private data go to allowed hosts only."""

    def destinations(self) -> Sequence[Destination]:
        """Return the servers, before anything is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedRun:
    """A finished run as a tracker gets it.

    Attributes:
        name: of its folder.
        folder: the run folder.
        experiment: the resolved experiment, without secrets, paths relative to the folder.
        headline: name of the metric that leads.
        columns: names of the columns of `rows`, in their order.
        rows: leaderboard.csv: one row per system, task ("all": every task) and metric, the headline first.
        page: folder of the page with audio; None: it could not be made.
    """

    name: str
    folder: Path
    experiment: Mapping[str, Any]
    headline: str
    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    page: Path | None


@runtime_checkable
class Tracker(Protocol):
    """An experiment tracker; it may declare `Sending`."""

    name: str

    def log(self, run: TrackedRun) -> None:
        """Copy a finished run; what it raises becomes a note."""


@runtime_checkable
class Billed(Protocol):
    """A system or scorer whose calls may cost money; see `echat_eval.cost.meter.BilledPart`."""

    @property
    def billed_client(self) -> object:
        """Return the client that makes the calls; None if they are free."""


@runtime_checkable
class RunsInDriver(Protocol):
    """A system that stays in the driver's process even if others run on a cluster.

    Attributes:
        runs_here: whether it does.
    """

    runs_here: bool


@runtime_checkable
class GpuUser(Protocol):
    """A part that states whether its copies on a cluster need a GPU.

    Attributes:
        wants_gpu: None: `device` decides.
    """

    wants_gpu: bool | None


@runtime_checkable
class OnDevice(Protocol):
    """A part with a device: "cpu", "cuda", or "auto" for a GPU if there is one."""

    device: str


def calls_at_once_of(part: object) -> int:
    """Return the maximum number of concurrent calls of a system, annotator or scorer; 1 by default."""
    return max(1, part.calls_at_once) if isinstance(part, Concurrent) else 1


def batch_size_of(part: object) -> int:
    """Return the maximum number of requests or files per call; 1 for a part without batches."""
    return max(1, part.batch_size) if isinstance(part, BatchSystem | BatchAnnotator) else 1


def role_of(system: System | Oracle) -> SystemRole:
    """Return the role of a system in tables; "system" by default."""
    return system.role if isinstance(system, RoleMarked) else "system"


def has_cached_replies(system: object) -> bool:
    """Return whether other runs may reuse a system's replies; by default they may."""
    return system.cached if isinstance(system, CachedReplies) else True


def language_fault(annotator: object, language: str) -> str | None:
    """Return why an annotator is not applicable to a language; None if it is."""
    if not isinstance(annotator, LanguageLimited) or supports(annotator.languages, language):
        return None
    name = annotator.name if isinstance(annotator, Annotator) else type(annotator).__name__
    return f"'{name}' is set to {', '.join(annotator.languages)}, not '{language}'"


def dialogue_fault_of(system: object) -> str | None:
    """Return why a system cannot hold live dialogues; None if it can, or states nothing."""
    return system.dialogue_fault() if isinstance(system, DialogueLimited) else None


def licence_of(part: object) -> str | None:
    """Return the licence of a part's weights; None if there is nothing to know."""
    return part.licence if isinstance(part, Licensed) else None


def families_of(scorer: Scorer) -> tuple[Family, ...]:
    """Return the families of samples that a scorer scores; by default dialogue only."""
    return scorer.families if isinstance(scorer, FamilyScorer) else ("dialogue",)


def family_of(sample: Sample) -> Family:
    """Return the family of a sample."""
    return "dialogue" if sample.asks is None else "understanding"


class Progress(Protocol):
    """Receives the progress of a run; the command line displays it. Stages may overlap."""

    def stage(self, name: str, total: int, done: int) -> None:
        """Start a stage of `total` rows, of which `done` exist already."""

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        """Count further finished rows of a stage; by default of the stage started last."""

    def note(self, text: str) -> None:
        """Show a message while the run continues."""


@runtime_checkable
class ShowsCost(Protocol):
    """A `Progress` that also shows the cost so far."""

    def show_cost(self, line: Callable[[], str]) -> None:
        """Show what `line` returns; it changes with every call that is billed."""


class Silent:
    """A `Progress` that displays nothing."""

    def stage(self, name: str, total: int, done: int) -> None:
        """Do nothing."""

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""
