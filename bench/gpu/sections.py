"""Sections of the GPU bench for the language model: each function is a section and returns numbers.

Nothing here decides whether there is time: `osum_gpu.py` does. Seconds are wall seconds between two
synchronisations of the device, medians of the repeats.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from bench.osum.bounds import Head, bound, card_named
from bench.osum.forced import NEVER, Length, forced, make_waves
from echat_eval.osum.decoding.cuda_graphs import Steps
from echat_eval.osum.decoding.jobs import GenerationResult, Job
from echat_eval.osum.decoding.loop import DecodeLoop, ListedJobs
from echat_eval.osum.decoding.state import DecodingRules
from echat_eval.osum.model.decoder import CompiledParts
from echat_eval.osum.prompts.modes import mode_named

if TYPE_CHECKING:
    from bench.gpu.measure import Bench


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


def one_phase(head: Head, new: int, most: int) -> tuple[DecodingRules, Length]:
    """Return the rules of a spoken reply, kept to one of its phases, and the length that makes `new` ids."""
    rules = DecodingRules(max_new_tokens=most, age_gate=True, block_repeats=True)
    if head == "text":
        return replace(rules, ends_with_text=True), Length(new - 1, NEVER)
    return replace(rules, starts_in_speech=True, bos_eos_count=1), Length(-NEVER, NEVER + new - 3)


def decode(bench: Bench, *, rows: int, head: Head, new: int, way: Steps) -> list[tuple[int, ...]]:
    """Decode `new` ids of one phase after random prompts; return the rows' ids."""
    model, scale = bench.model, bench.scale
    if way != "compiled":
        model.decoder.compiled = CompiledParts()
    capture_graph = bench.capture_graph(way)
    generator = torch.Generator(bench.device).manual_seed(1)
    width = bench.config.decoder.width
    prompts = [
        0.05 * torch.randn(scale.prompt, width, generator=generator, device=bench.device, dtype=scale.dtype)
        for _ in range(rows)
    ]
    jobs = ListedJobs(Job(number=n, prompt=prompt, seed=n) for n, prompt in enumerate(prompts))
    rules, length = one_phase(head, new, scale.most)
    loop = DecodeLoop(
        model,
        rules=rules,
        sampling=mode_named("s2s").sampling,
        slots=rows,
        capture_graph=capture_graph,
    )
    with forced(lambda _: length):
        made = {one.job.number: one.ids for one in loop.run(jobs) if isinstance(one, GenerationResult)}
    if loop.notes or {len(ids) for ids in made.values()} != {new}:
        raise RuntimeError(f"not {new} ids a row: {loop.notes} {sorted(len(ids) for ids in made.values())}")
    return [made[number] for number in range(rows)]


def steps(bench: Bench, way: Steps) -> dict[str, Any]:
    """One way of doing steps at batch 1: does it work, how fast, and are its ids those of plain steps?"""
    rates = decode_rate(bench, rows=1, head="speech", way=way)
    ids = decode(bench, rows=1, head="speech", new=bench.scale.long, way=way)[0]
    plain = decode(bench, rows=1, head="speech", new=bench.scale.long, way="plain")[0]
    same = [a == b for a, b in zip(ids, plain, strict=True)]
    return rates | {"ids_like_plain": same.index(False) if False in same else len(same), "of": len(same)}


def decode_rate(bench: Bench, *, rows: int, head: Head, way: Steps) -> dict[str, Any]:
    """Tokens a second of decoding alone: what a long run takes more than a short one, by its further ids."""
    scale = bench.scale
    warm = bench.seconds(lambda: decode(bench, rows=rows, head=head, new=scale.long, way=way))
    decode(bench, rows=rows, head=head, new=scale.short, way=way)
    taken = {
        new: statistics.median(
            bench.seconds(partial(decode, bench, rows=rows, head=head, new=new, way=way))
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
        taken = bench.median(partial(bench.model.embed_audio, waves))
        audio = sum(len(wave) for wave in waves) / 16_000
        found[f"batch {rows}"] = {
            "seconds_per_request": taken / rows,
            "audio_seconds_per_second": audio / taken,
        } | bench.memory()
    return found
