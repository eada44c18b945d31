"""On a GPU: the same replies and sounds as on a CPU, plain, recorded and compiled, and a full memory.

`make test` leaves these out; `make test-gpu` runs them where a GPU is. ECHAT_GPU_TESTS_ON=cpu runs their bodies on
a CPU, which tests the tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from echat_eval.errors import SystemFailure
from echat_eval.osum.checkpoint.checkpoint import load_model
from echat_eval.osum.decoding.cuda_graphs import STEPS, Steps
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.engine.engine_pool import EnginePool, EngineWorker
from echat_eval.osum.engine.gpu_settings import prepare_gpu
from tests.support.osum_requests import ids_of, make_requests
from tests.support.present import present
from tests.support.tiny_speaker import build_tiny, draw_ids

DEVICE = os.environ.get("ECHAT_GPU_TESTS_ON", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="no GPU that torch can use"
    ),
]
MAX_NEW_TOKENS = 40


@pytest.fixture(autouse=True)
def exact_products() -> None:
    prepare_gpu(tf32=False)


def engine_on_device(folder: Path, like: Engine, *, steps: Steps = "auto", dtype: str = "fp32") -> Engine:
    model = load_model(folder, dtype=dtype, device=DEVICE)
    return Engine(model, like.tokenizer, slots=4, steps=steps)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("mode", ["s2s", "s2s-think", "s2t", "understand"])
def test_replies_in_fp32_are_those_of_a_cpu(
    tiny_folder: Path, tiny_engine: Engine, steps: Steps, mode: str
) -> None:
    requests = make_requests(9)
    expected = tiny_engine.reply(requests, mode=mode, max_new_tokens=MAX_NEW_TOKENS)
    engine = engine_on_device(tiny_folder, tiny_engine, steps=steps)
    for _ in range(2):  # the second call replays graphs of the first
        replies = engine.reply(requests, mode=mode, max_new_tokens=MAX_NEW_TOKENS)
        assert ids_of(replies) == ids_of(expected)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_equal_calls_in_half_precision_give_equal_replies(
    tiny_folder: Path, tiny_engine: Engine, dtype: str
) -> None:
    requests = make_requests(9)
    engine = engine_on_device(tiny_folder, tiny_engine, dtype=dtype)
    first, again = (ids_of(engine.reply(requests, max_new_tokens=MAX_NEW_TOKENS)) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 1e-3), (torch.float16, 0.05), (torch.bfloat16, 0.3)]
)
def test_the_voice_is_close_to_that_of_a_cpu(dtype: torch.dtype, bound: float) -> None:
    voice, reference = build_tiny(device=DEVICE, estimator_dtype=dtype), build_tiny()
    rows = [torch.tensor(draw_ids(n)) for n in (9, 14, 30)]
    noise = [reference.noise(len(row), seed=number) for number, row in enumerate(rows)]
    on_device = [voice.noise(len(row), seed=number) for number, row in enumerate(rows)]
    for mine, expected in zip(voice.mels(rows, on_device), reference.mels(rows, noise), strict=True):
        assert (mine.cpu() - expected).abs().mean() < bound


def test_replies_are_spoken_beside_decoding_as_after_it(tiny_folder: Path, brisk_engine: Engine) -> None:
    sounds = []
    for overlap in (False, True):
        worker = EngineWorker(
            engine=engine_on_device(tiny_folder, brisk_engine),
            speaker=build_tiny(device=DEVICE),
            overlap=overlap,
        )
        pool = EnginePool([worker])
        replies = pool.answer(make_requests(12), mode="s2s", max_new_tokens=MAX_NEW_TOKENS)
        sounds.append([reply.wave for reply in replies])
        pool.close()
    assert any(wave is not None for wave in sounds[0])
    for after, beside in zip(*sounds, strict=True):
        assert (after is None) == (beside is None)
        if after is not None:
            assert abs(after.samples - present(beside).samples).max() < 1e-3


@pytest.mark.skipif(DEVICE == "cpu", reason="fills the memory of a GPU")
def test_a_memory_that_is_really_full_ends_in_one_line(tiny_folder: Path, tiny_engine: Engine) -> None:
    engine = engine_on_device(tiny_folder, tiny_engine)
    free, _ = torch.cuda.mem_get_info()
    ballast = torch.empty(max(0, free - (64 << 20)), dtype=torch.uint8, device=DEVICE)
    try:
        with pytest.raises(SystemFailure, match="out of memory") as failure:
            engine.reply(make_requests(400), max_new_tokens=2000)
        assert "\n" not in str(failure.value)
    finally:
        del ballast
        torch.cuda.empty_cache()
    assert engine.reply(make_requests(1), max_new_tokens=4)
