"""Checks before a stage does any work: do folders and sentences fit the plan?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, UsageError
from echat_eval.io.files import make_folder, write_atomically
from echat_eval.io.hashing import digest
from echat_eval.io.unfinished import is_half_made
from echat_eval.testset.sentences import Sentence, read_sentences

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.testset.plan import Plan

__all__ = ["check_out", "check_same_plan", "check_sentences", "given_sentences", "is_ours", "note_plan"]


def check_out(plan: Plan, out: Path, *, writes: bool) -> None:
    """Make the folder of a build, and check that the task's folder may be written.

    Args:
        writes: the build writes the task.

    Raises:
        UsageError: it is no folder, or the task's folder has files that no build wrote.
    """
    make_folder(out)
    task = out / plan.name
    if not writes or not task.exists() or is_half_made(task) or is_ours(task, out / "work"):
        return
    if not task.is_dir() or any(task.iterdir()):
        raise UsageError(f"{task}: not empty, and no build wrote it; choose another --out, or remove it")


def is_ours(task: Path, work: Path) -> bool:
    """Return whether an earlier build of this folder wrote the task."""
    note = work / "written"
    return note.is_file() and note.read_text(encoding="utf-8") == str(task.resolve())


def note_plan(plan: Plan, work: Path) -> None:
    """Keep which plan the sentences are of."""
    write_atomically(work / "plan-of-texts", _facts(plan))


def check_same_plan(plan: Plan, work: Path) -> None:
    """Check that the stored sentences are of this plan.

    Raises:
        UsageError: what the sentences depend on has changed since.
    """
    note = work / "plan-of-texts"
    if note.is_file() and note.read_text(encoding="utf-8") != _facts(plan):
        raise UsageError(
            f"{work / 'sentences.jsonl'}: cues, counts or texts of the plan have changed since these "
            "sentences were written; run the stage texts again, or undo the change"
        )


def _facts(plan: Plan) -> str:
    counts = [dict(plan.sentences), dict(plan.same), plan.cues_per_sentence, plan.labels_per_sentence]
    texts = [sorted(plan.cues.items()), plan.domain, plan.topics, plan.seed, asdict(plan.texts)]
    return digest("testset texts", [repr(counts), repr(texts)])


def given_sentences(plan: Plan) -> tuple[Sentence, ...]:
    """Return the sentences of the plan's file.

    Raises:
        BadData: the file is invalid, or does not fit the plan.
    """
    path = plan.path(plan.texts.file or "")
    sentences = read_sentences(path)
    check_sentences(plan, sentences, path)
    return sentences


def check_sentences(plan: Plan, sentences: Sequence[Sentence], path: Path) -> None:
    """Check that the plan has the languages and labels of sentences.

    Raises:
        BadData: one is missing; the message names file and sentence.
    """
    for number, sentence in enumerate(sentences, 1):
        location = f"{path}: sentence {number} ({sentence.id})"
        if sentence.language not in plan.voices:
            raise BadData(f"{location}: the plan has no voice for '{sentence.language}'")
        for member in sentence.members:
            for cue, label in member.cues.items():
                if label not in plan.cues.get(cue, ()):
                    raise BadData(f"{location}: {cue} '{label}' is not among the plan's cues")
