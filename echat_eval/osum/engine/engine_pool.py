"""Several engines, one per device, each with its vocoder: requests in, text and sound out.

All engines take requests from one queue, over all calls, so a faster engine answers more of them and no
request waits for the last of another call. In fp32 a reply does not depend on the engine that answers it; see
`echat_eval.osum.decoding.loop`.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import RowError, SystemFailure
from echat_eval.osum.engine.background_voice import BackgroundVoice, ReplyVoice, VoiceThread
from echat_eval.osum.engine.online import MAX_WAITING, OnlineEngine
from echat_eval.osum.voice.config import SPEECH_IDS
from echat_eval.records import Waveform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future
    from types import TracebackType

    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.engine.engine import Engine
    from echat_eval.osum.engine.online import Ticket
    from echat_eval.osum.engine.types import OsumReply, ReplyKind, Token2Wav
    from echat_eval.osum.prompts.modes import GenerationRequest

__all__ = ["EnginePool", "EngineWorker", "PoolReply", "splice"]

#: Seconds of the cross-fade from an early first block to the whole reply.
FADE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReply:
    """A reply and its sound.

    Attributes:
        reply: text and speech tokens.
        wave: None without a voice or without speech tokens.
        first_audio_seconds: from the request to the first sound, in interleaved modes and in streams.
    """

    reply: OsumReply
    wave: Waveform | None = None
    first_audio_seconds: float | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class EngineWorker:
    """One engine with its vocoder.

    Attributes:
        engine: on its device.
        speaker: on the same device; None for text and speech tokens only.
        overlap: synthesise finished replies while others are decoded; otherwise after the last has ended.
    """

    engine: Engine
    speaker: Token2Wav | None = None
    overlap: bool = False
    _voice: VoiceThread | None = field(default=None, init=False)

    @property
    def voice(self) -> VoiceThread | None:
        """Return the thread that uses the speaker, the same in every call; None without a speaker."""
        if self.speaker is None:
            return None
        if self._voice is None or self._voice.speaker is not self.speaker:
            self._voice = VoiceThread(self.speaker, self.engine.model.device)
        return self._voice

    def close(self) -> None:
        """End the thread of the voice."""
        if self._voice is not None:
            self._voice.close()
        self._voice = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Return events to report to the user."""
        return (*self.engine.notes, *(self.speaker.notes if self.speaker is not None else ()))


def codec_ids(reply: OsumReply) -> tuple[int, ...]:
    """Return the ids that have a sound; profile `upstream` may leave a begin-or-end token among them."""
    return tuple(token for token in reply.speech if token < SPEECH_IDS)


def splice(early: Waveform, whole: Waveform) -> Waveform:
    """Return `whole` with its beginning replaced by `early`, cross-faded at the end of `early`."""
    count = min(len(early.samples), len(whole.samples))
    fade = min(count, int(FADE * whole.sample_rate))
    weight = np.concatenate([np.ones(count - fade), np.linspace(1, 0, fade)]).astype(np.float32)
    samples = np.array(whole.samples, dtype=np.float32)
    samples[:count] = weight * early.samples[:count] + (1 - weight) * samples[:count]
    return Waveform(samples=samples, sample_rate=whole.sample_rate)


class StreamedReply:
    """The sound of a ticket's reply while it is decoded, by the voice of the engine that decodes it."""

    def __init__(self, workers: Sequence[EngineWorker]) -> None:
        self.workers = workers
        self.wave: Future[Waveform | None] | None = None
        self._lock = threading.Lock()
        self._voice: ReplyVoice | None = None
        self._ticket: Ticket | None = None
        self._early: list[int] = []
        self._alone = False

    def on_codec(self, ids: tuple[int, ...]) -> None:
        """Queue codec ids; the first may be there before the ticket is known here."""
        with self._lock:
            self._early += ids
            self._feed()

    def bind(self, ticket: Ticket) -> None:
        """Set the ticket."""
        with self._lock:
            self._ticket = ticket
            self._feed()

    def _feed(self) -> None:
        if self._ticket is None or not self._early:
            return
        if self._voice is None or self._alone != self._ticket.alone:  # decoded alone, from the first id
            self.drop()
            thread = self.workers[self._ticket.engine].voice
            assert thread is not None  # a pool streams only with voices
            self._voice, self._alone = ReplyVoice(thread, seed=self._ticket.request.seed), self._ticket.alone
        ids, self._early = self._early, []
        self._voice.feed(ids)

    def finish(self) -> None:
        """Compute the rest, or nothing of a reply that was given up or failed."""
        with self._lock:
            if self._voice is None or self._ticket is None:
                return
            future = self._ticket.future
            if future.cancelled() or future.exception() is not None:
                self._voice.drop()
            else:
                self.wave = self._voice.finish()

    def drop(self) -> None:
        """Give up the sound."""
        if self._voice is not None:
            self._voice.drop()

    def answer(self, reply: OsumReply) -> PoolReply:
        """Return the reply with its sound, and wait for that.

        Raises:
            The failure of the voice.
        """
        wave = None if self.wave is None else self.wave.result()
        if wave is None or self._voice is None or self._ticket is None:
            return PoolReply(reply=reply)
        seconds = self._voice.first_audio - self._ticket.submitted
        return PoolReply(reply=reply, wave=wave, first_audio_seconds=seconds)


