"""Engines side by side, one a device, with their voices: requests in, texts and sound out.

Requests are taken from one queue, so a faster or luckier engine answers more of them; which one answers does
not change a reply.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from echat_eval.osum.engine.background_voice import Overlap
from echat_eval.osum.prompts.modes import mode_named
from echat_eval.osum.voice.config import SPEECH_IDS
from echat_eval.records import Waveform

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.engine.engine import Engine, OsumReply, Token2Wav
    from echat_eval.osum.prompts.modes import GenerationRequest

__all__ = ["EnginePool", "EngineWorker", "PoolReply", "splice"]

#: Seconds over which an early first block passes into the whole reply.
FADE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReply:
    """A reply and its sound.

    Attributes:
        reply: text and speech tokens.
        wave: None without a voice or without speech tokens.
        first_audio_seconds: from the request to the first sound, in modes that speak while they write.
    """

    reply: OsumReply
    wave: Waveform | None = None
    first_audio_seconds: float | None = None


class Queue:
    """Hands out numbered requests to several threads, each once."""

    def __init__(self, asks: Sequence[GenerationRequest]) -> None:
        self.lock, self.left = threading.Lock(), iter(enumerate(asks))

    def __iter__(self) -> Iterator[tuple[int, GenerationRequest]]:
        return self

    def __next__(self) -> tuple[int, GenerationRequest]:
        with self.lock:
            return next(self.left)


@dataclass(slots=True, kw_only=True, eq=False)
class EngineWorker:
    """One engine, and who speaks for it.

    Attributes:
        engine: on its device.
        speaker: on the same device; None for text and speech tokens.
        overlap: speak finished replies while others are decoded; otherwise when all have ended.
    """

    engine: Engine
    speaker: Token2Wav | None = None
    overlap: bool = False

    def answer(
        self,
        asks: Iterator[tuple[int, GenerationRequest]],
        *,
        mode: str,
        sampling: Sampling | None,
        cap: int | None,
    ) -> dict[int, PoolReply]:
        """Return number -> answer of all requests this worker gets hold of."""
        device = self.engine.model.device
        with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
            return self._answer(asks, mode=mode, sampling=sampling, cap=cap)

    def _answer(
        self,
        asks: Iterator[tuple[int, GenerationRequest]],
        *,
        mode: str,
        sampling: Sampling | None,
        cap: int | None,
    ) -> dict[int, PoolReply]:
        if mode_named(mode).in_turn:
            # One at a time: the first sound of a request must not wait for another's.
            return {n: self.answer_in_turn(ask, mode=mode, sampling=sampling, cap=cap) for n, ask in asks}
        if self.speaker is None:
            made = self.engine.stream(asks, mode=mode, sampling=sampling, cap=cap)
            return {number: PoolReply(reply=reply) for number, reply in made}
        seeds: dict[int, int] = {}
        replies: dict[int, OsumReply] = {}
        late: list[int] = []
        with Overlap(self.speaker, self.engine.model.device) as voice:
            noted = noting(asks, seeds)
            for number, reply in self.engine.stream(noted, mode=mode, sampling=sampling, cap=cap):
                replies[number] = reply
                if self.overlap:
                    voice.put(number, codec(reply), seed=seeds[number])
                else:
                    late.append(number)
            if late:
                spoken = self.speaker.synthesise(
                    [codec(replies[n]) for n in late], seeds=[seeds[n] for n in late]
                )
                voice.waves |= dict(zip(late, spoken, strict=True))
            waves = voice.wait()
        return {number: PoolReply(reply=reply, wave=waves[number]) for number, reply in replies.items()}

    def answer_in_turn(
        self, ask: GenerationRequest, *, mode: str, sampling: Sampling | None, cap: int | None
    ) -> PoolReply:
        """Return one answer, and when its first block of speech was sound.

        The first block is spoken as soon as it is there, alone; the reply begins with that very sound and
        passes into the whole, which is spoken when the last token is there.
        """
        begin, speaker = time.perf_counter(), self.speaker
        first: list[tuple[Waveform | None, float]] = []

        def begun(number: int, speech: tuple[int, ...]) -> None:
            if speaker is not None:
                (wave,) = speaker.synthesise([speech], seeds=[ask.seed])
                first.append((wave, time.perf_counter() - begin))

        made = self.engine.stream([(0, ask)], mode=mode, sampling=sampling, cap=cap, slots=1, begun=begun)
        ((_, reply),) = made
        if speaker is None:
            return PoolReply(reply=reply)
        (whole,) = speaker.synthesise([codec(reply)], seeds=[ask.seed])
        early, seconds = first[0] if first else (None, time.perf_counter() - begin)
        if whole is None:
            return PoolReply(reply=reply)
        wave = whole if early is None else splice(early, whole)
        return PoolReply(reply=reply, wave=wave, first_audio_seconds=seconds)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the results should know."""
        return (*self.engine.notes, *getattr(self.speaker, "notes", ()))


def codec(reply: OsumReply) -> tuple[int, ...]:
    """Return the ids that can be spoken; profile `upstream` leaves a stray begin-or-end token among them."""
    return tuple(token for token in reply.speech if token < SPEECH_IDS)


def noting(
    asks: Iterator[tuple[int, GenerationRequest]], seeds: dict[int, int]
) -> Iterator[tuple[int, GenerationRequest]]:
    """Pass requests on, and write down their seeds."""
    for number, ask in asks:
        seeds[number] = ask.seed
        yield number, ask


def splice(early: Waveform, whole: Waveform) -> Waveform:
    """Return `whole` with its beginning replaced by `early`, one fading into the other at the end of it."""
    count = min(len(early.samples), len(whole.samples))
    fade = min(count, int(FADE * whole.sample_rate))
    share = np.concatenate([np.ones(count - fade), np.linspace(1, 0, fade)]).astype(np.float32)
    samples = np.array(whole.samples, dtype=np.float32)
    samples[:count] = share * early.samples[:count] + (1 - share) * samples[:count]
    return Waveform(samples=samples, sample_rate=whole.sample_rate)


class EnginePool:
    """Workers that share the requests of one call."""

    def __init__(self, workers: Sequence[EngineWorker]) -> None:
        self.workers = tuple(workers)

    def answer(
        self,
        asks: Sequence[GenerationRequest],
        *,
        mode: str,
        sampling: Sampling | None = None,
        cap: int | None = None,
    ) -> list[PoolReply]:
        """Return the answers in the order of the requests.

        Raises:
            As `Engine.reply`; the first worker's failure, when all have stopped.
        """
        for ask in asks:
            self.workers[0].engine.check(ask)
        queue = Queue(asks)
        if len(self.workers) == 1:
            made = [self.workers[0].answer(queue, mode=mode, sampling=sampling, cap=cap)]
        else:
            with ThreadPoolExecutor(len(self.workers), thread_name_prefix="osum") as pool:
                turns = [
                    pool.submit(worker.answer, queue, mode=mode, sampling=sampling, cap=cap)
                    for worker in self.workers
                ]
                made = [turn.result() for turn in turns]
        answers = {number: answer for part in made for number, answer in part.items()}
        return [answers[number] for number in range(len(asks))]

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the results should know, of all workers."""
        return tuple(note for worker in self.workers for note in worker.notes)
