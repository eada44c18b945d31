"""Telling a full memory from every other failure, and letting go of what was used."""

from __future__ import annotations

import gc

import torch

__all__ = ["let_go", "ran_out"]

#: What torch's allocator for the CPU says; it has no exception of its own.
CPU_WORDS = ("not enough memory", "can't allocate memory")


def ran_out(error: BaseException) -> bool:
    """Return whether an exception says that the memory is full, a GPU's or the host's."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in CPU_WORDS)


def let_go(device: torch.device) -> None:
    """Give freed memory back to the device, so that a smaller try finds it in one piece."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
