"""What the GPU bench measures, one function a section: each takes the bench and returns numbers.

Nothing here decides whether there is time: `osum_gpu.py` does. Seconds are wall seconds between two
synchronisations of the device, medians of the repeats.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from forced import NEVER, Length, forced, make_waves
from osum_bounds import Card, Head, bound, card_named
from osum_sides import CONFIGS, PublicModel, Words

from echat_eval.osum.config import OsumConfig
from echat_eval.osum.loop import Job, Loop
from echat_eval.osum.modes import Ask, mode_named
from echat_eval.osum.names import TIED, official_shapes
from echat_eval.osum.phase import Rules
from echat_eval.osum.record import compile_layers, recorder
from echat_eval.osum.weights import build, join

#: Ways to do a step, from the safest to the fastest.
WAYS = ("plain", "recorded", "compiled")


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        config: of CONFIGS.
        dtype: computed in.
        rows: of the large batch.
        prompt: positions of a prompt before decoding alone is timed.
        short, long: ids of the two runs whose difference is a number of steps without their beginning.
        most: new ids that a reply may have, as in use: it decides the size of the cache.
        reply: of the S2S section, on average.
        requests: of the S2S section.
        seconds: of a voice that is heard.
        repeats: of every measurement.
        copied: bytes of the copy that measures the bandwidth.
    """

    config: str
    dtype: torch.dtype
    rows: int
    prompt: int
    short: int
    long: int
    most: int
    reply: Length
    requests: int
    seconds: float
    repeats: int
    copied: int


SCALES = {
    "full": Scale(
        config="full", dtype=torch.bfloat16, rows=64, prompt=544, short=128, long=384, most=2000, repeats=3,
        reply=Length(100, 400), requests=192, seconds=10.0, copied=1 << 32,
    ),
    "tiny": Scale(
        config="tiny", dtype=torch.float32, rows=4, prompt=20, short=4, long=12, most=40, repeats=1,
        reply=Length(4, 12), requests=6, seconds=0.5, copied=1 << 22,
    ),
}  # fmt: skip


def random_weights(
    config: OsumConfig, *, device: str, dtype: torch.dtype, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Return all official tensors, made on the device; spreads as in `echat_eval.osum.tiny`."""
    generator = torch.Generator(device).manual_seed(seed)
    made: dict[str, torch.Tensor] = {}
    for name, shape in official_shapes(config).items():
        if name in TIED[1:]:
            made[name] = made[TIED[0]]
            continue
        values = torch.randn(shape, generator=generator, device=device, dtype=dtype)
        if name.endswith("bias"):
            values *= 0.1
        elif len(shape) == 1:
            values = values.mul_(0.1).add_(1)
        else:
            small = name in (TIED[0], "speech_token_emded.weight")
            values *= 0.05 if small else 1 / math.sqrt(math.prod(shape[1:]))
        made[name] = values
    return made


class Bench:
    """The device, the model on it, and how steps are done.

    Args:
        scale: how much is measured.
        device: a torch device.
        results: what earlier sections found, by section.
        public: the public `OSUM-EChat` folder, empty without.
    """

    def __init__(self, scale: Scale, device: str, results: dict[str, Any], *, public: str) -> None:
        self.scale, self.device, self.results, self.public = scale, device, results, public
        self.config = CONFIGS[scale.config]
        self.cuda = torch.device(device).type == "cuda"

    @cached_property
    def model(self) -> Any:
        tensors = random_weights(self.config, device=self.device, dtype=self.scale.dtype)
        return build(join(tensors, self.config, where="bench"), self.config)

    @property
    def way(self) -> str:
        """The fastest way of doing steps that worked; "plain" before any was tried."""
        rates = {way: self.results.get(f"steps {way}", {}).get("tokens_per_second", 0) for way in WAYS}
        return max(rates, key=lambda way: rates[way])

    @property
    def card(self) -> Card:
        """The card by its maker's numbers; where it is unknown, by those measured."""
        found = self.results.get("card", {})
        known = card_named(str(found.get("name", "")))
        measured = Card(
            "this device, as measured", found.get("copy_bytes_per_second", 1.0), found.get("flops", 1.0)
        )
        return known or measured

    def record(self, way: str) -> Any:
        """Return how to record steps; on a CPU fixed steps are done as they are."""
        if way == "plain":
            return None
        return recorder(way, torch.device(self.device)) if self.cuda else lambda step, state: step

    def synchronise(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], Any]) -> float:
        """Return how long some work takes, once."""
        self.synchronise()
        begin = time.monotonic()
        work()
        self.synchronise()
        return time.monotonic() - begin

    def median(self, work: Callable[[], Any]) -> float:
        """Return the median over the scale's repeats, after one run that does not count."""
        work()
        return statistics.median(self.seconds(work) for _ in range(self.scale.repeats))

    def forget_peak(self) -> None:
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def memory(self) -> dict[str, float]:
        """Return peak and present gigabytes (1e9) of the device; nothing on a CPU."""
        if not self.cuda:
            return {}
        peak, now = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
        reserved = torch.cuda.max_memory_reserved()
        return {"peak_gb": peak / 1e9, "reserved_gb": reserved / 1e9, "resident_gb": now / 1e9}


def card(bench: Bench) -> dict[str, Any]:
    """The device: what it is, how fast it copies and multiplies."""
    device, size = bench.device, bench.scale.copied
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    copying = bench.median(lambda: target.copy_(source))
    side = 8192 if bench.cuda else 256
    a = torch.randn(side, side, device=device, dtype=bench.scale.dtype)
    multiplying = bench.median(lambda: a @ a)
    found: dict[str, Any] = {
        "name": torch.cuda.get_device_name() if bench.cuda else "cpu",
        "copy_bytes_per_second": 2 * size / copying,
        "flops": 2 * side**3 / multiplying,
    }
    if bench.cuda:
        found["memory_gb"] = torch.cuda.get_device_properties(0).total_memory / 1e9
        found["cuda"] = torch.version.cuda
    known = card_named(found["name"])
    return found | {
        "nominal": None if known is None else {"bandwidth": known.bandwidth, "flops": known.flops}
    }


