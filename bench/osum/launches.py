"""Kernels that a call of the voice's flow launches, counted on a CPU.

    python bench/osum/launches.py --out bench/results/osum_voice_launches.json

Replies of unequal lengths, at the released depth and narrow: the number depends on the depth alone.
Operations outside the compiled stages are counted on the meta device. Inside, "calls" are the kernels,
products, convolutions and attentions that the compiled program calls on a CPU; "nodes" counts what is left
after inductor's fusion. A kernel for a CPU may join several nodes, and one for a GPU joins others; nothing
runs on one here.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from echat_eval.osum.voice.config import FlowConfig, mel_frames
from echat_eval.osum.voice.estimator import Estimator, FrameMasks
from echat_eval.osum.voice.flow_matching import FlowMatching

#: Launches of the same call before stages were compiled.
BEFORE = {"equal lengths": 8_990, "unequal lengths": 15_432}
#: Operations that launch no kernel.
VIEWS = ("view", "expand", "permute", "transpose", "slice", "squeeze", "select", "split", "as_strided")
NO_KERNEL = (*VIEWS, "detach", "aten.t.", "alias", "aten.empty", "unbind", "lift_fresh", "aten.new_empty")


def config(steps: int) -> FlowConfig:
    """Return the released depth, narrow, with this number of steps."""
    return FlowConfig(
        width=16,
        layers=6,
        heads=2,
        feed_forward=16,
        channels=16,
        blocks=4,
        mid_stages=12,
        estimator_heads=2,
        head_size=8,
        steps=steps,
    )


def eager(*lengths: int, steps: int, stages: bool, buckets: bool) -> int:
    """Return the launches of an uncompiled call of the flow, of all parts or of all but the stages."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
        count = 0

        def __torch_dispatch__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **kwargs or {})
            tensors = [x for x in tree_leaves((args, kwargs, made)) if isinstance(x, torch.Tensor)]
            self.count += any(x.is_meta for x in tensors) and not any(name in str(func) for name in NO_KERNEL)
            return made

    with torch.device("meta"):
        flow = FlowMatching(config(steps)).eval()
        tokens = [torch.zeros(n, dtype=torch.long) for n in lengths]
        noise = [torch.empty(80, 24 + mel_frames(n)) for n in lengths]
        mel, embedding = torch.empty(24, 80), torch.empty(192)
    flow.buckets = buckets
    if not stages:
        flow.estimator.compiled = [lambda x, *_: (x.new_empty(len(x), 16, x.shape[2]),) * 2] * 16
    with torch.inference_mode(), Launches() as counted:  # type: ignore[no-untyped-call]
        flow(tokens, noise, prompt_tokens=tokens[0][:3], prompt_mel=mel, embedding=embedding)
    return int(counted.count)


def compiled() -> list[dict[str, int]]:
    """Return the calls and nodes of each program of the stages: two outer, a middle and two last."""
    import torch._inductor.config as inductor
    from torch._inductor.async_compile import AsyncCompile
    from torch._inductor.scheduler import Scheduler
    from torch._inductor.utils import run_and_get_code

    nodes: list[int] = []
    usual = Scheduler.codegen

    def counting(self: Any) -> Any:
        names = [type(node.node).__name__ for node in self.nodes]
        nodes.append(sum(name != "MultiOutput" for name in names))
        return usual(self)

    setattr(Scheduler, "codegen", counting)  # noqa: B010 - a method is replaced
    # Only the program is wanted: no C++ is compiled, and nothing is computed.
    setattr(AsyncCompile, "cpp_pybinding", lambda *_, **__: lambda *_: None)  # noqa: B010
    inductor.force_disable_caches = True
    estimator = Estimator(config(10)).eval().requires_grad_(False)
    estimator.compile_stages()
    masks, time = FrameMasks.of(torch.ones(4, 1, 128)), torch.randn(16, 16, 1)
    with torch.inference_mode():
        _, programs = run_and_get_code(estimator, torch.randn(4, 320, 128), masks, time)
    called = r"^\s+(?:\w+ = )?(?:cpp_fused\w*|extern_kernels\.\w+|torch\.ops\.aten\.\w+\.\w+)\("
    calls = [len(re.findall(called, code[code.index("def call(") :], re.MULTILINE)) for code in programs]
    return [{"calls": call, "nodes": node} for call, node in zip(calls, nodes, strict=True)]


def main() -> None:
    """Count, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    lengths = (40, 20)
    whole = {n: eager(*lengths, steps=n, stages=True, buckets=False) for n in (1, 2)}
    outside = {n: eager(*lengths, steps=n, stages=False, buckets=True) for n in (1, 2)}
    programs = compiled()
    times = (1, 1, 12, 1, 1)  # a program serves twelve middle stages
    per_step, per_step_nodes = (
        sum(many * program[name] for many, program in zip(times, programs, strict=True))
        for name in ("calls", "nodes")
    )
    around = outside[1] + 9 * (outside[2] - outside[1])
    report = {
        "torch": torch.__version__,
        "before": BEFORE,
        "uncompiled": whole[1] + 9 * (whole[2] - whole[1]),
        "programs": programs,
        "outside_of_stages": around,
        "compiled": 10 * per_step + around,
        "compiled_by_nodes": 10 * per_step_nodes + around,
    }
    print(json.dumps(report, indent=1))
    if flags.out:
        flags.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
