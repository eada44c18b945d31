"""The GPU bench's sections from voices in to waves out, through the engine as the package uses it."""

from __future__ import annotations

from typing import Any

from forced import Length, forced, make_waves
from gpu_bench import Bench
from gpu_voice import make_speaker
from osum_sides import Words

from echat_eval.osum.engine import Engine
from echat_eval.osum.modes import Ask


def length_of(bench: Bench, seed: int) -> Length:
    """Return a reply's length, half to one and a half of the scale's: slots fall free one after the other."""
    share = 0.5 + (7 * seed % 16) / 16
    reply = bench.scale.reply
    return Length(max(1, round(share * reply.text)), max(1, round(share * reply.codes)))


def s2s(bench: Bench) -> dict[str, Any]:
    """Answer voices with voices."""
    scale = bench.scale
    engine = Engine(bench.model, Words())
    speaker = make_speaker(bench, "float32")
    waves = make_waves(scale.requests, seconds=scale.seconds)
    asks = [Ask(wave=wave, seed=seed) for seed, wave in enumerate(waves)]
    lengths = [length_of(bench, ask.seed) for ask in asks]

    def answer() -> None:
        with forced(lambda seed: lengths[seed], bench.config):
            replies = engine.reply(asks, mode="s2s", cap=max(length.ids for length in lengths))
        speaker.synthesise([reply.speech for reply in replies], seeds=range(len(replies)))

    answer()
    bench.forget_peak()
    taken = bench.seconds(answer)
    return {
        "replies": len(asks),
        "replies_per_second": len(asks) / taken,
        "mean_text": sum(length.text for length in lengths) / len(asks),
        "mean_codes": sum(length.codes for length in lengths) / len(asks),
    } | bench.memory()


def streaming(bench: Bench) -> dict[str, Any]:
    return {"skipped": "todo"}
