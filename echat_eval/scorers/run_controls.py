"""Controls of a run folder (`--controls`): run, stored beside the scores, and read while still valid."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from echat_eval.errors import NotApplicable, SystemFailure, Unavailable, UsageError
from echat_eval.io.hashing import digest, facts_of
from echat_eval.io.jsonl import write_rows
from echat_eval.io.schema import STRING, Rule, Schema, number, one_of, read_schema_rows, whole
from echat_eval.scorers.controls import (
    Control,
    ControlQuestion,
    control_lines,
    run_controls,
    smallest_cluster,
    subsample,
)
from echat_eval.scorers.judged import Judged, question_of
from echat_eval.stats import Estimate
from echat_eval.stats.factors import units_of
from echat_eval.store.cases import cases_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from echat_eval.judge import Question
    from echat_eval.ports import Scorer
    from echat_eval.records import Sample, SystemRole
    from echat_eval.store.run_folder import RunFolder

__all__ = ["control_notes", "questions_of", "refuse_few_controls", "run_and_store_controls"]


def refuse_few_controls(limit: int, samples: Sequence[Sample], roles: Iterable[SystemRole]) -> None:
    """Raise UsageError if the replies to come form no cluster within a limit, before anything is sent.

    Args:
        limit: of the controls; 0: none are requested.
        samples: to reply to.
        roles: of the systems, one for each; ceilings give the replies where there are any.
    """
    judged, counts = [sample for sample in samples if sample.asks is None], Counter(roles)
    systems = counts["ceiling"] or counts.total()
    if limit and judged and systems:
        least = systems * smallest_cluster(list(units_of(judged).values()))
        if limit < least:
            raise UsageError(_too_few(limit, f"; give {least} or more"))


def _too_few(limit: int, advice: str) -> str:
    return f"--controls {limit} is smaller than every cluster of replies{advice}"


def run_and_store_controls(folder: RunFolder, scorers: Sequence[Scorer], limit: int) -> None:
    """Run each judge's controls on at most `limit` replies and store them in the folder; 0: do nothing.

    Raises:
        UsageError: no judge, or a limit smaller than one cluster.
    """
    if limit == 0:
        return
    judges = [scorer for scorer in scorers if isinstance(scorer, Judged)]
    if not judges:
        raise UsageError("--controls without --judge; name the model to test with --judge MODEL")
    possible = questions_of(folder)
    questions = subsample(possible, limit)
    if not questions:
        raise UsageError(
            _too_few(limit, f"; give {smallest_cluster([q.cluster for q in possible])} or more")
            if possible
            else _too_few(limit, ", or no reply was judged")
        )
    for judged in judges:
        controls = run_controls(judged.judge_client, questions, at_once=judged.calls_at_once)
        judged.close()
        basis = {"limit": limit, "replies": len(questions), "basis": _basis(folder, judged.name, questions)}
        write_rows(_path(folder, judged.name), ({**basis, **asdict(control)} for control in controls))


def control_notes(folder: RunFolder) -> list[str]:
    """Return the lines about the folder's controls; an empty list if none were run.

    If a judge or the replies have changed since, its only line states that the controls are out of date.
    """
    judges = [name for name in folder.manifest().scorers if name.partition(":")[0] == Judged.kind]
    return [line for name in judges or [Judged.kind] for line in _notes_of(folder, name)]


def _notes_of(folder: RunFolder, scorer: str) -> list[str]:
    """Return the lines about the controls of one judge's scorer; the name of a named judge leads."""
    path, judge = _path(folder, scorer), scorer.partition(":")[2]
    rows = list(read_schema_rows(path, _ROW)) if path.exists() else []
    if not rows:
        return []
    limit, replies, basis = (rows[0][1][name] for name in ("limit", "replies", "basis"))
    lead = f"Judge {judge}: " if judge else ""
    again = f"`echat-eval run {folder.path} --set runner.controls={limit}`"
    if basis != _basis(folder, scorer, subsample(questions_of(folder), limit)):
        return [
            f"{lead}Controls were run with another judge or on other replies and do not apply to these "
            f"scores; run them again with {again}."
        ]
    controls = [_control(row) for _, row in rows]
    lines = control_lines(controls, replies)
    if any(control.missing and control.verdict == "cannot tell" for control in controls):
        lines.append(f"To get the missing verdicts of controls: {again}")
    return [lead + line for line in lines]


def questions_of(folder: RunFolder) -> list[ControlQuestion]:
    """Return the questions for a run's controls: its ceilings' replies if it has any, else all replies.

    Only replies that fit their labels can show that a judge reads the labels. Ceilings have access to the
    labels; another system may ignore the cues.
    """
    roles = {name: facts.role for name, facts in folder.manifest().systems.items()}
    cases = [c for c in cases_of(folder) if c.sample.asks is None]
    ceilings = [c for c in cases if roles.get(c.response.system) == "ceiling"]
    samples = folder.samples()
    cluster = units_of(samples)
    questions = []
    for case in ceilings or cases:
        if case.response.state != "value":
            continue
        try:
            question = question_of(case)
        except (SystemFailure, NotApplicable, Unavailable):
            continue
        key = case.sample.task, case.sample.id
        questions.append(ControlQuestion(question=question, cluster=cluster[key]))
    return questions


_UNKNOWN = ("low", "high", "se", "df", "se_low", "se_high")
_ESTIMATE = Schema(
    {
        "value": number(),
        **dict.fromkeys(_UNKNOWN, number().optional()),
        **dict.fromkeys(("n", "clusters"), whole(0)),
        "level": number(0, 1),
    }
)
_ROW = Schema(
    {
        "limit": whole(1),
        "replies": whole(0),
        "basis": STRING,
        "name": STRING,
        "score": one_of(("text", "voice")),
        "drop": Rule(_ESTIMATE.holds, "an estimate", required=False),
        "missing": whole(0),
        "verdict": one_of(("falls", "does not fall", "cannot tell")),
    }
)


def _path(folder: RunFolder, scorer: str) -> Path:
    """Return the file of one judge's controls, beside those of other judges."""
    judge = scorer.partition(":")[2]
    return folder.path / (f"controls-{judge}.jsonl" if judge else "controls.jsonl")


def _basis(folder: RunFolder, scorer: str, questions: Sequence[ControlQuestion]) -> str:
    """Return the hash of the judge in the manifest and of the questions."""
    judge = folder.manifest().scorers.get(scorer)
    facts = [None] * 3 if judge is None else [judge.version, judge.settings, judge.fingerprint]
    return digest("controls", [facts, [_question_facts(q.question) for q in questions]])


def _question_facts(question: Question) -> dict[str, Any]:
    """Return the facts of a question under the names that stored hashes use."""
    facts: dict[str, Any] = facts_of(question)
    facts["heard"] = facts.pop("voice_emotion")
    return facts


def _control(row: dict[str, Any]) -> Control:
    drop = row.get("drop") and Estimate(**{**dict.fromkeys(_UNKNOWN), **row["drop"]})
    facts = {name: row[name] for name in ("name", "score", "missing", "verdict")}
    return Control(**facts, drop=drop)
