"""The manifest: every field survives a round trip, older forms are read, other versions are refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.cost.prices import Price, Tokens
from echat_eval.cost.totals import CallCosts, RunCosts, TableFacts
from echat_eval.errors import BadData, Exit, UsageError
from echat_eval.executors import ExecutorFacts
from echat_eval.records import Metric
from echat_eval.store.environment import Commit, Environment, Hardware, environment
from echat_eval.store.manifest import (
    AnnotatorFacts,
    CacheCounts,
    RunManifest,
    RunSettings,
    ScorerFacts,
    SystemFacts,
    TaskFacts,
)
from echat_eval.store.manifest_file import read_manifest, to_json, write_manifest
from echat_eval.store.run_folder import RunFolder

METRIC = Metric(
    name="kind",
    title="Kindness",
    unit="points",
    low=0.0,
    high=None,
    higher_is_better=True,
    worst=0.0,
    average="macro recall",
    headline=True,
    proxy=True,
    digits=2,
)
FULL = RunManifest(
    environment=Environment(
        echat_eval="1.0",
        commit=Commit(id="abc", dirty=True),
        python="3.11.7",
        platform="Linux",
        packages={"numpy": "2.0"},
        hardware=Hardware(cpu="x", cores=2, gpus=("H200", "H200"), device="cuda"),
    ),
    settings=RunSettings(
        retry_policy=RetryPolicy(tries=5, first_wait=0.1, longest_wait=9.0, failed_again=True),
        overlap=True,
        headline="m",
        executor=ExecutorFacts(name="ray", workers=3, version="2.9"),
    ),
    tasks={
        "emotion": TaskFacts(
            version=2,
            sha256="ff",
            cues=("emotion",),
            title={"en": "Emotion", "zh": "情感"},
            samples=8,
            languages=("en", "zh"),
            licence="CC0 1.0",
            citation="Doe 2026",
            redistributable=True,
            private=True,
            consent="written",
            voices="synthetic",
        )
    },
    systems={
        "mine": SystemFacts(
            role="ceiling",
            oracle=True,
            settings={"seed": 3, "stop": ["a", "b"], "nested": {"x": None}},
            fingerprint="f1",
            seed=3,
            calls_at_once=4,
        ),
        "unknown": SystemFacts(),
    },
    annotators={"whisper": AnnotatorFacts(version="1", settings={"model": "tiny"}, fingerprint="f2")},
    scorers={
        "judged": ScorerFacts(
            version="2",
            settings={"repeats": 3},
            fingerprint="f3",
            metrics=("kind",),
            needs=("whisper",),
            earlier=False,
        ),
        "new": ScorerFacts(version="1"),
    },
    metrics=(METRIC, replace(METRIC, name="plain", low=None, worst=None, average="mean", headline=False)),
    cache={"response": {"mine": CacheCounts(hits=3, stored=5)}},
    destinations={"judge.lan:8000": ("transcripts", "words of replies")},
    retirements={"gpt-4o-2024-11-20": "2027-01-14"},
    cost=RunCosts(
        judges={
            "m": CallCosts(
                model="m",
                place="http://127.0.0.1:9/v1",
                calls=7,
                tokens=Tokens(text_in=1, text_out=2, audio_in=3, audio_out=4),
                unpriced=1,
                money={"USD": Decimal("0.0000175")},
                lost=2,
                lost_at_most={"USD": Decimal("10")},
            )
        },
        systems={"s": CallCosts(model="several")},
        prices={
            "m": Price(currency="USD", date="2026-01-31", source="x", text_in=Decimal("2.5"), text_out=None)
        },
        table=TableFacts(name="prices.yaml", sha256="ee"),
    ),
)
#: The JSON form of the first version of this package, without a format; `patience` is now `retry_policy`.
OLD = {
    "layout": 1,
    "environment": {"echat_eval": "0.1", "commit": None, "hardware": {"cpu": "x", "cores": 2}},
    "settings": {"patience": {"tries": 4, "first_wait": 0.5, "longest_wait": 60.0}},
    "tasks": {"emotion": {"version": 1, "sha256": "ff", "title": {"en": "Emotion"}, "samples": 8}},
    "systems": {"mine": {"role": "system", "settings": {}, "fingerprint": None, "seed": None}},
    "annotators": {"whisper": {"version": "1", "settings": {}, "fingerprint": "f"}},
    "scorers": {"outcome": {"version": "1", "settings": {}, "fingerprint": "g"}},
    "metrics": [
        {
            "name": "failed",
            "title": "Failed",
            "unit": "%",
            "low": 0.0,
            "high": None,
            "higher_is_better": False,
        }
    ],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manifest.json"


def put(path: Path, row: object) -> Path:
    path.write_text(row if isinstance(row, str) else json.dumps(row), encoding="utf-8")
    return path


@pytest.mark.parametrize("manifest", [FULL, RunManifest(), RunManifest(environment=environment())])
def test_every_field_survives_a_round_trip(path: Path, manifest: RunManifest) -> None:
    write_manifest(path, manifest)
    assert read_manifest(path) == manifest
    before = path.read_bytes()
    write_manifest(path, read_manifest(path))
    assert path.read_bytes() == before


def test_the_full_manifest_sets_every_field() -> None:
    """Otherwise the round trip would prove nothing about a field added later."""
    for name, value in vars_of(FULL).items():
        assert value not in (None, {}, (), ""), name
    for record in (FULL.environment, FULL.settings, FULL.tasks["emotion"], FULL.systems["mine"], FULL.cost):
        for name, value in vars_of(record).items():
            assert value not in (None, {}, (), ""), (type(record).__name__, name)
    for name, value in vars_of(FULL.scorers["judged"]).items():
        assert value not in (None, {}, (), ""), name


def vars_of(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def test_the_names_of_the_json_form_stay(path: Path) -> None:
    write_manifest(path, FULL)
    row = json.loads(path.read_text(encoding="utf-8"))
    assert (row["format"], row["layout"]) == (1, 1)
    assert row["systems"]["mine"]["settings"] == {"seed": 3, "stop": ["a", "b"], "nested": {"x": None}}
    assert row["systems"]["unknown"] == {
        "role": "system",
        "oracle": False,
        "settings": {},
        "fingerprint": None,
        "seed": None,
        "calls_at_once": None,
    }
    assert row["metrics"][1]["low"] is None
    assert row["cost"]["judges"]["m"]["money"] == {"USD": "0.0000175"}
    assert row["cost"]["prices"]["m"] == {
        "currency": "USD",
        "date": "2026-01-31",
        "source": "x",
        "text_in": "2.5",
    }
    assert row["cache"] == {"response": {"mine": {"hits": 3, "stored": 5}}}
    assert row["settings"]["retry_policy"] == {
        "tries": 5,
        "first_wait": 0.1,
        "longest_wait": 9.0,
        "failed_again": True,
    }
    # What is not known is absent, as a later command distinguishes it from "none".
    assert "metrics" not in row["scorers"]["new"]
    assert set(to_json(RunManifest())) == {"format", "layout", "metrics"}  # type: ignore[call-overload]


def test_a_manifest_without_a_format_keeps_its_meaning(path: Path) -> None:
    manifest = read_manifest(put(path, OLD))
    assert manifest.format == 1
    assert manifest.settings == RunSettings(retry_policy=RetryPolicy(tries=4), overlap=False)
    assert manifest.environment is not None
    assert manifest.environment.hardware == Hardware(cpu="x", cores=2)
    assert manifest.systems["mine"] == SystemFacts()
    assert manifest.scorers["outcome"].metrics is None
    assert manifest.metrics[0].average == "mean"
    assert manifest.hashes() == {
        ("tasks", "emotion"): "ff",
        ("annotators", "whisper"): "f",
        ("scorers", "outcome"): "g",
    }


def test_a_fact_of_a_later_version_of_the_same_format_is_ignored(path: Path) -> None:
    assert read_manifest(put(path, {**OLD, "weather": "fine"})) == read_manifest(put(path, OLD))


def test_no_file_is_an_empty_manifest(path: Path) -> None:
    assert read_manifest(path) == RunManifest()
    with pytest.raises(BadData, match=r"not a run folder \(no manifest.json\)"):
        RunFolder.existing(path.parent)


def test_a_folder_of_runs_names_them(tmp_path: Path) -> None:
    (tmp_path / "nightly").mkdir()
    put(tmp_path / "nightly" / "manifest.json", OLD)
    with pytest.raises(BadData, match=f"it holds some: give {tmp_path}/nightly"):
        RunFolder.existing(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**OLD, "format": 2}, r"not a manifest of format 1: its format is 2; .*read it with that version"),
        ({**OLD, "format": "1"}, r"not a manifest of format 1: its format is '1'"),
        ({**OLD, "format": None}, r"not a manifest of format 1: its format is None"),
        ({**OLD, "layout": 2}, r"not a manifest of layout 1: its layout is 2"),
        ({k: v for k, v in OLD.items() if k != "layout"}, r"not a manifest of layout 1: its layout is None"),
        ("[]", r"not a manifest: found list, expected a JSON object"),
        ('{"layout": 1', r"cannot be read: "),
        ('{"layout": 1, "layout": 1}', r"cannot be read: the same key twice"),
        ("", r"cannot be read: "),
    ],
)
def test_another_version_or_broken_json_is_refused_by_name(path: Path, row: object, message: str) -> None:
    with pytest.raises(BadData, match=message) as caught:
        read_manifest(put(path, row))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code is Exit.MISUSE


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("tasks",), [], r"'tasks' is \[\], expected a mapping of names to mappings"),
        (("tasks", "emotion"), 3, r"'tasks' is .*, expected a mapping of names to mappings"),
        (
            ("tasks", "emotion", "samples"),
            "many",
            r"tasks: emotion: 'samples' is 'many', expected a whole number",
        ),
        (
            ("systems", "mine", "role"),
            "boss",
            r"systems: mine: 'role' is 'boss', expected system, floor or ceiling",
        ),
        (("systems", "mine", "calls_at_once"), 0, r"systems: mine: 'calls_at_once' is 0"),
        (("systems", "mine", "oracle"), 1, r"systems: mine: 'oracle' is 1, expected true or false"),
        (
            ("annotators", "whisper", "fingerprint"),
            7,
            r"annotators: whisper: 'fingerprint' is 7, expected text",
        ),
        (("scorers", "judged", "metrics"), "kind", r"scorers: judged: 'metrics' is 'kind', expected a list"),
        (("scorers", "judged", "earlier"), "no", r"scorers: judged: 'earlier' is 'no', expected true or"),
        (
            ("metrics", 0, "digits"),
            10**9,
            r"metrics: 1: 'digits' is 1000000000, expected a whole number from 0 to 12",
        ),
        (("metrics", 0, "low"), "0", r"metrics: 1: 'low' is '0', expected a finite number"),
        (("metrics", 0, "name"), None, r"metrics: 1: key 'name' is missing"),
        (("environment", "hardware", "gpus"), "H200", r"environment: hardware: 'gpus' is 'H200'"),
        (("environment", "commit", "id"), 5, r"environment: commit: 'id' is 5"),
        (("settings", "retry_policy", "tries"), "3", r"settings: retry_policy: 'tries' is '3'"),
        (("settings", "executor", "name"), 1, r"settings: executor: 'name' is 1"),
        (("cache", "response", "mine", "hits"), -1, r"cache: response: mine: 'hits' is -1"),
        (("cost", "judges", "m", "money"), {"USD": 0.5}, r"cost: judges: m: 'money' is .*, written as text"),
        (("cost", "judges", "m", "money"), {"USD": "NaN"}, r"cost: judges: m: 'money' is "),
        (("cost", "judges", "m", "tokens"), {"text_in": 1.5}, r"cost: judges: m: 'text_in' is 1.5"),
        (("cost", "prices", "m", "text_in"), "cheap", r"cost: prices: m: 'text_in' is 'cheap'"),
        (("cost", "table", "name"), None, r"cost: table: key 'name' is missing"),
    ],
)
def test_a_fact_of_the_wrong_type_is_refused_with_its_place(
    path: Path, keys: tuple[Any, ...], value: object, message: str
) -> None:
    write_manifest(path, FULL)
    row = json.loads(path.read_text(encoding="utf-8"))
    inner = row
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    with pytest.raises(BadData, match=message) as caught:
        read_manifest(put(path, row))
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (SystemFacts(settings={"when": object()}), r"must be plain JSON"),
        (SystemFacts(settings={"rate": float("nan")}), r"must be plain JSON"),
        (SystemFacts(fingerprint=3), r"systems: mine: 'fingerprint' is 3, expected text"),  # type: ignore[arg-type]
    ],
)
def test_facts_that_are_no_valid_json_form_are_not_written(
    path: Path, facts: SystemFacts, message: str
) -> None:
    write_manifest(path, FULL)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=message):
        write_manifest(path, replace(FULL, systems={"mine": facts}))
    assert path.read_bytes() == before


def test_metrics_and_tallies_are_merged() -> None:
    other = replace(METRIC, title="Kinder")
    assert [m.title for m in FULL.with_metrics([other]).metrics] == ["Kinder", "Kindness"]
    more = FULL.with_tally({"response": {"mine": CacheCounts(hits=1), "new": CacheCounts(stored=2)}})
    assert more.cache["response"] == {
        "mine": CacheCounts(hits=4, stored=5),
        "new": CacheCounts(stored=2),
    }
    assert FULL.cache["response"]["mine"].hits == 3
