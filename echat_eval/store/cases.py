"""The cases of a run: sample, reply and annotations side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.ports import Case

__all__ = ["cases_of"]
if TYPE_CHECKING:
    from echat_eval.records import Annotation
    from echat_eval.store.run_folder import RunFolder


def cases_of(run: RunFolder) -> list[Case]:
    """Return all that is known of every response of a run, as scorers get it."""
    samples = {(s.task, s.id): s for s in run.samples()}
    heard: dict[tuple[str, str, str], dict[str, Annotation]] = {}
    for annotation in run.annotations().values():
        heard.setdefault((annotation.system, annotation.task, annotation.sample_id), {})[
            annotation.annotator
        ] = annotation
    return [
        Case(
            sample=samples[task, sample_id],
            response=response,
            annotations=heard.get((system, task, sample_id), {}),
        )
        for (system, task, sample_id), response in run.responses().items()
    ]
