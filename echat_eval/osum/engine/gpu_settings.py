"""Settings of torch that hold for a whole process, chosen for this engine on a GPU."""

from __future__ import annotations

import contextlib
from typing import Literal

import torch

__all__ = ["VOICE_DTYPES", "VoiceDtype", "dtype_fault", "prepare_gpu", "voice_dtype_of"]

#: Types of the voice's flow estimator.
VoiceDtype = Literal["auto", "fp32", "fp16", "bf16"]
VOICE_DTYPES: tuple[VoiceDtype, ...] = ("auto", "fp32", "fp16", "bf16")


def prepare_gpu(*, tf32: bool) -> None:
    """Choose the kernels of attention and of float32 products.

    cuDNN's attention, which torch prefers for half precision on recent GPUs, plans every new shape on the
    host, which takes tens of milliseconds; the others need no plan.

    Args:
        tf32: compute float32 products and convolutions with 10 bits of mantissa, for a voice in half
            precision; a language model in fp32 would no longer be exact.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32


def dtype_fault(dtype: torch.dtype, device: torch.device) -> str | None:
    """Return why a device cannot compute in a type, or None if it can.

    >>> dtype_fault(torch.float32, torch.device("cpu")) is None
    True
    """
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        if (
            device.type == "cuda"
            and dtype == torch.bfloat16
            and not torch.cuda.is_bf16_supported(including_emulation=False)
        ):
            return f"{torch.cuda.get_device_name()} computes bf16 only by emulation"
        try:
            x = torch.ones(1, 2, 8, device=device, dtype=dtype)
            torch.nn.functional.conv1d(x @ x.new_ones(8, 8), x.new_ones(2, 2, 3), padding=1)
            torch.nn.functional.scaled_dot_product_attention(x, x, x).softmax(-1).sum()
        except RuntimeError as error:
            return (str(error).splitlines() or [type(error).__name__])[0]
    return None


def voice_dtype_of(name: VoiceDtype, *, gpu: bool) -> torch.dtype:
    """Return the type of the voice's flow estimator; "auto" is fp16 on a GPU and fp32 on a CPU."""
    if name == "auto":
        return torch.float16 if gpu else torch.float32
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]
