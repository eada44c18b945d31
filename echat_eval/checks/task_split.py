"""The splits of a task: unchanged, made for this task, and without near-duplicates in several parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.checks.task_finding import Finding
from echat_eval.errors import BadData
from echat_eval.task.split import read_split, split_versions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from echat_eval.records import Sample

__all__ = ["split_findings"]


def split_findings(
    folder: Path, samples: Sequence[Sample], task_sha256: str, similar: Sequence[tuple[int, int]]
) -> list[Finding]:
    """Return the findings about a task's splits; none if it has no split.

    Args:
        folder: the task's folder.
        samples: all samples of the task.
        task_sha256: hash of the task.
        similar: pairs of samples, by place, with nearly the same words.
    """
    versions, faults, reasons = split_versions(folder), list[str](), dict[str, str]()
    if not versions:
        return []
    for version in versions:
        try:
            split = read_split(folder, version)
        except BadData as error:
            faults.append(str(error))
            continue
        if version == versions[-1]:  # older ones may be of an older state of the task
            faults += split.faults(samples, task_sha256)
            part = {ident: name for name, ids in split.parts.items() for ident in ids}
            for a, b in similar:
                first, second = part.get(samples[a].id), part.get(samples[b].id)
                if first and second and first != second:
                    reasons[samples[b].id] = f"in {second}, nearly the words of {samples[a].id} in {first}"
    message = f"{len(versions)} version{'s' if len(versions) > 1 else ''}, newest {versions[-1]}"
    if reasons:
        message += f"; {len(reasons)} samples have near-duplicates in another part"
    return [
        Finding(
            check="split",
            section="design",
            state="fault" if faults else "review" if reasons else "pass",
            message=faults[0] if faults else message,
            remedy="replace one of each pair, and draw the next version" if reasons and not faults else "",
            samples=reasons,
            details=tuple(faults[1:]),
            numbers={"versions": versions},
        )
    ]
