"""The cases of a run: each response with its sample and annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.ports import Case

__all__ = ["cases_of"]
if TYPE_CHECKING:
    from echat_eval.records import Annotation
    from echat_eval.store.run_folder import RunFolder


def cases_of(run: RunFolder) -> list[Case]:
    """Return one case per response of a run, as scorers receive them."""
    samples = {(sample.task, sample.id): sample for sample in run.samples()}
    annotations: dict[tuple[str, str, str], dict[str, Annotation]] = {}
    for annotation in run.annotations().values():
        ident = (annotation.system, annotation.task, annotation.sample_id)
        annotations.setdefault(ident, {})[annotation.annotator] = annotation
    return [
        Case(
            sample=samples[task, sample_id],
            response=response,
            annotations=annotations.get((system, task, sample_id), {}),
        )
        for (system, task, sample_id), response in run.responses().items()
    ]
