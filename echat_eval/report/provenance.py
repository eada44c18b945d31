"""Provenance of every cell: sample ids, keys and hashes, from the number in a table to the audio.

The hash of a row covers its content (value, state, evidence), while its key covers only the inputs. A changed
verdict therefore changes the hash of one row and of every cell that uses it, and no other.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from echat_eval import __version__
from echat_eval.io.data_folder import data_folder
from echat_eval.io.hashing import digest, file_sha256
from echat_eval.leaderboard.build import OVERALL
from echat_eval.records import AudioRef
from echat_eval.report.instruments import judges_of, models_of
from echat_eval.store.environment import Environment
from echat_eval.store.in_all import left_out_of_all
from echat_eval.store.manifest_file import to_json
from echat_eval.store.serialize import content_of_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from echat_eval.report.cells import Table
    from echat_eval.report.runs import MergedRuns
    from echat_eval.store.manifest import RunManifest

__all__ = ["RESPONSE_COLUMNS", "SCORE_COLUMNS", "provenance", "provenance_text"]

RESPONSE_COLUMNS = (
    "system",
    "task",
    "sample_id",
    "state",
    "key",
    "query_audio_sha256",
    "reply_audio_sha256",
    "annotation_keys",
    "sha256",
)
SCORE_COLUMNS = ("response", "metric", "state", "value", "weight", "key", "sha256")


class _Rows:
    """All responses and scores of the runs as numbered rows; cells refer to the numbers."""

    def __init__(self, runs: MergedRuns) -> None:
        self.responses: list[list[Any]] = []
        self.scores: list[list[Any]] = []
        self._response_at: dict[tuple[str, str], list[int]] = {}
        self._score_at: dict[tuple[str, str, str], list[int]] = {}
        #: (metric, system) -> the rows of a mean over all tasks.
        self._in_all: dict[tuple[str, str], list[int]] = {}
        for system in runs.roles:
            for key in runs.samples:
                if (system, *key) in runs.responses:
                    self._add_response(runs, (system, *key))
        self._add_scores(runs)

    def _add_response(self, runs: MergedRuns, key: tuple[str, str, str]) -> None:
        response, sample = runs.responses[key], runs.samples[key[1:]]
        reply = response.reply
        audio = reply.audio.sha256 if reply is not None and isinstance(reply.audio, AudioRef) else None
        annotation_keys = {row.annotator: row.key for row in runs.annotations.get(key, ())}
        self._response_at.setdefault(key[:2], []).append(len(self.responses))
        self.responses.append(
            [
                *key,
                response.state,
                response.key,
                sample.audio.sha256,
                audio,
                annotation_keys,
                digest("response row", response),
            ]
        )

    def _add_scores(self, runs: MergedRuns) -> None:
        """Number the scores by metric, so that the rows of a cell form few ranges."""
        metrics = sorted({name for by_metric in runs.scores.values() for name in by_metric})
        apart = left_out_of_all(runs.board.metrics if runs.board else (), runs.samples.values())
        for metric in metrics:
            for number, (system, task, sample_id, *_) in enumerate(self.responses):
                score = runs.scores.get((system, task, sample_id), {}).get(metric)
                if score is None:
                    continue
                self._score_at.setdefault((metric, system, task), []).append(len(self.scores))
                if not apart(score):
                    self._in_all.setdefault((metric, system), []).append(len(self.scores))
                self.scores.append(
                    [
                        number,
                        metric,
                        score.state,
                        score.value,
                        score.weight,
                        score.key,
                        digest("score row", content_of_score(score)),
                    ]
                )

    def numbers_of(self, sources: Mapping[str, Any]) -> tuple[str, list[int]]:
        """Return the kind and the numbers of the rows behind a cell."""
        if "several scores" in sources:
            parts = [self.numbers_of({"scores": facts})[1] for facts in sources["several scores"]]
            return "scores", sorted({number for part in parts for number in part})
        if "scores" in sources:
            facts = sources["scores"]
            numbers = [
                n
                for (metric, system, task), found in self._score_at.items()
                if metric == facts["metric"]
                and system in facts["systems"]
                and (
                    facts["task"] == task
                    or (facts["task"] == OVERALL and (metric, system) not in self._in_all)
                )
                for n in found
            ]
            if facts["task"] == OVERALL:
                numbers += [n for s in facts["systems"] for n in self._in_all.get((facts["metric"], s), ())]
            return "scores", sorted(numbers)
        facts = sources["replies"]
        replies = [
            n
            for (system, task), found in self._response_at.items()
            if system == facts["system"] and facts["task"] in (task, OVERALL)
            for n in found
        ]
        return "responses", sorted(replies)

    def hashes(self, kind: str, numbers: Iterable[int]) -> list[str]:
        """Return the hashes of some rows."""
        rows = self.scores if kind == "scores" else self.responses
        return [rows[n][-1] for n in numbers]


def _ranges(numbers: Sequence[int]) -> list[list[int]]:
    """Return sorted numbers as half-open ranges [first, end).

    >>> _ranges([0, 1, 2, 5])
    [[0, 3], [5, 6]]
    """
    ranges: list[list[int]] = []
    for n in numbers:
        if ranges and ranges[-1][1] == n:
            ranges[-1][1] = n + 1
        else:
            ranges.append([n, n + 1])
    return ranges


def provenance(runs: MergedRuns | None, tables: Sequence[Table]) -> dict[str, Any]:
    """Return the sources of every cell of some tables.

    Args:
        runs: merged runs; None for published tables only.
        tables: tables in the order of the report.
    """
    rows = _Rows(runs) if runs is not None else None
    cells = []
    files: dict[str, str] = {}
    for table in tables:
        for block, row_number, row in ((b, n, row) for b in table.blocks for n, row in enumerate(b.rows)):
            for column_number, (column, cell) in enumerate(zip(table.columns, row.cells, strict=True)):
                facts: dict[str, Any] = {
                    "table": table.name,
                    "block": table.blocks.index(block),
                    "row": row.label,
                    "row_number": row_number,
                    "column": column,
                    "column_number": column_number,
                    "text": cell.text,
                    "value": cell.value,
                }
                facts |= _traced(cell.sources, rows, files)
                if cell.mark:
                    facts["mark"] = {"kind": cell.mark, **_traced(cell.mark_sources, rows, files)}
                cells.append(facts)
    return {
        "made_by": f"echat-eval {__version__}",
        "runs": [_run_facts(manifest) for manifest in runs.manifests] if runs is not None else [],
        "validated_against_people": _people(runs),
        "published_files": files,
        "response_columns": list(RESPONSE_COLUMNS),
        "responses": rows.responses if rows is not None else [],
        "score_columns": list(SCORE_COLUMNS),
        "scores": rows.scores if rows is not None else [],
        "cells": cells,
    }


def _people(runs: MergedRuns | None) -> dict[str, Any]:
    """Return metric of a judge -> its agreement with people; null until ratings are imported."""
    if runs is None or runs.board is None:
        return {}
    return {name: None if found is None else asdict(found) for name, found in runs.board.people.items()}


def _traced(sources: Mapping[str, Any], rows: _Rows | None, files: dict[str, str]) -> dict[str, Any]:
    if not sources or ("ratings" in sources and "several scores" not in sources):
        return {"rests_on": dict(sources), "sha256": digest("cell", dict(sources))}
    if "published" in sources:
        name = f"baselines/published/{sources['published']['table']}.yaml"
        if name not in files:
            files[name] = file_sha256(data_folder("baselines") / name.removeprefix("baselines/"))
        return {
            "published": dict(sources["published"]),
            "sha256": digest("cell", [files[name], dict(sources)]),
        }
    assert rows is not None
    kind, numbers = rows.numbers_of(sources)
    return {kind: _ranges(numbers), "sha256": digest("cell", [dict(sources), rows.hashes(kind, numbers)])}


def _run_facts(manifest: RunManifest) -> dict[str, Any]:
    """Return the hashes of the tasks, systems, annotators and scorers of a run."""
    environment = manifest.environment or Environment()
    return {
        "tasks": {name: task.sha256 for name, task in manifest.tasks.items()},
        "systems": {name: system.fingerprint for name, system in manifest.systems.items()},
        "models": {name: list(models_of(system.settings)) for name, system in manifest.systems.items()},
        "judges": [asdict(judge) for judge in judges_of([manifest])],
        "annotators": {name: facts.fingerprint for name, facts in manifest.annotators.items()},
        "scorers": {name: scorer.fingerprint for name, scorer in manifest.scorers.items()},
        "echat_eval": environment.echat_eval,
        "commit": to_json(environment.commit),
    }


def provenance_text(facts: Mapping[str, Any]) -> str:
    """Return provenance as compact JSON with one row per line."""

    def dumped(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)

    parts = []
    for name, value in facts.items():
        if name in ("responses", "scores", "cells") and value:
            lines = ",\n".join(map(dumped, value))
            parts.append(f"{dumped(name)}: [\n{lines}\n]")
        else:
            parts.append(f"{dumped(name)}: {dumped(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
