"""Budgets of kernel launches at full size, counted without a GPU: on the meta device, and by the compiler."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from echat_eval.osum.decoding.row_states import RowStates
from echat_eval.osum.decoding.step import Heads, advance, choose_fixed
from echat_eval.osum.model.config import FULL, TINY_REAL_VOCABULARY, OsumConfig
from echat_eval.osum.model.decoder import Decoder
from echat_eval.osum.model.kv_cache import KVCache
from echat_eval.osum.prompts.modes import MODES, rules_of

#: Operations that launch nothing.
VIEWS = re.compile(
    r"view|expand|permute|transpose|slice\.|squeeze|select\.|split|as_strided|detach|aten\.t\.|alias|chunk|"
    r"narrow|aten\.empty|unbind|lift_fresh"
)
#: Launches of one refill by separate operations, before layers for prompts were compiled.
REFILL_OF_OLD = 1537


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that launch a kernel, and those that would read from the device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        self.reads: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = str(function), kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        on_device = (
            any(tensor.device.type == "meta" for tensor in tensors) or kwargs.get("device") is not None
        )
        if on_device and not VIEWS.search(name):
            self.count += 1
        if re.search(r"_local_scalar_dense|nonzero|aten\.item|masked_select|aten\.equal", name):
            self.reads.append(name)
        return function(*args, **kwargs)


def counted(work: Callable[[], Any]) -> int:
    launches = Launches()
    with torch.inference_mode(), launches:
        work()
    assert not launches.reads
    return launches.count


def decoder_of(config: OsumConfig, device: str) -> Decoder:
    with torch.device(device):
        return Decoder(config).eval().requires_grad_(False)


def rows_of(config: OsumConfig, rows: int, device: str, mode: str = "s2s") -> tuple[RowStates, KVCache]:
    like = torch.zeros(0, device=device)
    states = RowStates(rules_of(MODES[mode], "fixed"), MODES[mode].sampling, config, rows=rows, like=like)
    return states, KVCache.allocate(config.decoder, rows=rows, max_positions=769, like=like)


def test_launches_of_separate_operations() -> None:
    """What a step costs on the host without a compiler; reads of the device would stall it."""
    decoder = decoder_of(FULL, "meta").bfloat16()
    states, cache = rows_of(FULL, 64, "meta")
    for tensors in (cache.keys, cache.values):
        tensors[:] = [tensor.bfloat16() for tensor in tensors]
    states.hidden = states.hidden.bfloat16()
    prefix = KVCache.allocate(FULL.decoder, rows=1, max_positions=50, like=cache.keys[0][:0, 0, 0, 0])
    x, rows = (
        torch.empty(4, 121, FULL.decoder.width, device="meta", dtype=torch.bfloat16),
        torch.arange(4, device="meta"),
    )
    text = counted(lambda: choose_fixed(decoder, states, Heads(text_rows=8, speech=True)))
    speech = counted(lambda: choose_fixed(decoder, states, Heads(text_rows=0, speech=True)))
    layers = counted(lambda: advance(decoder, states, cache, width=512))
    refill = counted(lambda: decoder.read(x, cache, rows=rows, prefix=prefix))
    # Counted when this was written: 83, 136, 1262 and 1323.
    assert speech <= 90
    assert text <= 150
    assert layers <= 1300
    assert refill <= 1400 < REFILL_OF_OLD


def kernels_of(function: Callable[..., Any], *arguments: Any) -> int:
    """Return the kernels and library calls of a function compiled by inductor, without running its code."""
    from torch._inductor.utils import run_and_get_code

    torch._dynamo.reset()
    with torch.inference_mode():
        _, sources = run_and_get_code(torch.compile(function, fullgraph=True, dynamic=True), *arguments)
    torch._dynamo.reset()
    source = "\n".join(sources)
    call = source[source.index("def call") :]
    return len(re.findall(r"^\s+cpp_fused|extern_kernels\.\w+\(|torch\.ops\.\w+\.\w+", call, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.uninstrumented
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_launches_of_compiled_layers() -> None:
    config = TINY_REAL_VOCABULARY
    decoder = decoder_of(config, "cpu")
    _, cache = rows_of(config, 4, "cpu")
    prefix = KVCache.allocate(config.decoder, rows=1, max_positions=5, like=torch.zeros(0))
    x, rows = torch.zeros(3, 7, config.decoder.width), torch.arange(3)
    positions = torch.arange(5, 12)[None]
    mask = torch.zeros(1, 1, 14, 12)
    layer: Any = decoder.layers[0]
    read = kernels_of(
        layer.read,
        x,
        decoder.angles(positions, x),
        rows,
        cache.keys[0][:, :12],
        cache.values[0][:, :12],
        (prefix.keys[0], prefix.values[0], mask),
    )
    assert FULL.decoder.layers * read <= REFILL_OF_OLD / 2
