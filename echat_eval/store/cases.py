"""The cases of a run: each response with its sample and annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.ports import Case
from echat_eval.store.repeats import repeated, split_repeat

__all__ = ["cases_of", "visible_to"]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.records import Annotation
    from echat_eval.store.run_folder import RunFolder


def cases_of(run: RunFolder, *, every_repeat: bool = False) -> list[Case]:
    """Return one case per response of a run, as scorers receive them.

    Args:
        every_repeat: also the cases of repeats, whose samples have ids of their own.
    """
    samples = {(sample.task, sample.id): sample for sample in run.samples()}
    responses = run.every_response() if every_repeat else run.responses()
    annotations: dict[tuple[str, str, str], dict[str, Annotation]] = {}
    for annotation in (run.every_annotation() if every_repeat else run.annotations()).values():
        ident = (annotation.system, annotation.task, annotation.sample_id)
        annotations.setdefault(ident, {})[annotation.annotator] = annotation
    return [
        Case(
            sample=repeated(samples[task, split_repeat(sample_id)[0]], split_repeat(sample_id)[1]),
            response=response,
            annotations=annotations.get((system, task, sample_id), {}),
        )
        for (system, task, sample_id), response in responses.items()
    ]


def visible_to(needs: Sequence[str], case: Case) -> Case:
    """Return a case as a scorer with these needs sees it: no other annotation can change its scores."""
    needed = {name: case.annotations[name] for name in needs if name in case.annotations}
    return Case(sample=case.sample, response=case.response, annotations=needed)
