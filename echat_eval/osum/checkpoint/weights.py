"""Strict loading of checkpoint tensors into the model.

Missing, unknown or misshaped tensors and copies that differ are listed in one error: a partly loaded model
would run and generate nonsense.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import torch

from echat_eval.errors import BadData
from echat_eval.osum.checkpoint.tensor_names import COPIES, TIED, official_shapes, rename, weight_map
from echat_eval.osum.model.model import OsumModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torch import Tensor

    from echat_eval.osum.model.config import OsumConfig

__all__ = ["Faults", "build", "compare_copies", "compare_names", "fill", "join", "place"]


class Faults:
    """Reasons why a checkpoint cannot be loaded; falsy if there are none."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.extra: list[str] = []
        self.misshaped: list[str] = []
        self.unequal: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.misshaped or self.unequal)

    def summary(self, limit: int = 8) -> str:
        """Return one line that names at most `limit` tensors of each kind."""
        kinds = {
            "missing": self.missing,
            "unknown": self.extra,
            "of another shape": self.misshaped,
            "unequal copies": self.unequal,
        }
        return "; ".join(
            f"{len(names)} {kind}: {_shorten(names, limit)}" for kind, names in kinds.items() if names
        )


def hint(faults: Faults) -> str:
    """Return what to do if unknown tensors are the only fault."""
    if faults.missing or faults.misshaped or faults.unequal:
        return ""
    return "; leave them out with ignore=NAME or a pattern such as ctc.*, if they belong to no part of it"


def _shorten(names: Iterable[str], limit: int) -> str:
    names = list(names)
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest


def compare_names(tensors: Mapping[str, Tensor], config: OsumConfig, *, ignore: Sequence[str] = ()) -> Faults:
    """Return the faults in names and shapes of renamed tensors; values are not read.

    Args:
        ignore: patterns of unknown tensors that are no fault.
    """
    expected, faults = official_shapes(config), Faults()
    shapes = expected | {copy: expected[original] for copy, original in COPIES.items()}
    faults.missing = [n for n in expected if n not in tensors and n not in TIED]
    if not any(name in tensors for name in TIED):
        faults.missing.append(TIED[0])
    for name, tensor in tensors.items():
        if name not in shapes:
            if not any(fnmatchcase(name, pattern) for pattern in ignore):
                faults.extra.append(name)
        elif tuple(tensor.shape) != shapes[name]:
            faults.misshaped.append(f"{name} {tuple(tensor.shape)} instead of {shapes[name]}")
    return faults


def compare_copies(tensors: Mapping[str, Tensor], faults: Faults) -> None:
    """Add to `faults` the copies that differ from their tensor."""
    tied = [name for name in TIED if name in tensors]
    pairs = [(tied[0], copy) for copy in tied[1:]]
    pairs += [(original, copy) for copy, original in COPIES.items() if copy in tensors]
    for original, copy in pairs:
        a, b = tensors[original], tensors[copy]
        if a.data_ptr() != b.data_ptr() and not torch.equal(a, b):
            faults.unequal.append(f"{copy} differs from {original}")


def fill(
    tensors: Mapping[str, Tensor],
    config: OsumConfig,
    *,
    dtype: torch.dtype,
    source: str,
    ignore: Sequence[str] = (),
) -> OsumModel:
    """Return a model on the CPU with the tensors of a released checkpoint.

    Args:
        tensors: as read from the file; names in any form that `tensor_names` lists.
        config: the expected sizes.
        dtype: to compute in.
        source: file name for the error message.
        ignore: patterns of unknown tensors to leave out.

    Raises:
        BadData: names or shapes do not match; the message lists them.
    """
    joined = join(tensors, config, source=source, ignore=ignore)
    return build(place(joined, dtype=dtype), config)


def place(
    joined: Iterable[tuple[str, Tensor]],
    *,
    dtype: torch.dtype,
    device: str = "cpu",
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:
    """Return tensors on a device, moved one by one, so that the host never holds a second copy of all.

    Args:
        on_progress: called with the bytes read so far.
    """
    placed: dict[str, Tensor] = {}
    done = 0
    for name, tensor in joined:
        placed[name] = tensor.to(device=device, dtype=dtype)
        done += tensor.nbytes
        if on_progress is not None:
            on_progress(done)
    return placed


def join(
    tensors: Mapping[str, Tensor], config: OsumConfig, *, source: str, ignore: Sequence[str] = ()
) -> Iterator[tuple[str, Tensor]]:
    """Return our tensors by name, joined from those of a released file when they are taken, in its dtype.

    Raises:
        BadData: as `fill`; at once, before any tensor is joined.
    """
    tensors = rename(tensors)
    faults = compare_names(tensors, config, ignore=ignore)
    if not faults:
        compare_copies(tensors, faults)
    if faults:
        raise BadData(f"{source}: not the OSUM-EChat of this configuration: {faults.summary()}{hint(faults)}")
    return _joined(tensors, config)


def _joined(tensors: Mapping[str, Tensor], config: OsumConfig) -> Iterator[tuple[str, Tensor]]:
    tied = next(name for name in TIED if name in tensors)
    for ours, official in weight_map(config).items():
        parts = [None if name is None else tensors[tied if name in TIED else name] for name in official]
        template = next(part for part in parts if part is not None)
        filled = [torch.zeros_like(template) if part is None else part for part in parts]
        yield ours, filled[0] if len(filled) == 1 else torch.cat(filled)


def build(ours: Mapping[str, Tensor], config: OsumConfig) -> OsumModel:
    """Return a model that uses these tensors themselves, without copying them."""
    with torch.device("meta"):
        model = OsumModel(config)
    model.load_state_dict(dict(ours), strict=True, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()
