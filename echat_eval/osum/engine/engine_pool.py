"""Several engines, one per device, each with its vocoder: requests in, text and sound out.

All engines take requests from one queue, so a faster engine answers more of them. In fp32 a reply does not
depend on the engine that answers it; see `echat_eval.osum.decoding.loop`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from echat_eval.osum.engine.background_voice import BackgroundVoice, VoiceThread
from echat_eval.osum.prompts.modes import mode_named
from echat_eval.osum.voice.config import SPEECH_IDS
from echat_eval.records import Waveform

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.engine.engine import Engine
    from echat_eval.osum.engine.types import OsumReply, Token2Wav
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
        first_audio_seconds: from the request to the first sound, in interleaved modes.
    """

    reply: OsumReply
    wave: Waveform | None = None
    first_audio_seconds: float | None = None


class RequestQueue:
    """Hands out numbered requests to several threads, each once."""

    def __init__(self, requests: Sequence[GenerationRequest]) -> None:
        self.lock, self.remaining = threading.Lock(), iter(enumerate(requests))

    def __iter__(self) -> Iterator[tuple[int, GenerationRequest]]:
        return self

    def __next__(self) -> tuple[int, GenerationRequest]:
        with self.lock:
            return next(self.remaining)


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

    def answer(
        self,
        requests: Iterator[tuple[int, GenerationRequest]],
        *,
        mode: str,
        sampling: Sampling | None,
        max_new_tokens: int | None,
    ) -> dict[int, PoolReply]:
        """Return number -> reply of all requests that this worker takes from the iterator."""
        device = self.engine.model.device
        with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
            return self._answer(requests, mode=mode, sampling=sampling, max_new_tokens=max_new_tokens)

    def _answer(
        self,
        requests: Iterator[tuple[int, GenerationRequest]],
        *,
        mode: str,
        sampling: Sampling | None,
        max_new_tokens: int | None,
    ) -> dict[int, PoolReply]:
        if mode_named(mode).interleaved:
            # One at a time: the first sound of a request must not wait for another request.
            return {
                number: self.answer_interleaved(
                    request, mode=mode, sampling=sampling, max_new_tokens=max_new_tokens
                )
                for number, request in requests
            }
        thread = self.voice
        if thread is None:
            stream = self.engine.stream(requests, mode=mode, sampling=sampling, max_new_tokens=max_new_tokens)
            return {number: PoolReply(reply=reply) for number, reply in stream}
        seeds: dict[int, int] = {}
        replies: dict[int, OsumReply] = {}
        deferred: list[tuple[int, Sequence[int], int]] = []
        with BackgroundVoice(thread) as voice:
            for number, reply in self.engine.stream(
                record_seeds(requests, seeds), mode=mode, sampling=sampling, max_new_tokens=max_new_tokens
            ):
                replies[number] = reply
                spoken = (number, codec_ids(reply), seeds[number])
                if self.overlap:
                    voice.put([spoken])
                else:
                    deferred.append(spoken)
            voice.put(deferred)
            waves = voice.wait()
        return {number: PoolReply(reply=reply, wave=waves[number]) for number, reply in replies.items()}

    def answer_interleaved(
        self,
        request: GenerationRequest,
        *,
        mode: str,
        sampling: Sampling | None,
        max_new_tokens: int | None,
    ) -> PoolReply:
        """Return one reply, and the time until its first speech block was synthesised.

        The first block is synthesised alone as soon as it is complete. The wave starts with exactly that
        sound and fades into the whole reply, which is synthesised after the last token.
        """
        start, voice = time.perf_counter(), self.voice
        first_block: list[tuple[Waveform | None, float]] = []

        def on_first_block(number: int, speech: tuple[int, ...]) -> None:
            if voice is not None:
                (wave,) = voice.synthesise([speech], seeds=[request.seed])
                first_block.append((wave, time.perf_counter() - start))

        stream = self.engine.stream(
            [(0, request)],
            mode=mode,
            sampling=sampling,
            max_new_tokens=max_new_tokens,
            slots=1,
            on_first_block=on_first_block,
        )
        ((_, reply),) = stream
        if voice is None:
            return PoolReply(reply=reply)
        (whole,) = voice.synthesise([codec_ids(reply)], seeds=[request.seed])
        early, seconds = first_block[0] if first_block else (None, time.perf_counter() - start)
        if whole is None:
            return PoolReply(reply=reply)
        wave = whole if early is None else splice(early, whole)
        return PoolReply(reply=reply, wave=wave, first_audio_seconds=seconds)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return events to report to the user."""
        return (*self.engine.notes, *(self.speaker.notes if self.speaker is not None else ()))


def codec_ids(reply: OsumReply) -> tuple[int, ...]:
    """Return the ids that have a sound; profile `upstream` may leave a begin-or-end token among them."""
    return tuple(token for token in reply.speech if token < SPEECH_IDS)


def record_seeds(
    requests: Iterator[tuple[int, GenerationRequest]], seeds: dict[int, int]
) -> Iterator[tuple[int, GenerationRequest]]:
    """Yield the requests unchanged and store their seeds by number."""
    for number, request in requests:
        seeds[number] = request.seed
        yield number, request


def splice(early: Waveform, whole: Waveform) -> Waveform:
    """Return `whole` with its beginning replaced by `early`, cross-faded at the end of `early`."""
    count = min(len(early.samples), len(whole.samples))
    fade = min(count, int(FADE * whole.sample_rate))
    weight = np.concatenate([np.ones(count - fade), np.linspace(1, 0, fade)]).astype(np.float32)
    samples = np.array(whole.samples, dtype=np.float32)
    samples[:count] = weight * early.samples[:count] + (1 - weight) * samples[:count]
    return Waveform(samples=samples, sample_rate=whole.sample_rate)


class EnginePool:
    """Workers that share the requests of one call."""

    def __init__(self, workers: Sequence[EngineWorker]) -> None:
        self.workers = tuple(workers)

    def close(self) -> None:
        """End the threads of the voices."""
        for worker in self.workers:
            worker.close()

    def check(self, request: GenerationRequest, *, mode: str, max_new_tokens: int | None = None) -> None:
        """Check a request before anything is computed; see `Engine.check`."""
        self.workers[0].engine.check(request, mode=mode, max_new_tokens=max_new_tokens)

    def answer(
        self,
        requests: Sequence[GenerationRequest],
        *,
        mode: str,
        sampling: Sampling | None = None,
        max_new_tokens: int | None = None,
    ) -> list[PoolReply]:
        """Return the replies in the order of the requests.

        Raises:
            As `Engine.reply`; the failure of the first worker that failed, after all have stopped.
        """
        for request in requests:
            self.check(request, mode=mode, max_new_tokens=max_new_tokens)
        queue = RequestQueue(requests)
        if len(self.workers) == 1:
            parts = [
                self.workers[0].answer(queue, mode=mode, sampling=sampling, max_new_tokens=max_new_tokens)
            ]
        else:
            with ThreadPoolExecutor(len(self.workers), thread_name_prefix="osum") as threads:
                futures = [
                    threads.submit(
                        worker.answer, queue, mode=mode, sampling=sampling, max_new_tokens=max_new_tokens
                    )
                    for worker in self.workers
                ]
                parts = [future.result() for future in futures]
        replies = {number: reply for part in parts for number, reply in part.items()}
        return [replies[number] for number in range(len(requests))]

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the notes of all workers."""
        return tuple(note for worker in self.workers for note in worker.notes)
