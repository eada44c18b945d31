"""Settings for a GPU: torch's switches are set without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from echat_eval.osum.engine.gpu_settings import VOICE_DTYPES, prepare_gpu, voice_dtype_of


@pytest.fixture
def restored() -> Iterator[None]:
    before = (
        torch.backends.cuda.cudnn_sdp_enabled(),  # type: ignore[no-untyped-call]
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
    )
    yield
    torch.backends.cuda.enable_cudnn_sdp(before[0])
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before[1:]


@pytest.mark.parametrize("tf32", [True, False])
@pytest.mark.usefixtures("restored")
def test_cudnns_attention_is_off_and_tf32_follows_the_choice(tf32: bool) -> None:
    prepare_gpu(tf32=tf32)
    assert not torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    assert torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]
    assert torch.backends.cuda.mem_efficient_sdp_enabled()  # type: ignore[no-untyped-call]
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (tf32, tf32)


def test_the_voice_is_in_half_precision_on_a_gpu_only() -> None:
    on_gpu = [voice_dtype_of(name, gpu=True) for name in VOICE_DTYPES]
    on_cpu = [voice_dtype_of(name, gpu=False) for name in VOICE_DTYPES]
    assert on_gpu == [torch.float16, torch.float32, torch.float16, torch.bfloat16]
    assert on_cpu == [torch.float32, *on_gpu[1:]]
