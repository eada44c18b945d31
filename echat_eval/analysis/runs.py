"""Runs as tables: `runs/a`, `runs/a:system` or a table file, with the hashes and settings behind them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from echat_eval.analysis.frames import check_table, one_system, read_table
from echat_eval.errors import BadData
from echat_eval.io import jsonl

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Run", "differences", "latency_not_comparable", "load_run"]

#: Parts that a run's manifest hashes, and the key of the hash.
HASHED = (("tasks", "sha256"), ("scorers", "fingerprint"), ("annotators", "fingerprint"))
SNAPSHOT = ("task", "id", "transcript", "language", "source", "speaker", "contrast_group")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One system's scores and their origin.

    Attributes:
        name: the spec it was loaded from.
        system: the one system in `frame`.
        frame: a checked long table.
        metrics: name -> direction, range, average, worst, unit, from the manifest; empty for a table file.
        hashes: (kind, name) -> hash of a task, scorer (with judge and rubric) or annotator.
        manifest: the run's manifest; empty for a table file.
        accepted_at: ISO time, if `gate accept` wrote this run.
        changed: whether the table differs from the accepted one.
    """

    name: str
    system: str
    frame: pd.DataFrame
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hashes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    accepted_at: str | None = None
    changed: bool = False

    @property
    def headline(self) -> str | None:
        """Return the headline metric; None if the manifest names none."""
        return next((name for name, facts in self.metrics.items() if facts.get("headline")), None)


def load_run(spec: str) -> Run:
    """Return one system of a run folder or of a table.

    Args:
        spec: a path, or path:system if it holds several systems.

    Raises:
        BadData: the path does not exist or cannot be read.
        UsageError: several systems and none named; UnknownName: no system has that name.
    """
    path, system = Path(spec), None
    if not path.exists() and ":" in spec:
        head, _, system = spec.rpartition(":")
        path = Path(head)
    if not path.exists():
        raise BadData(f"{path}: no such run folder or table")
    if path.is_file():
        frame = one_system(read_table(path), system, location=str(path))
        return Run(name=spec, system=frame["system"].iloc[0], frame=frame)
    return (_accepted if (path / "accepted.json").is_file() else _from_folder)(spec, path, system)


def differences(first: Run, second: Run) -> list[str]:
    """Return one sentence for every task, scorer and annotator whose version differs between two runs."""
    sentences = []
    for kind, name in sorted(set(first.hashes) & set(second.hashes)):
        a, b = first.hashes[kind, name], second.hashes[kind, name]
        if a != b:
            sentences.append(
                f"{kind.removesuffix('s')} '{name}' differs "
                f"({a[:8]} in {first.name}, {b[:8]} in {second.name})"
            )
    return sentences


def _from_folder(spec: str, path: Path, system: str | None) -> Run:
    from echat_eval.store.ledger import require_finished
    from echat_eval.store.run_folder import RunFolder

    folder = RunFolder.existing(path)
    manifest = folder.manifest()
    scores = [
        {
            "task": s.task,
            "sample_id": s.sample_id,
            "system": s.system,
            "metric": s.metric,
            "state": s.state,
            "value": s.value,
            "weight": s.weight,
        }
        for s in folder.scores().values()
    ]
    if not scores:
        raise BadData(f"{path}: no scores yet; make them with `echat-eval score {path}`")
    table = pd.DataFrame([*scores, *_timings(folder)])
    frame = one_system(
        check_table(_with_samples(table, path), location=str(path)), system, location=str(path)
    )
    require_finished(folder, only=frame["system"].iloc[0])
    hashes = {
        (kind, name): str(facts[key])
        for kind, key in HASHED
        for name, facts in manifest.get(kind, {}).items()
        if facts.get(key)
    }
    return Run(
        name=spec,
        system=frame["system"].iloc[0],
        frame=frame,
        metrics={m["name"]: _policy_facts(m) for m in manifest.get("metrics", [])},
        hashes=hashes,
        manifest=manifest,
    )