def one_phase(head: Head, new: int, most: int) -> tuple[Rules, Length]:
    """Return the rules of a spoken reply, kept to one of its phases, and the length that makes `new` ids."""
    rules = Rules(max_new=most, age_gate=True, block_repeats=True)
    if head == "text":
        return replace(rules, ends_with_text=True), Length(new - 1, NEVER)
    return replace(rules, starts_in_speech=True, edges=1), Length(-NEVER, NEVER + new - 3)


def decode(bench: Bench, *, rows: int, head: Head, new: int, way: str) -> list[tuple[int, ...]]:
    """Decode `new` ids of one phase after random prompts; return the rows' ids."""
    model, scale = bench.model, bench.scale
    record = bench.record(way)
    if way == "compiled" and not model.decoder.compiled:
        compile_layers(model.decoder)
    elif way != "compiled":
        model.decoder.compiled = []
    generator = torch.Generator(bench.device).manual_seed(1)
    width = bench.config.decoder.width
    prompts = [
        0.05 * torch.randn(scale.prompt, width, generator=generator, device=bench.device, dtype=scale.dtype)
        for _ in range(rows)
    ]
    jobs = iter([Job(number=n, prompt=prompt, seed=n) for n, prompt in enumerate(prompts)])

    def take(count: int) -> Sequence[Job]:
        return [job for job, _ in zip(jobs, range(count), strict=False)]

    rules, length = one_phase(head, new, scale.most)
    loop = Loop(model, rules=rules, sampling=mode_named("s2s").sampling, slots=rows, record=record)
    with forced(lambda _: length, bench.config):
        made = {one.job.number: one.ids for one in loop.run(take)}
    if loop.notes or {len(ids) for ids in made.values()} != {new}:
        raise RuntimeError(f"not {new} ids a row: {loop.notes} {sorted(len(ids) for ids in made.values())}")
    return [made[number] for number in range(rows)]


def steps(bench: Bench, way: str) -> dict[str, Any]:
    """One way of doing steps, batch 1, speech: does it work, how fast, and are its ids those of plain steps?"""
    rates = decode_rate(bench, rows=1, head="speech", way=way)
    ids = decode(bench, rows=1, head="speech", new=bench.scale.long, way=way)[0]
    plain = decode(bench, rows=1, head="speech", new=bench.scale.long, way="plain")[0]
    same = [a == b for a, b in zip(ids, plain, strict=True)]
    return rates | {"ids_like_plain": same.index(False) if False in same else len(same), "of": len(same)}


def decode_rate(bench: Bench, *, rows: int, head: Head, way: str) -> dict[str, Any]:
    """Tokens a second of decoding alone: what a long run takes more than a short one, over its further steps."""
    scale = bench.scale
    warm = bench.seconds(lambda: decode(bench, rows=rows, head=head, new=scale.long, way=way))
    decode(bench, rows=rows, head=head, new=scale.short, way=way)
    taken = {
        new: statistics.median(
            bench.seconds(lambda new=new: decode(bench, rows=rows, head=head, new=new, way=way))
            for _ in range(scale.repeats)
        )
        for new in (scale.short, scale.long)
    }
    further = scale.long - scale.short
    step = (taken[scale.long] - taken[scale.short]) / further
    context = scale.prompt + (scale.short + scale.long) / 2
    shared: dict[str, Any] = {"rows": rows, "context": context, "head": head}
    given = shared | {"itemsize": torch.finfo(scale.dtype).bits // 8}
    measured = bench.results.get("card", {})
    nominal = bound(bench.config, **given, bandwidth=bench.card.bandwidth, flops=bench.card.flops)
    copying = bound(
        bench.config,
        **given,
        bandwidth=measured.get("copy_bytes_per_second", 1.0),
        flops=measured.get("flops", 1.0),
    )
    if step <= 0:
        raise RuntimeError(f"a run of {scale.long} ids took no longer than one of {scale.short}: {taken}")
    rate = rows / step
    return shared | {
        "way": way,
        "tokens_per_second": rate,
        "step_milliseconds": 1000 * step,
        "bound_nominal": nominal,
        "bound_measured": copying,
        "share_of_nominal": rate / nominal,
        "share_of_measured": rate / copying,
        "first_run_seconds": warm,  # with compiling and recording
        "whole_run_tokens_per_second": rows * scale.long / taken[scale.long],
    }


def decode_section(rows: int | None, head: Head) -> Callable[[Bench], dict[str, Any]]:
    def section(bench: Bench) -> dict[str, Any]:
        bench.forget_peak()
        rate = decode_rate(bench, rows=rows or bench.scale.rows, head=head, way=bench.way)
        return rate | bench.memory()

    return section


def hear(bench: Bench) -> dict[str, Any]:
    """Features, encoder and adapter of one voice and of a batch."""
    found = {}
    for rows in (1, bench.scale.rows):
        waves = make_waves(rows, seconds=bench.scale.seconds)
        bench.forget_peak()
        taken = bench.median(lambda waves=waves: bench.model.hear(waves))
        audio = sum(len(wave) for wave in waves) / 16_000
        found[f"batch {rows}"] = {
            "seconds_per_request": taken / rows,
            "audio_seconds_per_second": audio / taken,
        } | bench.memory()
    return found
