"""Checkpoints: read them without running code, inspect them, and convert them to safetensors.

Two forms are supported: the released one, in a torch or safetensors file or in shards, and our safetensors
file. Ours holds joined tensors under our names and the configuration in its header; it is memory-mapped and
loads in seconds.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from echat_eval.errors import BadData
from echat_eval.io.files import replacing, write_atomically
from echat_eval.osum.checkpoint.files import (
    checkpoint_files,
    checkpoint_sha256,
    find_file,
    read_checkpoint,
)
from echat_eval.osum.checkpoint.tensor_names import TIED, rename
from echat_eval.osum.checkpoint.weights import build, compare_copies, compare_names, join, place
from echat_eval.osum.model.config import config_from_json, config_to_json, read_config
from echat_eval.osum.model.model import OsumModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from echat_eval.osum.checkpoint.weights import Faults
    from echat_eval.osum.model.config import OsumConfig

__all__ = ["FORMAT", "Inspection", "convert", "inspect", "load_model"]

logger = logging.getLogger(__name__)

#: Identifies our form in a safetensors header.
FORMAT = "echat-eval osum 1"

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Description of a checkpoint file.

    Attributes:
        kind: "released", "converted" or "unknown".
        files: number of files.
        size: bytes of all files.
        tensors: number of names.
        parameters: number of values, copies excluded.
        dtypes: name -> number of tensors.
        tied: the tied names present, of the four in `TIED`.
        faults: one line on why it cannot be loaded; empty if it can.
        expected: the sizes it was compared with, as text.
    """

    kind: str
    files: int
    size: int
    tensors: int
    parameters: int
    dtypes: dict[str, int]
    tied: tuple[str, ...]
    faults: str
    expected: str


def dtype_named(name: str) -> torch.dtype:
    """Return the torch dtype of "fp32", "bf16" or "fp16".

    Raises:
        BadData: any other name.
    """
    if name not in _DTYPES:
        raise BadData(f"unknown dtype '{name}'; choose one of {', '.join(_DTYPES)}")
    return _DTYPES[name]


def load_model(
    path: Path,
    *,
    dtype: str = "bf16",
    device: str = "cpu",
    ignore: Sequence[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> OsumModel:
    """Return the model of a checkpoint, loaded strictly.

    Args:
        path: a released `.pt`, a converted `.safetensors`, an index of shards, or a folder that holds one.
        dtype: to compute in: "fp32", "bf16" or "fp16".
        device: a torch device.
        ignore: patterns of unknown tensors to leave out, such as "ctc.*"; every other one is refused.
        on_progress: called with the bytes read so far and all bytes.

    Raises:
        NotInstalled: no such file.
        BadData: not OSUM-EChat, damaged, or tensors missing, unknown or of another shape.
    """
    path, torch_dtype = find_file(path), dtype_named(dtype)
    tensors, header = read_checkpoint(path)
    total = sum(file.stat().st_size for file in checkpoint_files(path))

    def report(done: int) -> None:
        if on_progress is not None:
            on_progress(min(done, total), total)

    if header.get("format") != FORMAT:
        config = read_config(path)
        joined = join(tensors, config, source=str(path), ignore=ignore)
        return build(place(joined, dtype=torch_dtype, device=device, on_progress=report), config)
    config = config_from_json(header["config"])
    check_shapes(tensors, config, path)
    return build(place(tensors.items(), dtype=torch_dtype, device=device, on_progress=report), config)


def check_shapes(tensors: Mapping[str, Tensor], config: OsumConfig, path: Path) -> None:
    """Raise BadData unless a converted file has exactly our tensors, before any is read."""
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in OsumModel(config).state_dict().items()}
    if expected != {name: tensor.shape for name, tensor in tensors.items()}:
        raise BadData(f"{path}: its tensors do not match its own header; convert it again")


def convert(source: Path, target: Path, *, dtype: str | None = None, ignore: Sequence[str] = ()) -> None:
    """Write a released checkpoint as safetensors in our form, with `config.json` beside it.

    Args:
        source: a released checkpoint, as in `load_model`.
        target: the `.safetensors` to write.
        dtype: to store in; None keeps the dtype of each tensor.
        ignore: as in `load_model`.

    Raises:
        BadData: as `load_model`, or the source is already converted.
    """
    from safetensors.torch import save_file

    source = find_file(source)
    released, given = read_checkpoint(source)
    if given.get("format") == FORMAT:
        raise BadData(f"{source}: already converted")
    config = read_config(source)
    tensors = dict(join(released, config, source=str(source), ignore=ignore))
    if dtype is not None:
        tensors = {name: tensor.to(dtype_named(dtype)) for name, tensor in tensors.items()}
    header = {"format": FORMAT, "config": config_to_json(config), "source_sha256": checkpoint_sha256(source)}
    with replacing(target) as unfinished:
        save_file({name: t.contiguous() for name, t in tensors.items()}, unfinished, metadata=header)
    write_atomically(target.parent / "config.json", header["config"] + "\n")
    logger.info("wrote %s", target)


def inspect(path: Path, *, ignore: Sequence[str] = ()) -> Inspection:
    """Return what a checkpoint holds and whether it can be loaded, without its hash: few bytes are read.

    Args:
        ignore: as in `load_model`.

    Raises:
        NotInstalled, BadData: the file cannot be read.
    """
    path = find_file(path)
    tensors, header = read_checkpoint(path)
    config = config_from_json(header["config"]) if header.get("format") == FORMAT else read_config(path)
    if header.get("format") == FORMAT:
        kind, faults = "converted", ""
    else:
        found: Faults = compare_names(rename(tensors), config, ignore=ignore)
        compare_copies(rename(tensors), found)
        known = len(rename(tensors)) - len(found.extra)
        kind, faults = ("released" if known > len(found.extra) else "unknown"), found.summary()
    unique = {(t.data_ptr(), tuple(t.shape)): t.numel() for t in tensors.values()}
    return Inspection(
        kind=kind,
        files=len(checkpoint_files(path)),
        size=sum(file.stat().st_size for file in checkpoint_files(path)),
        tensors=len(tensors),
        parameters=sum(unique.values()),
        dtypes=dict(Counter(str(t.dtype).removeprefix("torch.") for t in tensors.values())),
        tied=tuple(name for name in TIED if name in rename(tensors)),
        faults=faults,
        expected=_describe_size(config),
    )


def _describe_size(config: OsumConfig) -> str:
    d, e = config.decoder, config.encoder
    return f"{d.layers} x {d.width} decoder, {e.layers} x {e.width} encoder"
