"""Stage 1: request a reply to every sample that a system has not answered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from echat_eval.concurrency.retry import MAX_REASON, RetryPolicy, Timed, call_with_retries, timed
from echat_eval.ports import BatchSystem, Oracle, RepliesByFile, batch_size_of
from echat_eval.records import Reply, Request, Response
from echat_eval.runner.check_reply import validate_and_store_reply
from echat_eval.runner.dialogue import Dialogue
from echat_eval.runner.queues import queue_for
from echat_eval.store.keys import request_for, response_key
from echat_eval.store.repeats import split_repeat
from echat_eval.store.reuse import is_reusable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from echat_eval.concurrency.work_queue import Workflow, WorkQueue
    from echat_eval.ports import System
    from echat_eval.records import Cue, Sample
    from echat_eval.store.run_folder import ResponseId, RunFolder

__all__ = ["PendingRequest", "ResponseStage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRequest:
    """A request without a reply, and the row that the reply will fill.

    Attributes:
        request: a sample, if the system is an oracle. With scripted turns, the last of a live dialogue.
        send: calls the system with the request; of a live dialogue it is not used.
        own_cues: cues that the task defines.
        cacheable: the reply may come from another run, and may serve other runs.
    """

    pending: Response
    request: Request | Sample
    send: Callable[[], Reply | Awaitable[Reply]]
    cacheable: bool
    own_cues: Mapping[str, Cue] | None = None


#: The request or sample that a system receives, and the call that sends it.
_Call: TypeAlias = "tuple[Request | Sample, Callable[[], Reply | Awaitable[Reply]]]"


def _oracle_call(oracle: Oracle) -> Callable[[Sample], _Call]:
    return lambda sample: (sample, partial(oracle.respond_to, sample))


def _system_call(system: System) -> Callable[[Sample], _Call]:
    def call_for(sample: Sample) -> _Call:
        request = request_for(sample)
        return request, partial(system.respond, request)

    return call_for


class ResponseStage:
    """Sends requests to one system and reports every response.

    Args:
        run: where reply audio is stored.
        on_result: called with every new response, as soon as it exists.
    """

    def __init__(
        self,
        system: System | Oracle,
        *,
        run: RunFolder,
        retry_policy: RetryPolicy,
        on_result: Callable[[Response], None],
    ) -> None:
        self.system = system
        self.name = f"respond: {system.name}"
        # Replies in files are the same on every try.
        retry_policy = replace(retry_policy, tries=1) if isinstance(system, RepliesByFile) else retry_policy
        self._run, self._retry_policy, self._on_result = run, retry_policy, on_result
        self._batches = system if isinstance(system, BatchSystem) else None

    def responses_and_requests(
        self, samples: Sequence[Sample], known: Mapping[ResponseId, Response]
    ) -> Iterator[Response | PendingRequest]:
        """Yield for each sample the known response if it still holds, else the request to send."""
        system = self.system
        settings, fingerprint = dict(system.settings()), system.fingerprint()
        reusable = is_reusable(system, fingerprint)
        call_for = _oracle_call(system) if isinstance(system, Oracle) else _system_call(system)
        for sample in samples:
            request, send = call_for(sample)
            repeat = split_repeat(sample.id)[1]
            key = response_key(system.name, settings, fingerprint, request, repeat)
            response = known.get((system.name, sample.task, sample.id))
            if response is not None and response.key == key and self._is_final(response):
                yield response
            else:
                pending = Response(
                    key=key, system=system.name, task=sample.task, sample_id=sample.id, state="missing"
                )
                yield PendingRequest(
                    pending=pending,
                    request=request,
                    send=send,
                    # Of a dialogue, the cache would need the audio of every turn.
                    cacheable=reusable and sample.turns is None,
                    own_cues=sample.own_cues,
                )

    def _is_final(self, response: Response) -> bool:
        again = response.state == "failed" and self._retry_policy.failed_again
        return response.state != "missing" and not again

    def open_queue(self, workflow: Workflow) -> WorkQueue[PendingRequest]:
        """Return a new queue of requests to the system."""
        self._queue = queue_for(workflow, self.system, self._respond, size=batch_size_of(self._batches))
        return self._queue

    async def _respond(self, batch: list[PendingRequest]) -> None:
        """Send a batch in one call; then those without a reply one by one, all if the call failed.

        Live dialogues are always held one by one.
        """
        for item in batch:
            if item.request.turns is not None:
                self._on_result(await self._dialogue(item))
        batch = [item for item in batch if item.request.turns is None]
        replies: Sequence[Reply | None] = [None] * len(batch)
        if self._batches is not None and len(batch) > 1:
            requests = [item.request for item in batch if isinstance(item.request, Request)]
            respond_batch = partial(self._batches.respond_batch, requests)
            call_result = await call_with_retries(
                lambda: self._respond_batch(respond_batch, batch),
                blame="system",
                retry_policy=replace(self._retry_policy, tries=1),
            )
            replies = call_result.value if call_result.value is not None else replies
        for item, reply in zip(batch, replies, strict=True):
            self._on_result(await self._response(item, reply))

    async def _respond_batch(
        self,
        respond_batch: Callable[[], Sequence[Reply | None] | Awaitable[Sequence[Reply | None]]],
        batch: list[PendingRequest],
    ) -> Timed[list[Reply | None]]:
        for item in batch:
            self._check_audio(item.request)
        done = await timed(respond_batch, threads=self._queue.threads)
        replies = list(done.value)
        if len(replies) != len(batch):
            raise ValueError(f"respond_batch returned {len(replies)} replies for {len(batch)} requests")
        return Timed(value=replies, seconds=done.seconds)

    async def _response(self, item: PendingRequest, batch_reply: Reply | None) -> Response:
        async def call() -> Timed[Reply]:
            if batch_reply is not None:
                return await self._stored(Timed(value=batch_reply, seconds=0.0), item)
            self._check_audio(item.request)
            return await self._stored(await timed(item.send, threads=self._queue.threads), item)

        outcome = await call_with_retries(call, blame="system", retry_policy=self._retry_policy)
        return replace(
            item.pending,
            state=outcome.state,
            reason=outcome.reason,
            reply=outcome.value,
            # A reply of a batch has no latency of its own.
            seconds=outcome.seconds if batch_reply is None else None,
            tries=outcome.tries,
        )

    async def _dialogue(self, item: PendingRequest) -> Response:
        """Return the response to a live dialogue, which is asked again whole if one of its turns fails."""
        store = partial(self._stored, item=item)
        dialogue = Dialogue(self.system, item.request, threads=self._queue.threads, store=store)

        async def call() -> Timed[tuple[Reply, ...]]:
            self._check_audio(item.request)
            return await dialogue.ask()

        outcome = await call_with_retries(call, blame="system", retry_policy=self._retry_policy)
        replies = outcome.value or ()
        return replace(
            item.pending,
            state=outcome.state,
            reason=(dialogue.reason(outcome.reason) or "")[:MAX_REASON] or None,
            reply=replies[-1] if replies else None,
            turns=replies[:-1] if replies else None,
            seconds=outcome.seconds,
            tries=outcome.tries,
        )

    def _check_audio(self, request: Request | Sample) -> None:
        """Check the bytes of a request before a system gets them."""
        self._run.check_audio(request.audio)
        for turn in (*request.history, *(request.turns or ())):
            if turn.audio is not None:
                self._run.check_audio(turn.audio)

    async def _stored(self, done: Timed[Reply], item: PendingRequest) -> Timed[Reply]:
        """Check and store a reply. Audio is written on the queue's thread; the time is not latency."""
        reply = done.value
        store = partial(validate_and_store_reply, reply, self._run, item.own_cues)
        # A foreign system may return anything; the check refuses what is no reply.
        if not isinstance(reply, Reply) or reply.audio is None:
            return Timed(value=store(), seconds=done.seconds)
        stored = await timed(store, threads=self._queue.threads)
        return Timed(value=stored.value, seconds=done.seconds)
