"""Stage 1: ask a system every sample it has not answered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from echat_eval.concurrency.retry import RetryPolicy, Timed, call_with_retries, timed
from echat_eval.records import Reply, Response
from echat_eval.runner.check_reply import validate_and_store_reply
from echat_eval.store.keys import request_for, response_key
from echat_eval.store.reuse import may_be_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from echat_eval.concurrency.work_queue import Workflow, WorkQueue
    from echat_eval.ports import Oracle, System
    from echat_eval.records import Request, Sample
    from echat_eval.store.run_folder import ResponseId, RunFolder

__all__ = ["PendingRequest", "ResponseStage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRequest:
    """What a system is asked, and the row of it, still without an answer.

    Attributes:
        kept: the answer of another run will do as well, and this one's may serve others.
    """

    blank: Response
    asked: Request | Sample
    kept: bool


class ResponseStage:
    """Asks one system, and tells every response.

    Args:
        run: where reply audio is stored.
        told: called with every new response, as soon as it is there.
    """

    def __init__(
        self,
        system: System | Oracle,
        *,
        run: RunFolder,
        retry_policy: RetryPolicy,
        told: Callable[[Response], None],
    ) -> None:
        self.system: Any = system
        self.name = f"respond: {system.name}"
        self._run, self._patience, self._told = run, retry_policy, told
        self._oracle = hasattr(system, "respond_to")

    def questions(
        self, samples: Sequence[Sample], known: Mapping[ResponseId, Response]
    ) -> Iterator[Response | PendingRequest]:
        """Yield, sample by sample, the response that is there already, or else the question to ask."""
        system = self.system
        settings, fingerprint = dict(system.settings()), system.fingerprint()
        kept = may_be_kept(system, fingerprint)
        for sample in samples:
            asked = sample if self._oracle else request_for(sample)
            key = response_key(system.name, settings, fingerprint, asked)
            have = known.get((system.name, sample.task, sample.id))
            if have is not None and have.key == key and have.state != "missing":
                yield have
            else:
                blank = Response(
                    key=key, system=system.name, task=sample.task, sample_id=sample.id, state="missing"
                )
                yield PendingRequest(blank=blank, asked=asked, kept=kept)

    def lane(self, flow: Workflow) -> WorkQueue[PendingRequest]:
        """Open the system's lane."""
        in_batches = hasattr(self.system, "respond_batch")
        size = max(1, getattr(self.system, "batch_size", 1)) if in_batches else 1
        self._lane = flow.lane(self.system, self._ask, size=size)
        return self._lane

    async def _ask(self, batch: list[PendingRequest]) -> None:
        """Ask a batch at once, and one by one whatever the batch did not answer."""
        answered: Sequence[Reply | None] = [None] * len(batch)
        if len(batch) > 1:
            whole = await call_with_retries(
                lambda: self._whole([question.asked for question in batch]),
                blame="system",
                retry_policy=replace(self._patience, tries=1),
            )
            answered = whole.value if whole.value is not None else answered
        for question, ready in zip(batch, answered, strict=True):
            self._told(await self._answer(question, ready))

    async def _whole(self, asked: list[Any]) -> Timed[list[Reply]]:
        done = await timed(self.system.respond_batch, asked, threads=self._lane.threads)
        replies = list(done.value)
        if len(replies) != len(asked):
            raise ValueError(f"respond_batch gave {len(replies)} replies to {len(asked)} requests")
        return Timed(value=replies, seconds=done.seconds)

    async def _answer(self, question: PendingRequest, ready: Reply | None) -> Response:
        async def call() -> Timed[Reply]:
            if ready is not None:
                return await self._settled(Timed(value=ready, seconds=0.0))
            ask = self.system.respond_to if self._oracle else self.system.respond
            return await self._settled(await timed(ask, question.asked, threads=self._lane.threads))

        outcome = await call_with_retries(call, blame="system", retry_policy=self._patience)
        return replace(
            question.blank,
            state=outcome.state,
            reason=outcome.reason,
            reply=outcome.value,
            # Inside a batch no single reply has a latency of its own.
            seconds=outcome.seconds if ready is None else None,
            tries=outcome.tries,
        )

    async def _settled(self, done: Timed[Reply]) -> Timed[Reply]:
        """Check and store a reply; a voice is written on the lane's thread, and is no latency."""
        reply = done.value
        if getattr(reply, "audio", None) is None:
            return Timed(value=validate_and_store_reply(reply, self._run), seconds=done.seconds)
        stored = await timed(validate_and_store_reply, reply, self._run, threads=self._lane.threads)
        return Timed(value=stored.value, seconds=done.seconds)
