"""The manifest of a run: what was run, in which versions, with which settings and hashes.

This module holds the only reader and the only writer of `manifest.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.cost.prices import TOKEN_KINDS, Price, Tokens
from echat_eval.cost.totals import CallCosts, RunCosts, TableFacts
from echat_eval.errors import BadData, UsageError
from echat_eval.executors import ExecutorFacts
from echat_eval.io.files import write_atomically
from echat_eval.io.jsonl import loads
from echat_eval.io.schema import ANYTHING, STRING, Rule, Schema, list_of, mapping_of, number, one_of, whole
from echat_eval.ports import Oracle, calls_at_once_of, role_of
from echat_eval.records import AVERAGES, ROLES, Metric, SystemRole
from echat_eval.store.environment import Commit, Environment, Hardware

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.ports import Annotator, Scorer, System
    from echat_eval.task import Task

__all__ = [
    "FORMAT",
    "LAYOUT",
    "AnnotatorFacts",
    "CacheCounts",
    "RunManifest",
    "RunSettings",
    "ScorerFacts",
    "SystemFacts",
    "TaskFacts",
    "environment_from",
    "metric_from",
    "read_manifest",
    "to_json",
    "write_manifest",
]

#: Increased when a manifest of an older format could be misread. A manifest without a format has format 1.
FORMAT = 1
#: Increased when rows of an older layout could be misread.
LAYOUT = 1

#: Name of the retry policy in older manifests of this format.
_OLD_RETRY_POLICY = "patience"
#: Settings of a system, annotator or scorer: plain JSON.
Settings = Mapping[str, object]
_NONE: Mapping[str, object] = {}

T = TypeVar("T")


# -- records -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """A task of a run.

    Attributes:
        sha256: hash of the task's folder.
        title: language -> title.
        samples: number of samples of the last command.
        languages: languages of these samples.
    """

    version: int | None = None
    sha256: str | None = None
    cues: tuple[str, ...] = ()
    title: Mapping[str, str] = field(default_factory=dict)
    samples: int | None = None
    languages: tuple[str, ...] = ()

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
    """

    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    overlap: bool = True
    executor: ExecutorFacts = field(default_factory=ExecutorFacts)


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

    def with_metrics(self, metrics: Sequence[Metric]) -> RunManifest:
        """Return the manifest with further metrics; a metric replaces an earlier one of its name."""
        merged = {metric.name: metric for metric in (*self.metrics, *metrics)}
        return replace(self, metrics=tuple(merged.values()))

    def with_tally(self, tally: CacheTally) -> RunManifest:
        """Return the manifest with the hits and stored rows of one command added."""
        cache = {kind: dict(owners) for kind, owners in self.cache.items()}
        for kind, owners in tally.items():
            for owner, counts in owners.items():
                totals = cache.setdefault(kind, {})
                totals[owner] = totals.get(owner, CacheCounts()) + counts
        return replace(self, cache=cache)


# -- schemas: the keys of each record ---------------------------------------------

_COUNT = whole(0)
_FLAG = Rule(lambda value: isinstance(value, bool), "true or false")
_NUMBER = number()
_TEXTS = list_of(STRING, "a list of texts")
_TEXT_MAP = mapping_of(STRING, "a mapping of names to texts")
_OBJECT = Rule(lambda value: isinstance(value, Mapping), "a mapping")
_OBJECTS = mapping_of(_OBJECT, "a mapping of names to mappings")
_AMOUNT = Rule(lambda value: _decimal(value) is not None, "an amount of money, written as text")
_AMOUNTS = mapping_of(_AMOUNT, "a mapping of currencies to amounts, written as text")
_VERSION = Rule(
    lambda value: isinstance(value, str | int) and not isinstance(value, bool), "text or a whole number"
)


def _schema(required: Mapping[str, Rule], optional: Mapping[str, Rule] = {}) -> Schema:
    """Return the schema of a record. Unknown keys are ignored: versions with this format may add facts."""
    return Schema({**required, **{key: rule.optional() for key, rule in optional.items()}}, closed=False)


