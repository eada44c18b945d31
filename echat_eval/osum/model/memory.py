"""Out-of-memory errors: detecting them, and freeing memory afterwards."""

from __future__ import annotations

import gc

import torch

__all__ = ["free_memory", "is_oom"]

#: Messages of a full memory without an exception type of their own: of torch's CPU allocator, of the CUDA
#: driver and Triton ("out of memory"), and of CUDA's libraries, which allocate their workspaces themselves.
OOM_MESSAGES = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "cudaErrorMemoryAllocation",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUSPARSE_STATUS_ALLOC_FAILED",
    "CUFFT_ALLOC_FAILED",
)


def is_oom(error: BaseException | None) -> bool:
    """Return whether an exception, or one that led to it, reports that GPU or host memory is full.

    A memory that is full while a CUDA graph is captured ends in a RuntimeError about the capture, which has
    the first error as its context.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if not isinstance(error, RuntimeError):
        return False
    return any(message in str(error) for message in OOM_MESSAGES) or is_oom(
        error.__cause__ or error.__context__
    )


def free_memory(device: torch.device) -> None:
    """Collect garbage and return cached memory to the device, so that a smaller batch can allocate it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
