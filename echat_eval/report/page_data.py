"""Data of the page as plain JSON: the leaderboard, an index of all samples, and details in shards.

Numbers in the index are rounded to four decimals, unless that changes the last digit shown; the details have
full precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from echat_eval.io.display import number_text, one_line
from echat_eval.io.phrase import phrase_json
from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.gap_text import gap_cells, gap_notes
from echat_eval.leaderboard.published import words_judge
from echat_eval.leaderboard.render import NO_QUALITY, headline_notes, people_lines
from echat_eval.leaderboard.reply_times import clock_of
from echat_eval.leaderboard.share_text import share_lines
from echat_eval.leaderboard.times_text import times_tables
from echat_eval.records import AudioRef, Metric
from echat_eval.report.licences import licence_elsewhere
from echat_eval.stats import CAP_FACTOR
from echat_eval.store.serialize import json_of_evidence

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from echat_eval.leaderboard.build import Leaderboard, Summary
    from echat_eval.leaderboard.published import Published
    from echat_eval.records import Annotation, Reply, Response, Sample, Score
    from echat_eval.report.runs import MergedRuns

__all__ = ["PEOPLE", "SHARD", "board_data", "detail_data", "index_data"]

#: People's ratings beside the metrics of a run; none of them can have this name, because it has a space.
PEOPLE = Metric(
    name="people ratings", title="People", unit="0 to 100", low=0, high=100, higher_is_better=True, digits=1
)
#: Samples per file of details.
SHARD = 50
#: Maximum characters of a transcript in the list.
PREVIEW = 140

#: Ledger state -> letter in the index; ".": no response or score yet.
LETTERS = {"value": "v", "failed": "f", "missing": "m", "not applicable": "n"}


#: Stores an audio file in the page, or withholds it; returns its name, seconds and outline.
Sound = Callable[["AudioRef | None"], "dict[str, Any] | None"]


def board_data(runs: MergedRuns, published: Sequence[Published], audible: Container[str]) -> dict[str, Any]:
    """Return the leaderboard, the values of the filters, and the licences.

    Args:
        audible: tasks whose recordings the page has.
    """
    board = runs.board
    found = list(runs.samples.values())
    clocks = {
        name: clock_of(facts.settings)
        for manifest in runs.manifests
        for name, facts in manifest.systems.items()
    }
    labels: dict[str, set[str]] = {}
    for sample in found:
        for cue, label in sample.cues.items():
            labels.setdefault(cue, set()).add(label)
    return {
        "overall": OVERALL,
        "total": len(found),
        "shard": SHARD,
        "tasks": [
            {
                "name": name,
                "title": dict(facts.title),
                "samples": sum(s.task == name for s in found),
                "licence": licence_elsewhere(facts.licence),
                "citation": facts.citation,
                "voices": facts.voices,
                "audible": name in audible,
            }
            for name, facts in runs.tasks.items()
        ],
        "systems": [
            {"name": name, "role": role, "clock": clocks.get(name, "request")}
            for name, role in runs.roles.items()
        ],
        "metrics": []
        if board is None
        else [
            {
                "name": m.name,
                "title": m.title,
                "unit": m.unit,
                "low": m.low,
                "high": m.high,
                "digits": m.digits,
                "higher": m.higher_is_better,
                "headline": m.name == board.headline.name,
                "proxy": m.proxy,
                "tasks_only": m.name in board.tasks_only,
            }
            for m in sorted(board.metrics, key=lambda m: m.name != board.headline.name)
        ],
        "ranks": {}
        if board is None
        else {name: [found.low, found.high] for name, found in board.ranking.sets.items()},
        "notes": [] if board is None else _notes(board, runs.voice_notes),
        "people_metric": PEOPLE.name,
        "judge": None if board is None or (judge := words_judge(board.metrics)) is None else judge.name,
        "people": {} if board is None else {m.name: _said(people_lines(board, m)) for m in board.metrics},
        "shares": {} if board is None else {m.name: _said(share_lines(board, m)) for m in board.metrics},
        "gaps": []
        if board is None
        else [_said(gap_cells(gap, board.roles[gap.system])) for gap in board.gaps],
        "gap_notes": [] if board is None else _said(gap_notes(board.gaps)),
        "times": [] if board is None else _times(board),
        "earlier": {} if board is None else dict(board.earlier),
        "equivalent": None if board is None else _equivalent(board),
        "caps": None if board is None else {"factor": CAP_FACTOR, "most": dict(board.caps)},
        "cells": {} if board is None else _cells(board.summaries),
        "labels": [
            {
                "cue": cue,
                "labels": [
                    *(x for x in runs.cues[cue].labels if x in used),
                    *sorted(used - set(runs.cues[cue].labels)),
                ],
            }
            for cue, used in sorted(labels.items())
        ],
        "cues": {
            name: {"names": dict(cue.names), "words": {key: dict(words) for key, words in cue.words.items()}}
            for name, cue in runs.cues.items()
        },
        "languages": sorted({s.language for s in found}),
        "sources": sorted({s.source for s in found}),
        "published": [
            {
                "title": t.title,
                "source": t.source,
                "unit": t.unit,
                "columns": list(t.columns),
                "rows": [{"system": r["system"], "values": list(r["values"])} for r in t.rows],
            }
            for t in published
        ],
    }


def _notes(board: Leaderboard, voice_notes: Sequence[str]) -> list[Any]:
    """Return the notes on the headline; people on the page measure the quality of replies."""
    rated = any(metric.name == PEOPLE.name for metric in board.metrics)
    notes = [note for note in headline_notes(board) if not (rated and note == NO_QUALITY)]
    return _said([*notes, *voice_notes])


def _said(lines: Iterable[str]) -> list[Any]:
    """Return lines as the page reads them, in either language."""
    return [phrase_json(line) for line in lines]


def _times(board: Leaderboard) -> list[dict[str, Any]]:
    """Return the times of replies as texts, one table per clock."""
    return [
        {"clock": clock, "rows": [_said(row) for row in table.rows], "notes": _said(table.notes)}
        for clock, table in times_tables(board).items()
    ]


def _equivalent(board: Leaderboard) -> dict[str, Any] | None:
    """Return the pairs of systems shown to differ by less than a margin; None if no margin was given."""
    found = board.ranking.equivalence
    if found is None:
        return None
    return {"margin": found.margin, "pairs": [list(pair) for pair in found.pairs]}


def _cells(summaries: Mapping[tuple[str, str, str], Summary]) -> dict[str, Any]:
    """Return metric -> system -> task -> value, interval, bounds and counts."""
    cells: dict[str, Any] = {}
    for (system, task, metric), summary in summaries.items():
        e, b = summary.estimate, summary.bounds
        cells.setdefault(metric, {}).setdefault(system, {})[task] = {
            "value": None if e is None else e.value,
            "low": None if e is None else e.low,
            "high": None if e is None else e.high,
            "no_interval": "" if e is None else e.no_interval,
            "n": 0 if e is None else e.n,
            "clusters": 0 if e is None else e.clusters,
            "worst": None if b is None else b.low,
            "best": None if b is None else b.high,
            "counts": dict(summary.counts),
        }
    return cells


def index_data(runs: MergedRuns) -> dict[str, Any]:
    """Return one short row per sample, and columns of values and states by metric and system."""
    tasks = {name: number for number, name in enumerate(runs.tasks)}
    groups: dict[tuple[str, str], int] = {}
    rows = []
    for sample in runs.samples.values():
        group = None
        if sample.contrast_group is not None:
            group = groups.setdefault((sample.task, sample.contrast_group), len(groups))
        rows.append(
            [
                tasks[sample.task],
                sample.id,
                one_line(sample.transcript, PREVIEW),
                dict(sample.cues),
                sample.language,
                sample.source,
                group,
            ]
        )
    values: dict[str, dict[str, list[float | None]]] = {}
    states: dict[str, dict[str, str]] = {}
    for metric in runs.board.metrics if runs.board is not None else ():
        for system in runs.roles:
            found = [runs.scores.get((system, *key), {}).get(metric.name) for key in runs.samples]
            values.setdefault(metric.name, {})[system] = [
                None if s is None or s.value is None else _short(s.value, metric.digits) for s in found
            ]
            states.setdefault(metric.name, {})[system] = _letters(found)
    replies = {
        system: _letters([runs.responses.get((system, *key)) for key in runs.samples])
        for system in runs.roles
    }
    return {"rows": rows, "values": values, "states": states, "replies": replies}


def _short(value: float, digits: int) -> float:
    """Return a number with four decimals if it is shown with the same digits, else the number itself."""
    short = round(value, 4)
    return short if number_text(short, digits) == number_text(value, digits) else value


def _letters(rows: Sequence[Score | Response | None]) -> str:
    return "".join("." if row is None else LETTERS[row.state] for row in rows)


def detail_data(runs: MergedRuns, sample: Sample, sound: Sound) -> dict[str, Any]:
    """Return all details of one sample.

    Args:
        runs: the merged runs.
        sample: the sample.
        sound: stores or withholds audio.
    """
    return {
        "transcript": sample.transcript,
        "speaker": sample.speaker,
        "group": sample.contrast_group,
        "audio": sound(sample.audio),
        "references": list(sample.references),
        "history": [
            {"role": t.role, "text": t.text, "audio": sound(t.audio)}
            for t in sample.history or sample.turns or ()
        ],
        "replies": {
            system: _reply_data(runs, (system, sample.task, sample.id), sound)
            for system in runs.roles
            if (system, sample.task, sample.id) in runs.responses
        },
    }


def _reply_data(
    runs: MergedRuns,
    key: tuple[str, str, str],
    sound: Sound,
) -> dict[str, Any]:
    response = runs.responses[key]
    reply = response.reply
    audio = reply.audio if reply is not None and isinstance(reply.audio, AudioRef) else None
    data: dict[str, Any] = {
        "state": response.state,
        "reason": response.reason,
        "seconds": response.seconds,
        "tries": response.tries,
        "key": response.key,
        "audio": sound(audio),
        "annotations": [_annotation_data(a) for a in runs.annotations.get(key, ())],
        "scores": [_score_data(s) for s in runs.scores.get(key, {}).values()],
    }
    if response.turns is not None:
        data["turns"] = [
            {
                "role": "assistant",
                "text": turn.text,
                "audio": sound(turn.audio if isinstance(turn.audio, AudioRef) else None),
                **_timing(turn),
            }
            for turn in response.turns
        ]
    if reply is not None:
        data |= {
            "text": reply.text,
            "think": reply.think,
            "perceived": dict(reply.perceived),
            **_timing(reply),
            "finish_reason": reply.finish_reason,
        }
    return data


def _timing(reply: Reply) -> dict[str, Any]:
    """Return when a reply became audible, and how many were broken off before it."""
    return {
        "first_audio_seconds": reply.first_audio_seconds,
        "first_audible_seconds": reply.first_audible_seconds,
        "interruptions": reply.interruptions,
    }


def _annotation_data(row: Annotation) -> dict[str, Any]:
    return {
        "annotator": row.annotator,
        "state": row.state,
        "reason": row.reason,
        "values": _plain(row.values),
        "key": row.key,
    }


def _score_data(row: Score) -> dict[str, Any]:
    return {
        "metric": row.metric,
        "state": row.state,
        "value": row.value,
        "weight": row.weight,
        "reason": row.reason,
        "evidence": _plain(json_of_evidence(row.evidence)),
        "key": row.key,
    }


def _plain(value: Any) -> Any:
    """Return a value that JSON can represent; other numbers become strings."""
    if isinstance(value, Mapping):
        return {str(name): _plain(value[name]) for name in value}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
