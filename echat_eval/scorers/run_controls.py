"""`--controls` of a run folder: asked, kept beside the scores, and read again for as long as they hold."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from echat_eval.errors import NotApplicable, SystemFailure, Unavailable, UsageError
from echat_eval.io.hashing import digest
from echat_eval.io.jsonl import read_rows, write_rows
from echat_eval.scorers.controls import Asked, Control, control_lines, run_controls, subsample
from echat_eval.scorers.judged import Judged, question_of
from echat_eval.stats import Estimate
from echat_eval.stats.clusters import clusters_of
from echat_eval.store.cases import cases_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from echat_eval.ports import Scorer
    from echat_eval.store.run_folder import RunFolder

__all__ = ["control_notes", "controlled", "questions_of"]


def controlled(folder: RunFolder, scorers: Sequence[Scorer], limit: int) -> None:
    """Run controls on at most `limit` replies and keep them in the folder; nothing if they are off.

    Raises:
        UsageError: controls without a judge, or too few for one cluster.
    """
    if limit == 0:
        return
    judged = next((s for s in scorers if isinstance(s, Judged)), None)
    if judged is None:
        raise UsageError("--controls without --judge; name the model to control with --judge MODEL")
    asked = subsample(questions_of(folder), limit)
    if not asked:
        raise UsageError(f"--controls {limit} is smaller than the first cluster of samples; give more")
    found = run_controls(judged.jury, asked, at_once=judged.calls_at_once)
    judged.close()
    basis = {"limit": limit, "replies": len(asked), "basis": _basis(folder, asked)}
    write_rows(_path(folder), ({**basis, **asdict(control)} for control in found))


def control_notes(folder: RunFolder) -> list[str]:
    """Return what the folder's controls say of its judge; nothing where none were run.

    Controls of another judge, or on replies that have since changed, are not repeated: that they are
    out of date is said instead.
    """
    rows = [row for _, row in read_rows(_path(folder))] if _path(folder).exists() else []
    if not rows:
        return []
    limit, replies, basis = (rows[0].pop(name) for name in ("limit", "replies", "basis"))
    if basis != _basis(folder, subsample(questions_of(folder), limit)):
        return [
            "Controls were run with another judge or on other replies, and say nothing of these scores; "
            f"`echat-eval score {folder.path} --judge ... --controls {limit}` runs them again."
        ]
    return control_lines([_control(row) for row in rows], replies)


def questions_of(folder: RunFolder) -> list[Asked]:
    """Return what a judge is to be asked of a run: its ceilings' replies where it has any.

    A judge can only be seen to read labels on replies that fit them, so replies of ceilings, which know
    the labels, are better material than those of a system that may be blind to them.
    """
    roles = {name: facts["role"] for name, facts in folder.manifest().get("systems", {}).items()}
    cases = [c for c in cases_of(folder) if c.sample.asks is None]
    ceilings = [c for c in cases if roles.get(c.response.system) == "ceiling"]
    samples = folder.samples()
    cluster = dict(zip(((s.task, s.id) for s in samples), clusters_of(samples), strict=True))
    asked = []
    for case in ceilings or cases:
        if case.response.state != "value":
            continue
        try:
            question = question_of(case)
        except (SystemFailure, NotApplicable, Unavailable):
            continue
        asked.append(Asked(question=question, cluster=cluster[case.sample.task, case.sample.id]))
    return asked


def _path(folder: RunFolder) -> Path:
    return folder.path / "controls.jsonl"


def _basis(folder: RunFolder, asked: Sequence[Asked]) -> str:
    """Return the hash of what controls rest on: the judge as the manifest has it, and the questions."""
    judge = folder.manifest().get("scorers", {}).get(Judged.name, {})
    facts = [judge.get(name) for name in ("version", "settings", "fingerprint")]
    return digest("controls", [facts, [a.question for a in asked]])


def _control(row: dict[str, Any]) -> Control:
    drop = Estimate(**row["drop"]) if row["drop"] is not None else None
    facts = {name: row[name] for name in ("name", "score", "missing", "verdict")}
    return Control(**facts, drop=drop)
