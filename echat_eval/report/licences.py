"""Licences in reports: of tasks, of weights that only research may use, and of audio to be passed on."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from echat_eval.errors import UsageError
from echat_eval.store.turns import query_audios

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from echat_eval.records import Sample
    from echat_eval.report.cells import Table
    from echat_eval.report.runs import MergedRuns
    from echat_eval.store.manifest import TaskFacts

__all__ = [
    "licence_elsewhere",
    "may_pass_on",
    "require_audio",
    "research_only",
    "with_licences",
    "withheld_audio",
]

_RESEARCH = re.compile(r"research|non-?\s?commercial|no commercial|not for commercial|\bNC\b", re.I)
#: In task.yaml, a remark on a file of the task's folder.
_BESIDE = re.compile(r"\s*\(see [^()]* beside this file\)")


def licence_elsewhere(licence: str | None) -> str | None:
    """Return the licence of a task for a place that does not hold the task's folder.

    >>> licence_elsewhere("CC0 1.0 (see LICENCE beside this file)")
    'CC0 1.0'
    """
    return licence and _BESIDE.sub("", licence)


def may_pass_on(tasks: Mapping[str, TaskFacts], task: str) -> bool:
    """Return whether a task states that its audio may be passed on; not stated counts as no."""
    return tasks[task].redistributable is True


def withheld_audio(
    tasks: Mapping[str, TaskFacts], samples: Iterable[Sample], *, with_audio: bool = False
) -> frozenset[str]:
    """Return the hashes of recordings that may not be passed on, as a query or as a reply: `echo` replies so.

    Args:
        with_audio: the receivers may hear all of them.
    """
    kept = () if with_audio else (sample for sample in samples if not may_pass_on(tasks, sample.task))
    return frozenset(audio.sha256 for sample in kept for audio in query_audios(sample))


def require_audio(runs: MergedRuns, tasks: Iterable[str], purpose: str) -> None:
    """Raise UsageError unless the audio of all tasks may be passed on."""
    if kept := [task for task in dict.fromkeys(tasks) if not may_pass_on(runs.tasks, task)]:
        raise UsageError(
            f"{purpose} holds recordings, and task '{kept[0]}' does not state that its audio may be passed "
            "on (redistributable: true in task.yaml); give --with-audio if these people may hear it"
        )


def research_only(licence: object) -> bool:
    """Return whether a licence allows research only.

    >>> research_only("CC BY-NC-SA 4.0"), research_only("Apache-2.0"), research_only(None)
    (True, False, False)
    """
    return isinstance(licence, str) and _RESEARCH.search(licence) is not None


def _research_weights(runs: MergedRuns) -> list[str]:
    """Return the systems and annotators whose weights only research may use."""
    parts = ((name, facts.settings) for m in runs.manifests for name, facts in m.systems.items())
    instruments = ((name, facts.settings) for m in runs.manifests for name, facts in m.annotators.items())
    found = [name for name, settings in (*parts, *instruments) if research_only(settings.get("licence"))]
    return list(dict.fromkeys(found))


def _notes(runs: MergedRuns) -> Iterator[str]:
    """Yield the licence, voices and citation of the tasks, those that have them in common as one note."""
    alike: dict[tuple[str, str | None, str | None], list[str]] = {}
    for name, facts in runs.tasks.items():
        if (licence := licence_elsewhere(facts.licence)) is not None:
            shown = runs.choice.shown(name)
            alike.setdefault((licence, facts.voices, facts.citation), []).append(f"'{shown}'")
    for (licence, voices, citation), names in alike.items():
        cited = f" Cite: {citation}" if citation else ""
        yield f"Samples of {', '.join(names)}: {licence}.{f' Voices: {voices}.' if voices else ''}{cited}"


def with_licences(table: Table, runs: MergedRuns) -> Table:
    """Return a table whose caption names research-only weights, and whose notes hold the tasks' licences."""
    weights = _research_weights(runs)
    caption = (
        f"{table.caption} (weights for research only: {', '.join(weights)})" if weights else table.caption
    )
    return replace(table, caption=caption, notes=(*table.notes, *_notes(runs)))
