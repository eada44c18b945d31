"""Out-of-memory errors: detecting them, and freeing memory afterwards."""

from __future__ import annotations

import gc

import torch

__all__ = ["free_memory", "is_oom"]

#: Messages of torch's CPU allocator, which has no exception type of its own.
CPU_OOM_MESSAGES = ("not enough memory", "can't allocate memory")


def is_oom(error: BaseException) -> bool:
    """Return whether an exception reports that GPU or host memory is full."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in CPU_OOM_MESSAGES)


def free_memory(device: torch.device) -> None:
    """Collect garbage and return cached memory to the device, so that a smaller batch can allocate it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
