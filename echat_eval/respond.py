"""Stage 1: ask every system every sample it has not answered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from echat_eval import jsonl, rows
from echat_eval.attempts import Attempted, Patience, attempt
from echat_eval.keys import request_for, response_key
from echat_eval.perform import Job, Progress, opened, perform
from echat_eval.records import Reply, Response
from echat_eval.replies import settle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echat_eval.ports import Oracle, System
    from echat_eval.records import Request, Sample
    from echat_eval.run_folder import RunFolder

__all__ = ["respond"]


def respond(
    run: RunFolder,
    systems: Sequence[System | Oracle],
    samples: Sequence[Sample],
    *,
    patience: Patience,
    progress: Progress,
) -> None:
    """Ask every system every sample it has not answered; one row per system and sample."""
    for system in systems:
        known = run.responses()
        name, settings, fingerprint = system.name, dict(system.settings()), system.fingerprint()
        wanted = []
        for sample in samples:
            asked = sample if hasattr(system, "respond_to") else request_for(sample)
            key = response_key(name, settings, fingerprint, asked)
            have = known.get((name, sample.task, sample.id))
            if have is None or have.key != key or have.state == "missing":
                wanted.append(
                    (
                        Response(
                            key=key, system=name, task=sample.task, sample_id=sample.id, state="missing"
                        ),
                        sample,
                        asked,
                    )
                )
        progress.stage(f"respond: {name}", len(samples), len(samples) - len(wanted))
        if wanted:
            with opened(system), jsonl.Appender(run.path / "responses.jsonl") as appender:
                jobs = _response_jobs(run, system, wanted, patience)
                perform(
                    jobs, workers=getattr(system, "calls_at_once", 1), appender=appender, progress=progress
                )
    _compact_responses(run)


def _response_jobs(
    run: RunFolder, system: Any, wanted: list[tuple[Response, Sample, Request | Sample]], patience: Patience
) -> list[Job[Any]]:
    size = max(1, getattr(system, "batch_size", 1)) if hasattr(system, "respond_batch") else 1
    jobs: list[Job[Any]] = []
    for start in range(0, len(wanted), size):
        chunk = wanted[start : start + size]

        def call(chunk: list[Any] = chunk) -> list[Response]:
            return list(_ask(run, system, chunk, patience))

        jobs.append(Job(call=call, rows=lambda done: (rows.row_of_response(r, run.path) for r in done)))
    return jobs


def _ask(run: RunFolder, system: Any, chunk: list[Any], patience: Patience) -> Iterator[Response]:
    """Ask a batch at once, and one by one whatever the batch did not answer."""
    answered: list[Reply | None] = [None] * len(chunk)
    if len(chunk) > 1:
        batch = attempt(
            lambda: _whole_batch(system, [asked for _, _, asked in chunk]),
            blame="system",
            patience=replace(patience, tries=1),
        )
        answered = list(batch.value) if batch.value is not None else answered
    ask = system.respond_to if hasattr(system, "respond_to") else system.respond
    for (blank, _, asked), ready in zip(chunk, answered, strict=True):

        def call(asked: Any = asked, ready: Reply | None = ready) -> Reply:
            return settle(ready if ready is not None else ask(asked), run)

        outcome: Attempted[Reply] = attempt(call, blame="system", patience=patience)
        # Inside a batch no single reply has a latency of its own.
        seconds = outcome.seconds if ready is None else None
        yield replace(
            blank,
            state=outcome.state,
            reason=outcome.reason,
            reply=outcome.value,
            seconds=seconds,
            tries=outcome.tries,
        )


def _whole_batch(system: Any, asked: list[Any]) -> list[Reply]:
    replies = list(system.respond_batch(asked))
    if len(replies) != len(asked):
        raise ValueError(f"respond_batch gave {len(replies)} replies to {len(asked)} requests")
    return replies


def _compact_responses(run: RunFolder) -> None:
    order = {(s.task, s.id): n for n, s in enumerate(run.samples())}
    kept = [r for r in run.responses().values() if (r.task, r.sample_id) in order]
    kept.sort(key=lambda r: (r.system, order[r.task, r.sample_id]))
    jsonl.write_rows(run.path / "responses.jsonl", (rows.row_of_response(r, run.path) for r in kept))