class PoolCall:
    """Requests of one call and their replies; use it as a context manager.

    An error inside the block gives up all its requests.
    """

    def __init__(self, pool: EnginePool, kind: ReplyKind) -> None:
        self.pool, self.kind = pool, kind
        self.outcomes: list[Ticket | RowError] = []
        self._ended: SimpleQueue[int] = SimpleQueue()
        self._stack = ExitStack()
        self._voices: dict[int, BackgroundVoice] = {}
        self._streams: dict[int, StreamedReply] = {}

    def __enter__(self) -> PoolCall:
        if self.pool.stream:
            return self
        for number, worker in enumerate(self.pool.workers):
            if worker.voice is not None:
                self._voices[number] = self._stack.enter_context(BackgroundVoice(worker.voice))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            for ticket in self.tickets().values():
                ticket.cancel()
            for stream in self._streams.values():
                stream.drop()
        self._stack.__exit__(kind, error, trace)

    def tickets(self) -> dict[int, Ticket]:
        """Return the tickets by the position of their request."""
        return {
            number: outcome
            for number, outcome in enumerate(self.outcomes)
            if not isinstance(outcome, RowError)
        }

    def submit(self, request: GenerationRequest) -> None:
        """Queue a request; note its failure if it cannot be decoded."""
        number = len(self.outcomes)
        stream = StreamedReply(self.pool.workers) if self.pool.stream else None
        try:
            ticket = self.pool.online.submit(
                request, kind=self.kind, on_codec=None if stream is None else stream.on_codec, wait=True
            )
        except RowError as error:
            self.outcomes.append(error)
            return
        self.outcomes.append(ticket)
        if stream is not None:
            self._streams[number] = stream
            stream.bind(ticket)
        ticket.future.add_done_callback(lambda _: self._note_end(number, ticket))

    def _note_end(self, number: int, ticket: Ticket) -> None:
        """Synthesise a reply beside the decoding of others; called on the engine's thread."""
        if number in self._streams:
            self._streams[number].finish()
        if self._voices and self.pool.workers[ticket.engine].overlap:
            self._voices[ticket.engine].put(self._spoken({number: ticket}))
        # Last: a future wakes those that wait for it before it calls this.
        self._ended.put(number)

    @staticmethod
    def _spoken(tickets: dict[int, Ticket]) -> list[tuple[int, Sequence[int], int]]:
        """Return the number, the codec ids and the seed of each reply."""
        return [
            (number, codec_ids(ticket.result()), ticket.request.seed)
            for number, ticket in tickets.items()
            if not ticket.future.cancelled() and ticket.future.exception() is None
        ]

    def answers(self) -> list[PoolReply | Exception]:
        """Wait for all requests, and return their replies or failures in order."""
        tickets = self.tickets()
        for _ in tickets:
            self._ended.get()
        waves: dict[int, Waveform | None] = {}
        for engine, voice in self._voices.items():
            if not self.pool.workers[engine].overlap:
                mine = {number: ticket for number, ticket in tickets.items() if ticket.engine == engine}
                voice.put(self._spoken(mine))
            waves |= voice.wait()
        return [self._answer(number, outcome, waves) for number, outcome in enumerate(self.outcomes)]

    def _answer(
        self, number: int, outcome: Ticket | RowError, waves: dict[int, Waveform | None]
    ) -> PoolReply | Exception:
        if isinstance(outcome, RowError):
            return outcome
        try:
            if number in self._streams:
                return self._streams[number].answer(outcome.result())
            return PoolReply(reply=outcome.result(), wave=waves.get(number))
        except CancelledError:
            return SystemFailure("the engine was closed before the reply ended")
        except Exception as error:  # noqa: BLE001 - of whatever kind, it is this request's
            return error