_INSTRUMENT = {"version": _VERSION, "settings": _OBJECT, "fingerprint": STRING}
_SCHEMAS: Mapping[type, Schema] = {
    RunManifest: _schema(
        {"format": _COUNT, "layout": _COUNT},
        {
            "environment": _OBJECT,
            "settings": _OBJECT,
            "tasks": _OBJECTS,
            "systems": _OBJECTS,
            "annotators": _OBJECTS,
            "scorers": _OBJECTS,
            "metrics": list_of(_OBJECT, "a list of mappings"),
            "cache": mapping_of(_OBJECTS, "a mapping of kinds to mappings of names to counts"),
            "cost": _OBJECT,
        },
    ),
    TaskFacts: _schema(
        {},
        {
            "version": whole(0),
            "sha256": STRING,
            "cues": _TEXTS,
            "title": _TEXT_MAP,
            "samples": _COUNT,
            "languages": _TEXTS,
        },
    ),
    SystemFacts: _schema(
        {},
        {
            "role": one_of(ROLES),
            "oracle": _FLAG,
            "settings": _OBJECT,
            "fingerprint": STRING,
            "seed": ANYTHING,
            "calls_at_once": whole(1),
        },
    ),
    AnnotatorFacts: _schema({}, _INSTRUMENT),
    ScorerFacts: _schema({}, {**_INSTRUMENT, "metrics": _TEXTS, "needs": _TEXTS, "earlier": _FLAG}),
    Metric: _schema(
        {"name": STRING, "title": STRING, "unit": STRING, "higher_is_better": _FLAG},
        {
            "low": _NUMBER,
            "high": _NUMBER,
            "worst": _NUMBER,
            "average": one_of(AVERAGES),
            "headline": _FLAG,
            "proxy": _FLAG,
            "digits": whole(0, 12),
        },
    ),
    RunSettings: _schema({}, {"retry_policy": _OBJECT, "overlap": _FLAG, "executor": _OBJECT}),
    RetryPolicy: _schema(
        {},
        {"tries": whole(1), "first_wait": number(0), "longest_wait": number(0), "failed_again": _FLAG},
    ),
    ExecutorFacts: _schema({}, {"name": STRING, "workers": whole(1), "version": STRING}),
    Environment: _schema(
        {},
        {
            "echat_eval": STRING,
            "commit": _OBJECT,
            "python": STRING,
            "platform": STRING,
            "packages": _TEXT_MAP,
            "hardware": _OBJECT,
        },
    ),
    Commit: _schema({"id": STRING}, {"dirty": _FLAG}),
    Hardware: _schema({}, {"cpu": STRING, "cores": _COUNT, "gpus": _TEXTS, "device": STRING}),
    CacheCounts: _schema({}, {"hits": _COUNT, "stored": _COUNT}),
    RunCosts: _schema({}, {"judges": _OBJECTS, "systems": _OBJECTS, "prices": _OBJECTS, "table": _OBJECT}),
    CallCosts: _schema(
        {"model": STRING},
        {
            "place": STRING,
            "calls": _COUNT,
            "tokens": _OBJECT,
            "unpriced": _COUNT,
            "money": _AMOUNTS,
            "lost": _COUNT,
            "lost_at_most": _AMOUNTS,
        },
    ),
    Tokens: _schema({}, dict.fromkeys(TOKEN_KINDS, _COUNT)),
    Price: _schema(
        {"currency": STRING, "date": STRING, "source": STRING}, dict.fromkeys(TOKEN_KINDS, _AMOUNT)
    ),
    TableFacts: _schema({"name": STRING, "sha256": STRING}),
}
#: Fields that are left out of the file while they are None or empty; all others are written, as null if None.
_LEFT_OUT: Mapping[type, frozenset[str]] = {
    RunManifest: frozenset(
        {"environment", "settings", "tasks", "systems", "annotators", "scorers", "cache", "cost"}
    ),
    ScorerFacts: frozenset({"metrics"}),
    ExecutorFacts: frozenset({"workers", "version"}),
    RunCosts: frozenset({"judges", "systems", "table"}),
    Price: frozenset(TOKEN_KINDS),
}


# -- the reader ------------------------------------------------------------------


def read_manifest(path: Path) -> RunManifest:
    """Return the manifest in a file; an empty one if there is no file yet.

    Raises:
        BadData: not a manifest, of another format, or a fact of the wrong type.
    """
    if not path.exists():
        return RunManifest()
    try:
        row = loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise BadData(f"{path}: cannot be read: {error}; restore the file or start a new run") from error
    if not isinstance(row, dict):
        raise BadData(f"{path}: not a manifest: found {type(row).__name__}, expected a JSON object")
    for name, version in (("format", FORMAT), ("layout", LAYOUT)):
        found = row.get(name, FORMAT if name == "format" else None)
        if found != version or isinstance(found, bool):
            raise BadData(
                f"{path}: not a manifest of {name} {version}: its {name} is {found!r}; it was written by "
                "another version of echat-eval, so read it with that version or run again in a new folder"
            )
    return _manifest({"format": FORMAT, **row}, str(path))


def _manifest(row: Mapping[str, object], path: str) -> RunManifest:
    top = _checked(RunManifest, row, path)

    def named(kind: type[T], key: str) -> dict[str, T]:
        return _named(kind, top.get(key), f"{path}: {key}")

    settings = _mapping(top.get("settings"))
    cost = _mapping(top.get("cost"))
    return RunManifest(
        environment=environment_from(_mapping(top.get("environment")), f"{path}: environment"),
        settings=_settings_from(settings, f"{path}: settings") if settings else None,
        tasks=named(TaskFacts, "tasks"),
        systems=named(SystemFacts, "systems"),
        annotators=named(AnnotatorFacts, "annotators"),
        scorers=named(ScorerFacts, "scorers"),
        metrics=tuple(
            _record(Metric, metric, f"{path}: metrics: {number + 1}")
            for number, metric in enumerate(_list(top.get("metrics")))
        ),
        cache={
            kind: _named(CacheCounts, owners, f"{path}: cache: {kind}")
            for kind, owners in _mapping(top.get("cache")).items()
        },
        cost=_costs_from(cost, f"{path}: cost") if cost else None,
    )


