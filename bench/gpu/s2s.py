"""The GPU bench's sections from voices in to waves out, through the engine as the package uses it."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from bench.gpu.voice import FAST, USUAL, make_speaker
from bench.osum.forced import Length, forced, make_waves
from bench.osum.sides import Words
from echat_eval.osum.decoding.cuda_graphs import Steps
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.engine.engine_pool import EnginePool, EngineWorker
from echat_eval.osum.engine.types import OsumReply
from echat_eval.osum.prompts.modes import GenerationRequest
from echat_eval.osum.voice.token2wav import Token2Wav

if TYPE_CHECKING:
    from bench.gpu.measure import Bench

#: Six text ids, eighteen codec ids, and so on: the text ends at the first number of ids; the
#: second number of codec ids follow.
STREAMED = Length(24 + 3, 24)


def length_of(bench: Bench, seed: int) -> Length:
    """Return a reply's length, half to one and a half of the scale's: slots fall free one after the other."""
    share = 0.5 + (7 * seed % 16) / 15
    reply = bench.scale.reply
    return Length(max(1, round(share * reply.text)), max(1, round(share * reply.codes)))


def make_pool(bench: Bench, kind: str, *, slots: int) -> EnginePool:
    """Return the engine with its voice, steps done in the fastest way that worked."""
    steps: Steps = bench.way if bench.cuda else "plain"
    engine = Engine(bench.model, Words(), slots=slots, steps=steps)
    return EnginePool([EngineWorker(engine=engine, speaker=make_speaker(bench, kind), overlap=bench.cuda)])


def s2s(bench: Bench, kind: str) -> dict[str, Any]:
    """Answer voices with voices: replies a second, memory, and the same without a voice.

    Args:
        bench: the model.
        kind: of `KINDS`, how token2wav is computed.
    """
    scale = bench.scale
    pool = make_pool(bench, kind, slots=scale.rows)
    engine = pool.workers[0].engine
    mute = EnginePool([EngineWorker(engine=engine)])
    waves = make_waves(scale.requests, seconds=scale.seconds)
    requests = [GenerationRequest(wave=wave, seed=seed) for seed, wave in enumerate(waves)]
    lengths = [length_of(bench, request.seed) for request in requests]
    max_new_tokens = max(*(length.ids for length in lengths), scale.most)
    made: dict[int, Any] = {}

    def answer(by: EnginePool, count: int) -> None:
        with forced(lambda seed: lengths[seed]):
            made.update(enumerate(by.answer(requests[:count], mode="s2s", max_new_tokens=max_new_tokens)))

    first = bench.seconds(lambda: answer(pool, min(scale.rows, len(requests))))
    bench.forget_peak()
    without = bench.seconds(lambda: answer(mute, len(requests)))
    language_model = bench.memory()
    bench.forget_peak()
    taken = bench.seconds(lambda: answer(pool, len(requests)))
    mute.close()
    pool.close()
    wrong = [n for n, answered in made.items() if len(answered.reply.ids) != lengths[n].ids]
    if wrong or len(made) != len(requests):
        raise RuntimeError(f"{len(made)} of {len(requests)} replies; of a wrong length: {wrong[:5]}")
    ids = sum(length.ids for length in lengths)
    return {
        "token2wav": kind,
        "steps": engine.steps,
        "slots": scale.rows,
        "replies": len(requests),
        "replies_per_second": len(requests) / taken,
        "seconds_per_reply": taken / len(requests),
        "without_a_voice": {
            "replies_per_second": len(requests) / without,
            "tokens_per_second": ids / without,
        }
        | language_model,
        "mean_text": statistics.mean(length.text for length in lengths),
        "mean_codes": statistics.mean(length.codes for length in lengths),
        "mean_prompt": statistics.mean(answered.reply.prompt_positions for answered in made.values()),
        "first_run_seconds": first,
        "notes": list(pool.notes),
    } | bench.memory()


def end_of(queue: SimpleQueue[tuple[int, ...] | None], _: Future[OsumReply]) -> None:
    """Mark the end of a reply's ids."""
    queue.put(None)


def first_audio(bench: Bench) -> dict[str, Any]:
    """One spoken reply at a time: seconds from the request to its first sound, in windows of tokens."""
    pool = make_pool(bench, FAST, slots=1)
    speaker = pool.workers[0].speaker
    assert isinstance(speaker, Token2Wav)  # as `make_speaker` returns
    wave = make_waves(1, seconds=bench.scale.seconds)[0]
    found: list[float] = []
    for number in range(bench.scale.repeats + 1):
        arrived: SimpleQueue[tuple[int, ...] | None] = SimpleQueue()
        stream = speaker.stream(seed=number)
        begin = time.monotonic()
        with forced(lambda _: bench.scale.reply):
            ticket = pool.online.submit(
                GenerationRequest(wave=wave, seed=number), mode="s2s", on_codec=arrived.put
            )
            ticket.future.add_done_callback(partial(end_of, arrived))
            pieces = 0
            while (codec := arrived.get()) is not None:
                made = stream.feed(codec)
                if made and not pieces:
                    found.append(time.monotonic() - begin)
                pieces += len(made)
            if (rest := stream.finish()) and not pieces:
                found.append(time.monotonic() - begin)
            pieces += len(rest)
            ticket.result()
    pool.close()
    return {
        "first_audio_seconds": statistics.median(found[1:]),
        "of_the_first_request": found[0],
        "pieces": pieces,
        "heard_seconds": bench.scale.seconds,
        "reply": [bench.scale.reply.text, bench.scale.reply.codes],
    } | bench.memory()


def streaming(bench: Bench) -> dict[str, Any]:
    """Text and speech in turn, one request: seconds to the first sound. Experimental in the package."""
    pool = make_pool(bench, USUAL, slots=1)
    wave = make_waves(1, seconds=bench.scale.seconds)[0]
    found = []
    for number in range(bench.scale.repeats + 1):
        with forced(lambda _: STREAMED):
            requests = [GenerationRequest(wave=wave, seed=number)]
            made = pool.answer(requests, mode="s2s-stream", max_new_tokens=STREAMED.ids + 4)
        found.append(made[0].first_audio_seconds)
    pool.close()
    later = [seconds for seconds in found[1:] if seconds is not None]
    if not later:
        raise RuntimeError("no reply had a first sound")
    return {
        "first_audio_seconds": statistics.median(later),
        "of_the_first_request": found[0],
        "heard_seconds": bench.scale.seconds,
        "ids": len(made[0].reply.ids),
    } | bench.memory()
