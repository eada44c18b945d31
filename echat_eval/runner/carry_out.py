"""Carries out a plan: makes its missing rows under its budget, and runs its controls and its link."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from echat_eval.executors.place import place
from echat_eval.judge.retirement import last_day, retirement_line
from echat_eval.judge.sentinel import FEWEST_QUESTIONS, Sentinel
from echat_eval.ports import RepliesByFile, ShowsCost
from echat_eval.runner.command_mark import command_mark
from echat_eval.runner.destinations import (
    Receiver,
    merged_contents,
    private_tasks,
    receivers_of,
    refuse_private_data,
)
from echat_eval.runner.evaluate import evaluate, require_fit, rescore
from echat_eval.runner.spending import metered
from echat_eval.scorers.judge_settings import identify
from echat_eval.scorers.judged import Judged
from echat_eval.store.anchors import anchors_path
from echat_eval.store.keys import request_for
from echat_eval.store.settled import find_settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from echat_eval.judge import JudgeClient
    from echat_eval.ports import Progress
    from echat_eval.runner.cost_estimate import ExpectedCost
    from echat_eval.runner.plan import Plan
    from echat_eval.store.run_folder import RunFolder

__all__ = ["carry_out"]


def carry_out(
    plan: Plan, progress: Progress, *, recording: Callable[[], AbstractContextManager[None]] = nullcontext
) -> str:
    """Make the missing rows of a plan; return what that cost, "" if nothing was billed.

    The hosts that get data, and the expected cost, are noted before anything is sent.

    Args:
        recording: returns the context in which rows are made; it may write to the folder.

    Raises:
        UsageError: private data would go to a host that is not allowed, the folder's replies do not fit the
            tasks, or the judge's server refuses the key.
        Busy: another process is writing to the folder.
    """
    table, limit = plan.budget.table, plan.budget.limit
    receivers = receivers_of(plan.systems, plan.senders, plan.executor, plan.trackers)
    for receiver in receivers:
        progress.note(f"sends: {receiver.line}")
    refuse_private_data(private_tasks(plan.tasks, plan.folder.manifest()), receivers, plan.send_to)
    with plan.folder.writing() as folder, metered(folder, plan.billed_clients, table, limit=limit) as meter:
        command = _command(plan)
        settled = command is not None and find_settled(folder.path, command) is not None
        if plan.systems and not settled:
            folder.mend_samples(plan.samples)
        expected = plan.expected_cost()
        for line in expected.lines(whole=False):
            progress.note(f"estimate: {line}")
        old = None if plan.link is None else plan.link.old
        for judge in [*plan.judges, *([] if old is None else [old.judge_client])]:
            identify(judge, lambda text: progress.note(f"note: {text}"))
            _note_retirement(folder, judge, progress)
        if isinstance(progress, ShowsCost):
            progress.show_cost(meter.line)
        if plan.systems and not settled:
            require_fit(folder, {system.name for system in plan.systems}, plan.tasks)
        _record_receivers(folder, receivers)
        with (
            recording(),
            _grading_anchors(plan, expected),
            place(plan.executor, plan.systems, plan.annotators) as placement,
        ):
            settings = replace(plan.settings, executor=placement.facts)
            if plan.systems:
                evaluate(
                    folder,
                    systems=placement.systems,
                    tasks=plan.tasks,
                    annotators=placement.annotators,
                    scorers=plan.scorers,
                    settings=settings,
                    progress=progress,
                    cache=plan.cache,
                    repeats=plan.repeats,
                    command=command,
                )
            else:
                rescore(
                    folder,
                    annotators=placement.annotators,
                    scorers=plan.scorers,
                    settings=settings,
                    progress=progress,
                    cache=plan.cache,
                )
        if plan.controls:
            from echat_eval.scorers.run_controls import run_and_store_controls

            run_and_store_controls(folder, plan.scorers, plan.controls)
        if plan.link is not None:
            from echat_eval.scorers.stored_links import run_and_store_links

            run_and_store_links(folder, plan.scorers, plan.link.old, anchors=plan.link.anchors)
    for line in _unclaimed(plan):
        progress.note(f"note: {line}")
    if meter.withheld:
        progress.note(
            f"note: calls that could have exceeded --max-cost {meter.limit:f} were not made; run the same "
            "command with a higher limit to continue"
        )
    return meter.line()


def _command(plan: Plan) -> str | None:
    """Return the mark of a plan's command; None if only a server can tell what a judge is."""
    if plan.judges or not plan.systems:
        return None
    return command_mark(
        systems=plan.systems,
        tasks=plan.tasks,
        annotators=plan.annotators,
        scorers=plan.scorers,
        settings=plan.settings,
        repeats=plan.repeats,
    )


@contextmanager
def _grading_anchors(plan: Plan, expected: ExpectedCost) -> Iterator[None]:
    """Let the judges that have many questions left grade anchors between them, within this block."""
    calls = {id(found.billed_client): found.calls for found in expected.estimates}
    judges = [
        scorer
        for scorer in plan.scorers
        if type(scorer) is Judged and calls.get(id(scorer.judge_client.client), 0) >= FEWEST_QUESTIONS
    ]
    for judged in judges:
        path = anchors_path(plan.folder.path)
        judged.judge_client.sentinel = Sentinel(judged.judge, judged.metrics[0].name, path)
    try:
        yield
    finally:
        for judged in judges:
            judged.judge_client.sentinel = None


def _note_retirement(folder: RunFolder, judge: JudgeClient, progress: Progress) -> None:
    """Record and note the last day on which a judge's model is served, if one is announced."""
    manifest, model, day = folder.manifest(), judge.client.model, last_day(judge)
    known = {name: text for name, text in manifest.retirements.items() if name != model}
    if day is not None:
        known[model] = day.isoformat()
        progress.note(f"warning: {retirement_line(model, day, datetime.now(UTC).date())}")
    if known != manifest.retirements:
        folder.write_manifest(replace(manifest, retirements=known))


def _record_receivers(folder: RunFolder, receivers: Sequence[Receiver]) -> None:
    """Add to the manifest what each host may get."""
    manifest = folder.manifest()
    if (merged := merged_contents(manifest.destinations, receivers)) != manifest.destinations:
        folder.write_manifest(replace(manifest, destinations=merged))


def _unclaimed(plan: Plan) -> Iterator[str]:
    """Yield a line per system with replies that match no request of the run."""
    requests = [request_for(sample) for sample in plan.samples]
    for system in plan.systems:
        if isinstance(system, RepliesByFile) and (names := system.unclaimed(requests)):
            shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
            yield f"{len(names)} replies of '{system.name}' match no request of this run: {shown}"
