"""Sections for the first minutes on a GPU: the kernels chosen, the parts of a step, the claims that hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right

from bench.osum.forced import make_waves
from bench.osum.sides import Words
from echat_eval.errors import SystemFailure
from echat_eval.osum.decoding.cuda_graphs import warm_up
from echat_eval.osum.decoding.row_states import RowStates
from echat_eval.osum.decoding.step import Heads, advance, choose_fixed
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.model.kv_cache import KVCache
from echat_eval.osum.prompts.modes import GenerationRequest, mode_named, rules_of

if TYPE_CHECKING:
    from bench.gpu.measure import Bench

BACKENDS = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION)


def versions(bench: Bench) -> dict[str, Any]:
    """Versions, and what of the environment changes torch."""
    names = ("PYTORCH", "TORCH", "CUDA", "NVIDIA", "TRITON")
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if bench.cuda else None,  # type: ignore[no-untyped-call]
        "environment": {name: value for name, value in os.environ.items() if name.startswith(names)},
    }


def milliseconds(bench: Bench, work: Callable[[], Any], *, times: int = 20) -> float:
    """Return the mean of several runs after three that do not count."""
    for _ in range(3):
        work()
    return 1000 * bench.seconds(lambda: [work() for _ in range(times)]) / times


def attention(bench: Bench) -> dict[str, Any]:
    """Each kind of attention by backend: its time, and that of three shapes never seen before."""
    c, found = bench.config.decoder, {}
    group, rows = c.heads // c.kv_heads, bench.scale.rows
    short = bench.scale.prompt // 4

    def tensor(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=bench.device, dtype=bench.scale.dtype)

    def case(
        batch: int, new: int, width: int, masked: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
        q = tensor(batch, c.kv_heads, group * new, c.head_dim)
        k, v = (tensor(batch, c.kv_heads, width, c.head_dim) for _ in range(2))
        mask = torch.zeros(batch, 1, group * new, width, device=bench.device, dtype=bench.scale.dtype)
        return q, k, v, mask if masked else None

    cases: dict[str, tuple[int, int, int, bool]] = {
        "decode, one row": (1, 1, 512, True),
        "decode, all rows": (rows, 1, 512, True),
        "prompts behind a prefix": (4, short, short + 50, True),
        "prompts": (4, short, short, False),
    }

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    for name, (batch, new, width, masked) in cases.items():
        given = case(batch, new, width, masked)
        call = partial(attend, *given)
        here: dict[str, Any] = {"milliseconds": milliseconds(bench, call)}
        if bench.cuda:
            here["chosen"] = int(torch._fused_sdp_choice(*given[:3], attn_mask=given[3]))
            for backend in BACKENDS:
                try:
                    with sdpa_kernel(backend):
                        here[backend.name] = milliseconds(bench, call)
                except RuntimeError as error:
                    here[backend.name] = str(error).splitlines()[0][:80]
        fresh = [case(batch, new + bool(new > 1) * n, width + 8 * n, masked) for n in (1, 2, 3)]
        here["new_shapes_milliseconds"] = [1000 * bench.seconds(partial(attend, *one)) for one in fresh]
        found[name] = here
    q = tensor(4, c.heads, short, c.head_dim)
    k, v = (tensor(4, c.heads, short + 50, c.head_dim) for _ in range(2))
    lower = partial(attend, q, k, v, causal_lower_right(short, short + 50))
    found["prompts behind a prefix, lower right"] = {"milliseconds": milliseconds(bench, lower)}
    return found


def rows_in_speech(bench: Bench, rows: int) -> tuple[RowStates, KVCache]:
    """Return rows that speak, 500 positions into their replies."""
    like = torch.zeros(0, dtype=bench.model.dtype, device=bench.device)
    rules = rules_of(mode_named("s2s"), "fixed", max_new_tokens=bench.scale.most)
    states = RowStates(rules, mode_named("s2s").sampling, bench.config, rows=rows, like=like)
    numbers = torch.arange(rows, device=bench.device)
    hidden = torch.randn(rows, bench.config.decoder.width, dtype=like.dtype, device=bench.device)
    states.start(numbers, hidden, torch.full_like(numbers, 500), list(range(rows)))
    states.decoding.speech.fill_(True)
    cache = KVCache.allocate(bench.config.decoder, rows=rows, max_positions=1025, like=like)
    return states, cache


def by_blocks(decoder: Any, states: RowStates, cache: KVCache) -> None:
    """Run the layers with flex attention."""
    decoder.flex = True
    try:
        advance(decoder, states, cache, width=512)
    finally:
        decoder.flex = False


@torch.inference_mode()
def step_parts(bench: Bench) -> dict[str, Any]:
    """A captured step taken apart: layers by width, and draws by the rows that write text."""
    found: dict[str, Any] = {}
    decoder = bench.model.decoder
    for rows in (1, bench.scale.rows):
        states, cache = rows_in_speech(bench, rows)
        capture = bench.capture_graph(bench.way) or (lambda step, state: step)
        parts: dict[str, Callable[[], None]] = {
            f"layers, {width} positions": partial(advance, decoder, states, cache, width=width)
            for width in (256, 512, 1024)
        }
        parts["layers by blocks, 512 positions"] = partial(by_blocks, decoder, states, cache)
        for text in sorted({0, min(2, rows), rows}):
            draw = decoder.compiled.draw or choose_fixed
            parts[f"draw, {text} rows write text"] = partial(draw, decoder, states, Heads(text, speech=True))
        here: dict[str, Any] = {}
        for name, part in parts.items():
            try:
                here[name] = milliseconds(bench, capture(part, states.tensors()))
            except Exception as error:  # noqa: BLE001 - a compiler may raise anything; the other parts follow
                here[name] = f"{type(error).__name__}: {str(error)[:160]}"
        found[f"{rows} rows"] = here
    return found


@torch.inference_mode()
def kernels(bench: Bench) -> dict[str, Any]:
    """The kernels that take most of an uncaptured step of all rows."""
    from torch.profiler import ProfilerActivity, profile

    states, cache = rows_in_speech(bench, bench.scale.rows)
    decoder = bench.model.decoder

    def step() -> None:
        (decoder.compiled.draw or choose_fixed)(decoder, states, Heads(2, speech=True))
        advance(decoder, states, cache, width=512)

    warm_up(step, states.tensors())
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * bench.cuda
    with profile(activities=activities) as profiled:
        step()
        bench.synchronise()
    measure = "self_device_time_total" if bench.cuda else "self_cpu_time_total"
    events = sorted(profiled.key_averages(), key=lambda event: -float(getattr(event, measure)))
    return {
        "kernels": [
            [event.key[:70], event.count, round(float(getattr(event, measure)) / 1000, 3)]
            for event in events[:30]
        ]
    }


def invariance(bench: Bench) -> dict[str, Any]:
    """The share of replies that are the same alone and among others, in the type that the GPU uses."""
    count, limit = (12 if bench.cuda else 4), min(64, bench.scale.most)
    waves = make_waves(count, seconds=min(2.0, bench.scale.seconds))
    requests = [GenerationRequest(wave=wave, seed=seed) for seed, wave in enumerate(waves)]

    def replies(slots: int, together: int) -> list[tuple[int, ...]]:
        engine = Engine(bench.model, Words(), slots=slots, steps=bench.way)
        made: list[tuple[int, ...]] = []
        for first in range(0, count, together):
            batch = requests[first : first + together]
            made += [reply.ids for reply in engine.reply(batch, mode="s2s", max_new_tokens=limit)]
        return made

    alone = replies(1, 1)
    found: dict[str, Any] = {"dtype": str(bench.scale.dtype), "replies": count, "ids": limit}
    for slots in (count // 2, count):
        among = replies(slots, count)
        found[f"{slots} slots"] = sum(a == b for a, b in zip(alone, among, strict=True)) / count
    # The same slots again: equal requests, settings and order.
    found["repeated"] = sum(a == b for a, b in zip(among, replies(count, count), strict=True)) / count
    return found | {"equal_share": min(found[f"{count // 2} slots"], found[f"{count} slots"])}


def full_memory(bench: Bench) -> dict[str, Any]:
    """A memory that is really full: the slots halve and the replies come, or one line states why not."""
    if not bench.cuda:
        return {"skipped": "fills the memory of a GPU"}
    engine = Engine(bench.model, Words(), slots=bench.scale.rows, steps="plain")
    waves = make_waves(bench.scale.rows, seconds=bench.scale.seconds)
    requests = [GenerationRequest(wave=wave, seed=seed) for seed, wave in enumerate(waves)]
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    ballast = torch.empty(max(0, free - (1 << 30)), dtype=torch.uint8, device=bench.device)
    try:
        made = engine.reply(requests, mode="s2s", max_new_tokens=256)
        ended: str = f"{len(made)} replies"
    except SystemFailure as failure:
        ended = str(failure)
    finally:
        del ballast
        torch.cuda.empty_cache()
    return {"ended": ended, "slots_left": engine.slots, "notes": list(engine.notes)}
