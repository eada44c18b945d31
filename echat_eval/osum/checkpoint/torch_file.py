"""The only reader of torch files: named tensors and nothing else, and no code is run."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import torch

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

__all__ = ["first_line", "read_tensors"]

#: Keys under which trainings store the state dict: DeepSpeed, Lightning and most scripts, WeNet's forks.
STATE_DICTS = ("module", "state_dict", "model_state_dict", "model")
#: Such keys inside one another.
MAX_WRAPPERS = 3
#: Plain values that may stand beside the tensors.
COUNTERS = frozenset(["epoch", "step", "steps", "global_step", "global_steps", "iteration", "lr", "version"])
#: Exceptions of torch.load on damaged files, besides pickle.UnpicklingError.
_READ_ERRORS = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def read_tensors(path: Path, *, mmap: bool = False, source: str = "download it again") -> dict[str, Tensor]:
    """Return the tensors of a torch file by name, on the CPU, also from inside a training's checkpoint.

    Args:
        source: what to do about a missing or damaged file, for the message.
        mmap: leave the tensors in the file until they are used, if its format allows that.

    Raises:
        BadData: the file is missing or damaged, holds anything other than named tensors, or would run code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old file formats; the content is checked below
            content = torch.load(
                path, map_location="cpu", mmap=mmap and zipfile.is_zipfile(path), weights_only=True
            )
    except FileNotFoundError:
        raise BadData(f"{path}: no such file; {source}") from None
    except pickle.UnpicklingError as error:
        raise BadData(
            f"{path}: not a plain file of tensors: it would run code, or is not a checkpoint; "
            "refused, no code was run"
        ) from error
    except _READ_ERRORS as error:
        reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise BadData(f"{path}: truncated or not a torch file{reason}; {source}") from error
    return _only_tensors(path, _unwrapped(content))


def first_line(error: BaseException) -> str:
    """Return the first line of an error, or its type, in at most 160 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]


def _unwrapped(content: Any) -> Any:
    """Return the state dict inside the checkpoint of a training, or the content itself."""
    for _ in range(MAX_WRAPPERS):
        inner = next(
            (
                content[key]
                for key in STATE_DICTS
                if isinstance(content, dict) and isinstance(content.get(key), dict)
            ),
            None,
        )
        if inner is None:
            break
        content = inner
    return content


def _only_tensors(path: Path, content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise BadData(f"{path}: holds a {type(content).__name__}; expected a state dict, names to tensors")
    given = content
    content = {
        name: value
        for name, value in given.items()
        if not (name in COUNTERS and isinstance(value, int | float | str | None))
    }
    if given and not content:
        raise BadData(f"{path}: holds no tensors; expected a state dict, names to tensors")
    others = [str(name) for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        shown = f"{len(others)} entries are not tensors, such as '{others[0][:80]}'"
        raise BadData(f"{path}: {shown}; expected a state dict")
    return {str(name): value for name, value in content.items()}
