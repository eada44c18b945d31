"""A full memory leads to smaller batches, the same replies and a note. The error is injected."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from echat_eval.errors import SystemFailure
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.model.decoder import Decoder
from echat_eval.osum.model.memory import is_oom
from echat_eval.osum.voice.tiny import write_tiny_release
from echat_eval.osum.voice.token2wav import Token2Wav
from tests.support.osum_requests import ids_of, make_requests
from tests.support.present import present

FULL_GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has a total")
FULL_HOST = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 20 bytes."
)
FULL_PYTHON = MemoryError()


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (FULL_GPU, True),
        (FULL_HOST, True),
        (FULL_PYTHON, True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), True),
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("Triton Error [CUDA]: out of memory"), True),
        (RuntimeError("out of resource: shared memory, Required: 300000, Hardware limit: 232448"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_a_full_memory_is_distinguished_from_other_errors(error: Exception, full: bool) -> None:
    assert is_oom(error) is full


def test_the_error_of_torchs_cpu_allocator_is_detected() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 55)
    assert is_oom(error.value)


class OutOfMemoryForward:
    """A forward that is out of memory with more than `max_rows` rows, or once at call number `at`."""

    def __init__(
        self, usual: Callable[..., Any], error: Exception, *, max_rows: int = 10**9, at: int = -1
    ) -> None:
        self.usual, self.error, self.max_rows, self.at = usual, error, max_rows, at
        self.calls = 0

    def count(self, x: torch.Tensor) -> None:
        self.calls += 1
        if x.shape[0] > self.max_rows or self.calls == self.at:
            raise self.error

    def __call__(self, x: torch.Tensor, *rest: Any, **options: Any) -> Any:
        self.count(x)
        return self.usual(x, *rest, **options)


def limit_memory(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch, error: Exception, **limits: int
) -> OutOfMemoryForward:
    """Limit the memory of the decoder's steps and of its prompts together."""
    limited = OutOfMemoryForward(decoder.forward, error, **limits)
    for name in ("forward", "read"):
        usual = getattr(decoder, name)

        def call(x: torch.Tensor, *rest: Any, usual: Callable[..., Any] = usual, **options: Any) -> Any:
            limited.count(x)
            return usual(x, *rest, **options)

        monkeypatch.setattr(decoder, name, call)
    return limited


@pytest.fixture
def engine(brisk_engine: Engine) -> Engine:
    return Engine(brisk_engine.model, brisk_engine.tokenizer, slots=8)


@pytest.mark.parametrize("error", [FULL_GPU, FULL_HOST, FULL_PYTHON], ids=["gpu", "host", "python"])
def test_half_the_slots_give_the_same_replies(
    engine: Engine,
    brisk_engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    right = ids_of(brisk_engine.reply(make_requests(14), max_new_tokens=40))
    decoder = engine.model.decoder
    limit_memory(decoder, monkeypatch, error, max_rows=3)
    with caplog.at_level(logging.WARNING):
        made = engine.reply(make_requests(14), max_new_tokens=40)
    assert ids_of(made) == right
    assert engine.slots == 2
    assert engine.notes == (
        "out of memory with 8 requests at a time; went on with 4",
        "out of memory with 4 requests at a time; went on with 2",
    )
    assert all(note in caplog.text for note in engine.notes)
    # The next call keeps the smaller number of slots.
    assert ids_of(engine.reply(make_requests(3), max_new_tokens=40)) == right[:3]
    assert len(engine.notes) == 2


@pytest.mark.parametrize("call", [1, 2, 5, 12, 30])
def test_a_full_memory_at_any_step_loses_doubles_or_changes_no_reply(
    engine: Engine, brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    right = dict(enumerate(ids_of(brisk_engine.reply(make_requests(14), max_new_tokens=40))))
    decoder = engine.model.decoder
    forward = limit_memory(decoder, monkeypatch, FULL_GPU, at=call)
    made = [
        (number, reply.ids)
        for number, reply in engine.stream(enumerate(make_requests(14)), max_new_tokens=40)
    ]
    assert len(made) == 14
    assert dict(made) == right
    assert forward.calls > call
    assert engine.slots == 4


def test_a_full_memory_with_one_request_is_a_failure_in_one_line(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = engine.model.decoder
    limit_memory(decoder, monkeypatch, FULL_GPU, max_rows=0)
    with pytest.raises(SystemFailure, match="out of memory with one request at a time") as failure:
        engine.reply(make_requests(3), max_new_tokens=40)
    assert "\n" not in str(failure.value)
    assert "Tried to allocate 20.00 MiB" in str(failure.value)
    assert "lower max_new" in str(failure.value)


def test_another_error_is_not_treated_as_a_full_memory(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = engine.model.decoder
    limit_memory(decoder, monkeypatch, RuntimeError("a bug"), at=4)
    with pytest.raises(RuntimeError, match="a bug"):
        engine.reply(make_requests(3), max_new_tokens=40)
    assert engine.notes == ()


def test_a_full_memory_in_the_encoder_leads_to_smaller_batches(
    engine: Engine, brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, encoder = ids_of(brisk_engine.reply(make_requests(12), max_new_tokens=20)), engine.model.encoder
    monkeypatch.setattr(encoder, "forward", OutOfMemoryForward(encoder.forward, FULL_GPU, max_rows=2))
    made = engine.reply(make_requests(12), max_new_tokens=20)
    assert ids_of(made) == right
    assert "out of memory encoding audio" in engine.notes[0]
    assert engine.slots == 8
    monkeypatch.setattr(encoder, "forward", OutOfMemoryForward(encoder.forward, FULL_GPU, max_rows=0))
    with pytest.raises(SystemFailure, match="encoding one recording, the longest") as failure:
        engine.reply(make_requests(12), max_new_tokens=20)
    assert "\n" not in str(failure.value)


def test_a_full_memory_in_the_vocoder_leads_to_smaller_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_release(tmp_path)
    speaker = Token2Wav.load(tmp_path, tmp_path / "voice.safetensors")
    rows, seeds = [list(range(n, 2 * n + 3)) for n in range(6)] + [[]], list(range(7))
    right, usual = speaker.synthesise(rows, seeds=seeds), speaker.speak

    def narrow(batch: Sequence[Any], numbers: Sequence[int]) -> Any:
        if len(batch) > 2:
            raise FULL_GPU
        return usual(batch, numbers)

    monkeypatch.setattr(speaker, "speak", narrow)
    made = speaker.synthesise(rows, seeds=seeds)
    assert len(speaker.notes) == 2
    assert made[6] is None
    for ours, theirs in zip(made[:6], right[:6], strict=True):
        assert abs(present(ours).samples - present(theirs).samples).max() < 1e-4
    monkeypatch.setattr(speaker, "speak", lambda batch, numbers: (_ for _ in ()).throw(FULL_HOST))
    with pytest.raises(SystemFailure, match="speaking one reply of") as failure:
        speaker.synthesise(rows, seeds=seeds)
    assert "\n" not in str(failure.value)
