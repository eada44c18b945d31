"""The only reader and the only writer of a run's `manifest.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.cost.prices import TOKEN_KINDS, Price, Tokens
from echat_eval.cost.totals import CallCosts, RunCosts, TableFacts
from echat_eval.errors import BadData, UsageError
from echat_eval.executors import ExecutorFacts
from echat_eval.io.files import write_atomically
from echat_eval.io.jsonl import loads
from echat_eval.io.schema import (
    ANYTHING,
    STRING,
    Rule,
    Schema,
    list_of,
    mapping_of,
    number,
    one_of,
    shorten,
    whole,
)
from echat_eval.records import AVERAGES, ROLES, Metric
from echat_eval.store.environment import Commit, Environment, Hardware
from echat_eval.store.manifest import (
    FORMAT,
    LAYOUT,
    AnnotatorFacts,
    CacheCounts,
    RunManifest,
    RunSettings,
    ScorerFacts,
    SystemFacts,
    TaskFacts,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["environment_from", "manifest_text", "metric_from", "read_manifest", "to_json", "write_manifest"]

#: Name of the retry policy in older manifests of this format.
_OLD_RETRY_POLICY = "patience"
_NONE: Mapping[str, object] = {}

T = TypeVar("T")


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
            "destinations": mapping_of(_TEXTS, "a mapping of hosts to lists of text"),
            "retirements": _TEXT_MAP,
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
            **dict.fromkeys(("licence", "citation", "consent", "voices"), STRING),
            "redistributable": _FLAG,
            "private": _FLAG,
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
            "by_voice": _FLAG,
            "pooled": _FLAG,
            "digits": whole(0, 12),
        },
    ),
    RunSettings: _schema(
        {}, {"retry_policy": _OBJECT, "overlap": _FLAG, "executor": _OBJECT, "headline": STRING}
    ),
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
        {
            "environment",
            "settings",
            "tasks",
            "systems",
            "annotators",
            "scorers",
            "cache",
            "cost",
            "destinations",
            "retirements",
        }
    ),
    TaskFacts: frozenset({"licence", "citation", "consent", "voices", "redistributable", "private"}),
    ScorerFacts: frozenset({"metrics"}),
    RunSettings: frozenset({"headline"}),
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
        destinations={
            host: _texts(found, f"{path}: destinations: {host}")
            for host, found in _mapping(top.get("destinations")).items()
        },
        retirements={model: str(day) for model, day in _mapping(top.get("retirements")).items()},
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


def _texts(value: object, location: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise BadData(f"{location}: is {shorten(value)}, expected a list of text")
    return tuple(value)


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
    """Replace the manifest in a file; raises as `manifest_text`."""
    write_atomically(path, manifest_text(manifest, str(path)))


def manifest_text(manifest: RunManifest, path: str) -> str:
    """Return a manifest as the text of its file.

    Args:
        path: how messages name the file.

    Raises:
        UsageError: a system, annotator or scorer has settings, a version or a fingerprint of the wrong type.
    """
    row = to_json(manifest)
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1)
        _manifest(loads(text), path)
    except BadData as error:
        raise UsageError(f"cannot write the manifest: {error}") from error
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{path}: cannot write the manifest: {error}; settings of systems, annotators and scorers must "
            "be plain JSON"
        ) from error
    return text + "\n"


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
