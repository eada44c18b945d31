"""Telling a full memory from every other failure, and letting go of what was used."""

from __future__ import annotations

import gc

import torch

__all__ = ["free_memory", "is_oom"]

#: What torch's allocator for the CPU says; it has no exception of its own.
CPU_WORDS = ("not enough memory", "can't allocate memory")


def is_oom(error: BaseException) -> bool:
    """Return whether an exception says that the memory is full, a GPU's or the host's."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in CPU_WORDS)


def free_memory(device: torch.device) -> None:
    """Give freed memory back to the device, so that a smaller try finds it in one piece."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
