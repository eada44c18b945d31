"""Few shapes on a GPU: padded flows, windows of the vocoder, and compiled stages give the usual sound."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from echat_eval.osum.voice.config import FlowConfig, mel_frames
from echat_eval.osum.voice.flow_matching import FlowMatching
from echat_eval.osum.voice.vocoder_stream import FILTER_REACH
from echat_eval.osum.voice.vocoder_windows import WIDTHS, plan_windows, vocode_in_windows
from tests.support.present import present
from tests.support.tiny_speaker import build_tiny, draw_ids

if TYPE_CHECKING:
    from echat_eval.osum.voice.token2wav import Token2Wav

LENGTHS = (1, 2, 41, 77)


def test_padded_replies_have_the_usual_sound(tiny: Token2Wav) -> None:
    replies, seeds = [draw_ids(n) for n in LENGTHS], range(len(LENGTHS))
    padded = build_tiny(buckets=True)
    shapes: list[tuple[int, ...]] = []
    padded.flow.estimator.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape)))
    together = padded.synthesise(replies, seeds=seeds)
    alone = [padded.synthesise([ids], seeds=[seed])[0] for ids, seed in zip(replies, seeds, strict=True)]
    for usual, *others in zip(tiny.synthesise(replies, seeds=seeds), together, alone, strict=True):
        for other in others:
            assert np.abs(present(usual).samples - present(other).samples).max() <= 1e-5
    assert {shape[2] for shape in shapes} == {64, 192, 320}


@pytest.mark.parametrize("frames", [1, 63, 64, 65, 91, 92, 93, 127, 512, 1000, 1450])
def test_windows_keep_every_frame_once_and_far_from_their_edges(frames: int) -> None:
    windows = list(plan_windows(3, frames))
    assert [frame for w in windows for frame in range(w.first, w.end)] == list(range(frames))
    assert len({w.width for w in windows}) == 1
    assert windows[0].width == (frames if frames < 64 else max(w for w in WIDTHS if w <= frames))
    for w in windows:
        assert w.row == 3
        assert w.start == 0 or w.first - w.start >= FILTER_REACH
        assert w.start + w.width == frames or w.start + w.width - w.end >= FILTER_REACH


def test_the_vocoder_in_windows_has_the_usual_sound(tiny: Token2Wav) -> None:
    generator = torch.Generator().manual_seed(2)
    counts = (20, 30, 58)
    mels = [torch.randn(80, mel_frames(n), generator=generator) for n in counts]
    noise = [tiny.noise(n, seed=n) for n in counts]
    with torch.inference_mode():
        waves = vocode_in_windows(tiny.hift, mels, noise, max_frames=200)
    for mel, drawn, wave in zip(mels, noise, waves, strict=True):
        assert (tiny.vocode([mel], [drawn])[0] - wave).abs().max() <= 1e-5


def test_five_programs_serve_all_shapes(tiny: Token2Wav) -> None:
    programs: list[int] = []

    def counting(graph: torch.fx.GraphModule, _: Any) -> Any:
        programs.append(1)
        return graph.forward

    speaker = build_tiny(buckets=True)
    speaker.flow.estimator.compile_stages(backend=counting)
    for lengths in ((5,), (9,), (30, 4), (40, 41, 3), (77,), (60, 20), (18, 18)):
        rows = [torch.tensor(draw_ids(n)) for n in lengths]
        noise = [tiny.noise(n, seed=n) for n in lengths]
        for made, usual in zip(speaker.mels(rows, noise), tiny.mels(rows, noise), strict=True):
            assert (made - usual).abs().max() <= 1e-5
    assert speaker.flow.estimator.compiled
    assert len(programs) == 5


def test_a_voice_that_cannot_be_compiled_speaks_uncompiled(
    tiny: Token2Wav, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise AssertionError("no compiler here")

    torch.compiler.reset()
    speaker = build_tiny(buckets=True)
    speaker.flow.estimator.compile_stages(backend=broken)
    with caplog.at_level(logging.WARNING, "echat_eval"):
        (wave,) = speaker.synthesise([draw_ids(5)], seeds=[0])
    (usual,) = tiny.synthesise([draw_ids(5)], seeds=[0])
    assert np.abs(present(wave).samples - present(usual).samples).max() <= 1e-5
    assert speaker.notes == ["the voice cannot be compiled; it runs uncompiled, slower"]
    assert "backend='broken' raised" in caplog.text


#: Of the released depth, and narrow: the number of launches depends on the depth.
DEEP = FlowConfig(
    width=16,
    layers=6,
    heads=2,
    feed_forward=16,
    channels=16,
    blocks=4,
    mid_stages=12,
    estimator_heads=2,
    head_size=8,
    steps=1,
)
#: Operations that launch no kernel.
VIEWS = (
    "view",
    "expand",
    "permute",
    "transpose",
    "slice",
    "squeeze",
    "select",
    "split",
    "as_strided",
    "detach",
    "aten.t.",
    "alias",
    "aten.empty",
    "unbind",
    "lift_fresh",
)


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations on meta tensors that would launch a kernel."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **kwargs or {})
        on_meta = any(isinstance(x, torch.Tensor) and x.is_meta for x in tree_leaves((args, kwargs, made)))
        self.count += on_meta and not any(name in str(func) for name in VIEWS)
        return made


def launches(*lengths: int, stages: bool = True) -> int:
    """Return the launches of a call of the flow with one step, of all parts or of all but the stages."""
    with torch.device("meta"):
        flow = FlowMatching(DEEP).eval()
        tokens = [torch.zeros(n, dtype=torch.long) for n in lengths]
        noise = [torch.empty(80, 24 + mel_frames(n)) for n in lengths]
        mel, embedding = torch.empty(24, 80), torch.empty(192)
    if not stages:
        flow.estimator.compiled = [lambda x, *_: (x.new_empty(len(x), 16, x.shape[2]),) * 2] * 16
    with torch.inference_mode(), Launches() as counted:
        flow(tokens, noise, prompt_tokens=tokens[0][:3], prompt_mel=mel, embedding=embedding)
    total: int = counted.count
    return total


def test_a_call_of_the_flow_launches_few_kernels() -> None:
    """With one step of ten; compiled stages are counted by bench/osum/launches.py."""
    outside = launches(40, 20, stages=False)
    found = (outside, launches(40, 20) - outside, launches(40, 40))
    assert all(count <= limit for count, limit in zip(found, (320, 1_370, 1_060), strict=True)), found