def metric_from(row: object, location: str) -> Metric:
    """Return the metric in a JSON object.

    Raises:
        BadData: a fact is missing or has the wrong type; the message starts with `location`.
    """
    return _record(Metric, row, location)


def environment_from(row: Mapping[str, object], location: str) -> Environment | None:
    """Return the environment in a JSON object; None if it is empty.

    Raises:
        BadData: a fact has the wrong type; the message starts with `location`.
    """
    if not row:
        return None
    commit, hardware = _mapping(row.get("commit")), _mapping(row.get("hardware"))
    return _record(
        Environment,
        row,
        location,
        commit=_record(Commit, commit, f"{location}: commit") if commit else None,
        hardware=_record(Hardware, hardware, f"{location}: hardware") if hardware else None,
    )


def _settings_from(row: Mapping[str, object], location: str) -> RunSettings:
    retry_policy = _mapping(row.get("retry_policy", row.get(_OLD_RETRY_POLICY)))
    return _record(
        RunSettings,
        row,
        location,
        retry_policy=_record(RetryPolicy, retry_policy, f"{location}: retry_policy"),
        overlap=row.get("overlap") is True,  # the first versions, which did not record it, had none
        executor=_record(ExecutorFacts, _mapping(row.get("executor")), f"{location}: executor"),
    )


def _costs_from(row: Mapping[str, object], location: str) -> RunCosts:
    _checked(RunCosts, row, location)
    table = _mapping(row.get("table"))

    def calls(key: str) -> dict[str, CallCosts]:
        return {
            name: _record(
                CallCosts,
                _mapping(entry),
                f"{location}: {key}: {name}",
                tokens=_record(Tokens, _mapping(_mapping(entry).get("tokens")), f"{location}: {key}: {name}"),
                money=_decimals(_mapping(entry).get("money")),
                lost_at_most=_decimals(_mapping(entry).get("lost_at_most")),
            )
            for name, entry in _mapping(row.get(key)).items()
        }

    return RunCosts(
        judges=calls("judges"),
        systems=calls("systems"),
        prices={
            model: _record(
                Price,
                _mapping(entry),
                f"{location}: prices: {model}",
                **{kind: _decimal(_mapping(entry).get(kind)) for kind in TOKEN_KINDS},
            )
            for model, entry in _mapping(row.get("prices")).items()
        },
        table=_record(TableFacts, table, f"{location}: table") if table else None,
    )


def _checked(kind: type, row: object, location: str) -> Mapping[str, object]:
    """Return a JSON object that follows the schema of a record.

    Raises:
        BadData: it does not; the message starts with `location`.
    """
    _SCHEMAS[kind].check(row, location)
    return _mapping(row)


def _record(kind: type[T], row: object, location: str, **converted: object) -> T:
    """Return the record in a JSON object.

    Args:
        converted: fields that are not plain JSON.
    """
    checked = _checked(kind, row, location)
    values: dict[str, object] = {key: None for key in ("low", "high") if kind is Metric}
    for key in _SCHEMAS[kind].rules:
        value = checked.get(key)
        if value is not None:
            values[key] = tuple(value) if isinstance(value, list) and key != "seed" else value
    return kind(**{**values, **converted})


def _named(kind: type[T], rows: object, location: str) -> dict[str, T]:
    return {name: _record(kind, row, f"{location}: {name}") for name, row in _mapping(rows).items()}


def _mapping(value: object) -> Mapping[str, object]:
    """Return a value that is a mapping; an empty one in place of any other, which a schema reports."""
    return value if isinstance(value, Mapping) else _NONE


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _decimal(value: object) -> Decimal | None:
    """Return an amount that is written as text; None if it is none."""
    if not isinstance(value, str):
        return None
    try:
        amount = Decimal(value)
    except ArithmeticError:
        return None
    return amount if amount.is_finite() else None


def _decimals(row: object) -> dict[str, Decimal]:
    found = {currency: _decimal(amount) for currency, amount in _mapping(row).items()}
    return {currency: amount for currency, amount in found.items() if amount is not None}


# -- the writer ------------------------------------------------------------------


def write_manifest(path: Path, manifest: RunManifest) -> None:
    """Replace the manifest in a file.

    Raises:
        UsageError: a system, annotator or scorer has settings, a version or a fingerprint of the wrong type.
    """
    row = to_json(manifest)
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1)
        _manifest(loads(text), str(path))
    except BadData as error:
        raise UsageError(f"cannot write the manifest: {error}") from error
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{path}: cannot write the manifest: {error}; settings of systems, annotators and scorers must "
            "be plain JSON"
        ) from error
    write_atomically(path, text + "\n")


def to_json(value: object) -> object:
    """Return a record of the manifest, and everything in it, as plain JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        left_out = _LEFT_OUT.get(type(value), frozenset())
        row = {item.name: to_json(getattr(value, item.name)) for item in fields(value)}
        return {name: inner for name, inner in row.items() if name not in left_out or inner not in (None, {})}
    if isinstance(value, Mapping):
        return {name: to_json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(inner) for inner in value]
    return f"{value:f}" if isinstance(value, Decimal) else value