def _accepted(spec: str, path: Path, system: str | None) -> Run:
    """Return the run that `gate accept` wrote."""
    try:
        facts = jsonl.loads((path / "accepted.json").read_bytes())
        digest = hashlib.sha256((path / "table.jsonl").read_bytes()).hexdigest()
        return Run(
            name=spec,
            system=facts["system"],
            frame=one_system(read_table(path / "table.jsonl"), system, location=str(path)),
            metrics={m["name"]: m for m in facts["metrics"]},
            hashes={(kind, name): value for kind, name, value in facts["hashes"]},
            manifest={"environment": facts["environment"]},
            accepted_at=datetime.fromisoformat(facts["accepted_at"]).astimezone(UTC).isoformat(),
            changed=digest != facts["sha256"],
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadData(
            f"{path}: not written by `echat-eval gate accept`: {error}; accept a run again"
        ) from error


def _policy_facts(metric: Mapping[str, Any]) -> dict[str, Any]:
    """Return a metric with the average's name in policies: "macro recall" is "macro" there."""
    return {**metric, "average": "macro"} if metric.get("average") == "macro recall" else dict(metric)


def _timings(folder: Any) -> list[dict[str, Any]]:
    """Return first-audio seconds, seconds and real-time factor of every timed response as rows.

    Metrics that a scorer has written are not added again.
    """
    rows = []
    scored = {metric for *_, metric in folder.scores()}
    for response in folder.responses().values():
        reply = response.reply
        if reply is None or response.seconds is None:
            continue
        audio = getattr(reply.audio, "seconds", None)
        measured = {
            "first_audio_seconds": reply.first_audio_seconds,
            "seconds": response.seconds,
            "rtf": response.seconds / audio if audio else None,
        }
        rows += [
            {
                "task": response.task,
                "sample_id": response.sample_id,
                "system": response.system,
                "metric": metric,
                "state": "value",
                "value": value,
                "weight": 1.0,
            }
            for metric, value in measured.items()
            if value is not None and metric not in scored
        ]
    return rows


def _with_samples(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Add the columns of the run's sample snapshot.

    The label is the gold value of the cue that the sample asks about, or of its only cue.
    """
    rows = []
    for _, row in jsonl.read_rows(path / "samples.jsonl"):
        cues = row.get("cues") or {}
        label = cues.get(row.get("asks")) or (next(iter(cues.values())) if len(cues) == 1 else None)
        rows.append({**{name: row.get(name) for name in SNAPSHOT}, "label": label})
    known = pd.DataFrame(rows, columns=[*SNAPSHOT, "label"]).rename(columns={"id": "sample_id"})
    return table.merge(known.astype({"task": str, "sample_id": str}), on=["task", "sample_id"], how="left")


def latency_not_comparable(candidate: Run, against: Run) -> str:
    """Return why the candidate's latency cannot be compared with another run's; empty if it can."""
    calls_at_once = candidate.manifest.get("systems", {}).get(candidate.system, {}).get("calls_at_once")
    if calls_at_once != 1:
        finding = (
            "does not record how many calls it made at once"
            if calls_at_once is None
            else f"made {calls_at_once} calls at once"
        )
        return f"{candidate.name} {finding}; measure latency with --calls-at-once 1"
    if candidate.manifest.get("settings", {}).get("overlap"):
        return (
            f"{candidate.name} was annotated and scored while it was responding; "
            "measure latency with --no-overlap"
        )
    cached = candidate.manifest.get("cache", {}).get("response", {}).get(candidate.system, {}).get("hits", 0)
    if cached:
        return (
            f"{cached} replies of {candidate.name} came from the cache and were not timed; "
            "measure latency in a new folder with --no-cache"
        )
    ours, theirs = (run.manifest.get("environment", {}).get("hardware") for run in (candidate, against))
    return "" if ours and ours == theirs else "the two runs were not measured on the same hardware"