class EnginePool:
    """Workers that share one queue, over all calls and threads.

    Args:
        workers: one per device.
        stream: speak replies while they are decoded, in window after window; the workers have voices.
        max_waiting: the most requests that wait; see `OnlineEngine`.
    """

    def __init__(
        self, workers: Sequence[EngineWorker], *, stream: bool = False, max_waiting: int = MAX_WAITING
    ) -> None:
        self.workers = tuple(workers)
        self.stream = stream and all(worker.speaker is not None for worker in self.workers)
        self.online = OnlineEngine([worker.engine for worker in workers], max_waiting=max_waiting)
        self._interleaved = threading.Semaphore(max(1, len(self.workers)))

    def close(self) -> None:
        """Give up all requests, and end the threads of the engines and voices."""
        self.online.close(give_up=True)
        for worker in self.workers:
            worker.close()

    def answer(
        self,
        requests: Iterable[GenerationRequest],
        *,
        mode: str,
        sampling: Sampling | None = None,
        max_new_tokens: int | None = None,
    ) -> list[PoolReply]:
        """Return the replies in the order of the requests.

        Raises:
            As `Engine.reply`; the failure of the first request that failed, after all have ended.
        """
        answers = self.answer_each(requests, mode=mode, sampling=sampling, max_new_tokens=max_new_tokens)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return [answer for answer in answers if isinstance(answer, PoolReply)]

    def answer_each(
        self,
        requests: Iterable[GenerationRequest],
        *,
        mode: str,
        sampling: Sampling | None = None,
        max_new_tokens: int | None = None,
    ) -> list[PoolReply | Exception]:
        """Return the reply to each request, or its failure, in the order of the requests.

        Args:
            requests: each joins the queue as soon as it is there, so an iterator can read its audio while
                earlier ones are decoded.
            mode, sampling, max_new_tokens: as in `Engine.reply`.

        Raises:
            UsageError: a request lacks an input that the mode needs.
        """
        kind = self.workers[0].engine.kind(mode, sampling=sampling, max_new_tokens=max_new_tokens)
        if kind.mode.interleaved:
            return [self._outcome(partial(self._answer_interleaved, request, kind)) for request in requests]
        with PoolCall(self, kind) as call:
            for request in requests:
                call.submit(request)
            return call.answers()

    @staticmethod
    def _outcome(work: Callable[[], PoolReply]) -> PoolReply | Exception:
        try:
            return work()
        except RowError as error:
            return error

    def _answer_interleaved(self, request: GenerationRequest, kind: ReplyKind) -> PoolReply:
        """Return one reply, and the time until its first speech block was synthesised.

        One request per device at a time: its first sound must not wait for another request. The first block
        is synthesised alone as soon as it is complete. The wave starts with exactly that sound and fades into
        the whole reply, which is synthesised after the last token.
        """
        assert kind.rules.blocks is not None  # as in every interleaved mode
        size = kind.rules.blocks[1] - kind.rules.bos_eos_in_blocks
        codec: list[int] = []
        first: SimpleQueue[tuple[int, ...] | None] = SimpleQueue()

        def on_codec(ids: tuple[int, ...]) -> None:
            if len(codec) < size <= len(codec) + len(ids):
                first.put((*codec, *ids))
            codec.extend(ids)

        with self._interleaved:
            start = time.perf_counter()
            ticket = self.online.submit(request, kind=kind, on_codec=on_codec, wait=True)
            ticket.future.add_done_callback(lambda _: first.put(None))
            block, early, seconds = first.get(), None, None
            voice = self.workers[ticket.engine].voice
            if block is not None and voice is not None:
                (early,) = voice.synthesise([block], seeds=[request.seed])
                seconds = time.perf_counter() - start
            reply = ticket.result()
            if voice is None:
                return PoolReply(reply=reply)
            (whole,) = voice.synthesise([codec_ids(reply)], seeds=[request.seed])
        if whole is None:
            return PoolReply(reply=reply)
        wave = whole if early is None else splice(early, whole)
        seconds = time.perf_counter() - start if seconds is None else seconds
        return PoolReply(reply=reply, wave=wave, first_audio_seconds=seconds)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the notes of all workers."""
        return tuple(note for worker in self.workers for note in worker.notes)
