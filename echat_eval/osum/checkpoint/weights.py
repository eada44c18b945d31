"""Filling the model from a checkpoint: strictly, or not at all.

Anything missing, unknown, of another shape, or unequal to its copy is a refusal that lists it: a half-loaded
model answers, and answers nonsense.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from echat_eval.errors import BadData
from echat_eval.osum.checkpoint.tensor_names import COPIES, TIED, official_shapes, rename, weight_map
from echat_eval.osum.model.model import OsumModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from echat_eval.osum.model.config import OsumConfig

__all__ = ["Faults", "build", "compare_copies", "compare_names", "fill", "join"]


class Faults:
    """What keeps a checkpoint from being loaded; empty if nothing does."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.extra: list[str] = []
        self.misshaped: list[str] = []
        self.unequal: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.misshaped or self.unequal)

    def sentence(self, limit: int = 8) -> str:
        """Return one line that names at most `limit` tensors of each kind."""
        kinds = {
            "missing": self.missing,
            "unknown": self.extra,
            "of another shape": self.misshaped,
            "unequal copies": self.unequal,
        }
        return "; ".join(f"{len(n)} {kind}: {_few(n, limit)}" for kind, n in kinds.items() if n)


def _few(names: Iterable[str], limit: int) -> str:
    names = list(names)
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest


def compare_names(tensors: Mapping[str, Tensor], config: OsumConfig) -> Faults:
    """Return what differs between renamed tensors and the configuration; values are not read."""
    wanted, faults = official_shapes(config), Faults()
    shapes = wanted | {copy: wanted[original] for copy, original in COPIES.items()}
    faults.missing = [n for n in wanted if n not in tensors and n not in TIED]
    if not any(name in tensors for name in TIED):
        faults.missing.append(TIED[0])
    for name, tensor in tensors.items():
        if name not in shapes:
            faults.extra.append(name)
        elif tuple(tensor.shape) != shapes[name]:
            faults.misshaped.append(f"{name} {tuple(tensor.shape)} instead of {shapes[name]}")
    return faults


def compare_copies(tensors: Mapping[str, Tensor], faults: Faults) -> None:
    """Note copies of one tensor that differ from it."""
    tied = [name for name in TIED if name in tensors]
    twins = [(tied[0], other) for other in tied[1:]] + [(o, c) for c, o in COPIES.items() if c in tensors]
    for first, second in twins:
        a, b = tensors[first], tensors[second]
        if a.data_ptr() != b.data_ptr() and not torch.equal(a, b):
            faults.unequal.append(f"{second} differs from {first}")


def fill(tensors: Mapping[str, Tensor], config: OsumConfig, *, dtype: torch.dtype, where: str) -> OsumModel:
    """Return a model on the CPU holding a released checkpoint's tensors.

    Args:
        tensors: as read from the file; names in any of the forms above.
        config: the sizes to expect.
        dtype: what to compute in.
        where: the file's name, for the message.

    Raises:
        BadData: names or shapes do not fit, with a list.
    """
    made = {name: tensor.to(dtype) for name, tensor in join(tensors, config, where=where).items()}
    return build(made, config)


def join(tensors: Mapping[str, Tensor], config: OsumConfig, *, where: str) -> dict[str, Tensor]:
    """Return our tensors out of a released file's, in its dtype.

    Raises:
        BadData: as `fill`.
    """
    tensors = rename(tensors)
    faults = compare_names(tensors, config)
    if not faults:
        compare_copies(tensors, faults)
    if faults:
        raise BadData(f"{where}: not the OSUM-EChat of this configuration: {faults.sentence()}")
    given = next(name for name in TIED if name in tensors)
    made: dict[str, Tensor] = {}
    for ours, sources in weight_map(config).items():
        parts = [None if s is None else tensors[given if s in TIED else s] for s in sources]
        size = next(p for p in parts if p is not None)
        whole = [torch.zeros_like(size) if p is None else p for p in parts]
        made[ours] = whole[0] if len(whole) == 1 else torch.cat(whole)
    return made


def build(ours: Mapping[str, Tensor], config: OsumConfig) -> OsumModel:
    """Return a model that holds these tensors themselves, not copies."""
    with torch.device("meta"):
        model = OsumModel(config)
    model.load_state_dict(dict(ours), strict=True, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()
