"""The manifest of a run: what was run, in which versions, with which settings and hashes.

`manifest_file` reads and writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.executors import ExecutorFacts
from echat_eval.ports import Oracle, calls_at_once_of, role_of

if TYPE_CHECKING:
    from echat_eval.cost.totals import RunCosts
    from echat_eval.ports import Annotator, Scorer, System
    from echat_eval.records import Metric, SystemRole
    from echat_eval.store.environment import Environment
    from echat_eval.task import Task

__all__ = [
    "FORMAT",
    "LAYOUT",
    "AnnotatorFacts",
    "CacheCounts",
    "CacheTally",
    "RunManifest",
    "RunSettings",
    "ScorerFacts",
    "SystemFacts",
    "TaskFacts",
]

#: Increased when a manifest of an older format could be misread. A manifest without a format has format 1.
FORMAT = 1
#: Increased when rows of an older layout could be misread.
LAYOUT = 1

#: Settings of a system, annotator or scorer: plain JSON.
Settings = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """A task of a run.

    Attributes:
        sha256: hash of the task's folder.
        title: language -> title.
        samples: number of samples of the last command.
        languages: languages of these samples.
        licence: of the samples; None in runs that did not record it.
        citation, consent, voices: as the task states them.
        redistributable: whether the audio may be passed on; None, which counts as no, if not stated.
        private: whether the data go to named hosts only; None, which counts as yes, in runs that did not
            record it.
    """

    version: int | None = None
    sha256: str | None = None
    cues: tuple[str, ...] = ()
    title: Mapping[str, str] = field(default_factory=dict)
    samples: int | None = None
    languages: tuple[str, ...] = ()
    licence: str | None = None
    citation: str | None = None
    redistributable: bool | None = None
    private: bool | None = None
    consent: str | None = None
    voices: str | None = None

    @classmethod
    def of(cls, task: Task) -> TaskFacts:
        """Return the facts of a task."""
        return cls(
            version=task.version,
            sha256=task.sha256,
            cues=tuple(task.cues),
            title=dict(task.title),
            samples=len(task.samples),
            languages=tuple(task.languages),
            licence=task.licence,
            citation=task.citation,
            redistributable=task.redistributable,
            private=task.private,
            consent=task.consent,
            voices=task.voices,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFacts:
    """A system of a run.

    Attributes:
        role: "floor" and "ceiling" are marked in every table.
        oracle: it received the gold labels.
        fingerprint: hash of its weights or program; None if unknown.
        seed: its setting of that name.
        calls_at_once: maximum of concurrent calls; None in runs that did not record it.
    """

    role: SystemRole = "system"
    oracle: bool = False
    settings: Settings = field(default_factory=dict)
    fingerprint: str | None = None
    seed: object = None
    calls_at_once: int | None = None

    @classmethod
    def of(cls, system: System | Oracle) -> SystemFacts:
        """Return the facts of a system."""
        settings = dict(system.settings())
        return cls(
            role=role_of(system),
            oracle=isinstance(system, Oracle),
            settings=settings,
            fingerprint=system.fingerprint(),
            seed=settings.get("seed"),
            calls_at_once=calls_at_once_of(system),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorFacts:
    """An annotator of a run; together with the audio it determines the keys of its annotations."""

    version: str | None = None
    settings: Settings = field(default_factory=dict)
    fingerprint: str | None = None

    @classmethod
    def of(cls, annotator: Annotator) -> AnnotatorFacts:
        """Return the facts of an annotator."""
        return cls(
            version=annotator.version,
            settings=dict(annotator.settings()),
            fingerprint=annotator.fingerprint(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerFacts:
    """A scorer of a run.

    Attributes:
        metrics: names of its metrics; None in runs that did not record them.
        needs: names of the annotators whose rows it read.
        earlier: the last command did not configure it.
    """

    version: str | None = None
    settings: Settings = field(default_factory=dict)
    fingerprint: str | None = None
    metrics: tuple[str, ...] | None = None
    needs: tuple[str, ...] = ()
    earlier: bool = False

    @classmethod
    def of(cls, scorer: Scorer) -> ScorerFacts:
        """Return the facts of a scorer."""
        return cls(
            version=scorer.version,
            settings=dict(scorer.settings()),
            fingerprint=scorer.fingerprint(),
            metrics=tuple(metric.name for metric in scorer.metrics),
            needs=tuple(scorer.needs),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Settings of a run; no key depends on them.

    Attributes:
        retry_policy: how often a call is made.
        overlap: replies are annotated and scored while others are requested. If False, nothing else runs
            while a system answers, so that its latency is not affected.
        executor: where systems and annotators run.
        headline: name of the metric that was chosen as headline; None: none was chosen.
    """

    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    overlap: bool = True
    executor: ExecutorFacts = field(default_factory=ExecutorFacts)
    headline: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCounts:
    """Rows that a run took from the cache and stored in it, over all commands."""

    hits: int = 0
    stored: int = 0

    def __add__(self, other: CacheCounts) -> CacheCounts:
        return CacheCounts(hits=self.hits + other.hits, stored=self.stored + other.stored)


