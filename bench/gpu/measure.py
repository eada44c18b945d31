"""The GPU bench's device, model and scale, shared by its sections."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from bench.osum.bounds import Card, card_named
from bench.osum.forced import Length
from bench.osum.sides import CONFIGS
from echat_eval.osum.checkpoint.tensor_names import TIED, official_shapes
from echat_eval.osum.checkpoint.weights import build, join
from echat_eval.osum.decoding.cuda_graphs import Steps, compile_steps, graph_capture
from echat_eval.osum.model.config import OsumConfig

#: Ways to do a step, from the safest to the fastest.
WAYS: tuple[Steps, ...] = ("plain", "recorded", "compiled")


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
        seconds: of the input audio.
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
        config="full",
        dtype=torch.bfloat16,
        rows=64,
        prompt=544,
        short=128,
        long=384,
        most=2000,
        repeats=3,
        reply=Length(100, 400),
        requests=128,
        seconds=10.0,
        copied=1 << 32,
    ),
    "tiny": Scale(
        config="tiny",
        dtype=torch.float32,
        rows=4,
        prompt=20,
        short=4,
        long=12,
        most=40,
        repeats=1,
        reply=Length(4, 12),
        requests=6,
        seconds=0.5,
        copied=1 << 22,
    ),
}


def random_weights(
    config: OsumConfig, *, device: str, dtype: torch.dtype, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Return all official tensors, made on the device; spreads as in `echat_eval.osum.checkpoint.tiny`."""
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
        return build(dict(join(tensors, self.config, source="bench")), self.config)

    @property
    def way(self) -> Steps:
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

    def capture_graph(self, way: Steps) -> Any:
        """Return what captures steps as CUDA graphs; on a CPU, fixed steps run without."""
        if way == "plain":
            return None
        if not self.cuda:
            if way == "compiled" and not self.model.decoder.compiled.steps:
                compile_steps(self.model.decoder)
            return lambda step, state: step
        return graph_capture(way, self.model.decoder, torch.device(self.device))

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