#: Kind of row ("response", "annotation", "verdict") -> system, annotator or judge -> counts.
CacheTally = Mapping[str, Mapping[str, CacheCounts]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunManifest:
    """The parts, versions and settings of a run, over all commands on its folder.

    Attributes:
        format: version of this record's JSON form.
        layout: version of the folder's rows.
        environment: of the last command that requested replies.
        settings: of the last command that requested replies.
        tasks, systems, annotators, scorers: name -> facts.
        metrics: definitions of all metrics of the run, in the order of tables.
        cache: rows taken from the cache and stored in it.
        cost: costs of all commands; None if nothing was billed.
        destinations: host -> data that it may have got.
        retirements: model of a judge -> the last day on which it is served, as known at the last command.
    """

    format: int = FORMAT
    layout: int = LAYOUT
    environment: Environment | None = None
    settings: RunSettings | None = None
    tasks: Mapping[str, TaskFacts] = field(default_factory=dict)
    systems: Mapping[str, SystemFacts] = field(default_factory=dict)
    annotators: Mapping[str, AnnotatorFacts] = field(default_factory=dict)
    scorers: Mapping[str, ScorerFacts] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    cache: CacheTally = field(default_factory=dict)
    cost: RunCosts | None = None
    destinations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    retirements: Mapping[str, str] = field(default_factory=dict)

    def hashes(self) -> dict[tuple[str, str], str]:
        """Return (kind, name) -> hash of every task, scorer and annotator that has one.

        Runs that differ in one of these are not comparable.
        """
        found = {
            **{("tasks", name): task.sha256 for name, task in self.tasks.items()},
            **{("scorers", name): scorer.fingerprint for name, scorer in self.scorers.items()},
            **{("annotators", name): facts.fingerprint for name, facts in self.annotators.items()},
        }
        return {key: value for key, value in found.items() if value}

    def judge_models(self) -> dict[str, str]:
        """Return scorer -> model of the judge that it asks."""
        found = {name: facts.settings.get("model") for name, facts in self.scorers.items()}
        return {name: str(model) for name, model in found.items() if model and name.startswith("judge")}

    def with_metrics(self, metrics: Sequence[Metric]) -> RunManifest:
        """Return the manifest with further metrics; a metric replaces an earlier one of its name."""
        merged = {metric.name: metric for metric in (*self.metrics, *metrics)}
        return replace(self, metrics=tuple(merged.values()))

    def with_headline(self, name: str) -> RunManifest:
        """Return the manifest with the metric that a command or an experiment file chose as headline."""
        return replace(self, settings=replace(self.settings or RunSettings(), headline=name))

    def with_tally(self, tally: CacheTally) -> RunManifest:
        """Return the manifest with the hits and stored rows of one command added."""
        cache = {kind: dict(owners) for kind, owners in self.cache.items()}
        for kind, owners in tally.items():
            for owner, counts in owners.items():
                totals = cache.setdefault(kind, {})
                totals[owner] = totals.get(owner, CacheCounts()) + counts
        return replace(self, cache=cache)
