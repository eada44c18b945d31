"""Checkpoint files: read them without running code, inspect them, and convert them to safetensors.

Two forms are supported: the released torch file, and our safetensors file. Ours holds joined tensors under
our names and the configuration in its header; it is memory-mapped and loads in seconds.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from echat_eval.errors import BadData, NotInstalled
from echat_eval.io.files import replacing, write_atomically
from echat_eval.io.hashing import file_sha256
from echat_eval.osum.checkpoint.tensor_names import TIED, rename
from echat_eval.osum.checkpoint.torch_file import first_line, read_tensors
from echat_eval.osum.checkpoint.weights import build, compare_copies, compare_names, fill, join
from echat_eval.osum.model.config import config_from_json, config_to_json, read_config

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from echat_eval.osum.checkpoint.weights import Faults
    from echat_eval.osum.model.config import OsumConfig
    from echat_eval.osum.model.model import OsumModel

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
        sha256: of the file.
        size: bytes.
        tensors: number of names.
        parameters: number of values, copies excluded.
        dtypes: name -> number of tensors.
        tied: the tied names present, of the four in `TIED`.
        faults: one line on why it cannot be loaded; empty if it can.
        expected: the sizes it was compared with, as text.
    """

    kind: str
    sha256: str
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


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the header of a safetensors file."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise NotInstalled("safetensors files need safetensors: pip install 'echat-eval[osum]'") from error
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise BadData(f"{path}: truncated or not a safetensors file ({first_line(error)})") from error


def find_file(path: Path) -> Path:
    """Return the checkpoint file: the path itself, or the only checkpoint in that folder.

    Raises:
        NotInstalled: the path does not exist.
        BadData: the folder holds no checkpoint, or more than one.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise NotInstalled(f"no checkpoint at {path}; `echat-eval osum download` downloads one")
    found = sorted(p for p in path.iterdir() if p.suffix in {".safetensors", ".pt"})
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise BadData(f"{path}: expected one .pt or .safetensors file, found {names}; name the file")
    return found[0]


def load_model(path: Path, *, dtype: str = "bf16", device: str = "cpu") -> OsumModel:
    """Return the model of a checkpoint, loaded strictly.

    Args:
        path: a released `.pt`, a converted `.safetensors`, or a folder that holds one.
        dtype: to compute in: "fp32", "bf16" or "fp16".
        device: a torch device.

    Raises:
        NotInstalled: no such file.
        BadData: not OSUM-EChat, damaged, or tensors missing, unknown or of another shape.
    """
    path, torch_dtype = find_file(path), dtype_named(dtype)
    if path.suffix != ".safetensors":
        return fill(read_tensors(path, mmap=True), read_config(path), dtype=torch_dtype, source=str(path)).to(
            device
        )
    tensors, header = _read_safetensors(path)
    if header.get("format") != FORMAT:
        return fill(tensors, read_config(path), dtype=torch_dtype, source=str(path)).to(device)
    config = config_from_json(header["config"])
    try:
        model = build({name: tensor.to(torch_dtype) for name, tensor in tensors.items()}, config)
    except RuntimeError as error:
        raise BadData(f"{path}: its tensors do not match its own header; convert it again") from error
    return model.to(device)


def convert(source: Path, target: Path, *, dtype: str | None = None) -> None:
    """Write a released checkpoint as safetensors in our form, with `config.json` beside it.

    Args:
        source: a released `.pt`.
        target: the `.safetensors` to write.
        dtype: to store in; None keeps the dtype of each tensor.

    Raises:
        BadData: as `load_model`, or the source is already converted.
    """
    from safetensors.torch import save_file

    source = find_file(source)
    if source.suffix == ".safetensors" and _read_safetensors(source)[1].get("format") == FORMAT:
        raise BadData(f"{source}: already converted")
    config = read_config(source)
    tensors = join(read_tensors(source, mmap=True), config, source=str(source))
    if dtype is not None:
        tensors = {name: tensor.to(dtype_named(dtype)) for name, tensor in tensors.items()}
    header = {"format": FORMAT, "config": config_to_json(config), "source_sha256": file_sha256(source)}
    with replacing(target) as unfinished:
        save_file({name: t.contiguous() for name, t in tensors.items()}, unfinished, metadata=header)
    write_atomically(target.parent / "config.json", header["config"] + "\n")
    logger.info("wrote %s", target)


def inspect(path: Path) -> Inspection:
    """Return what a checkpoint file holds and whether it can be loaded.

    Raises:
        NotInstalled, BadData: the file cannot be read.
    """
    path = find_file(path)
    header: dict[str, str] = {}
    if path.suffix == ".safetensors":
        tensors, header = _read_safetensors(path)
    else:
        tensors = read_tensors(path, mmap=True)
    config = config_from_json(header["config"]) if header.get("format") == FORMAT else read_config(path)
    if header.get("format") == FORMAT:
        kind, faults = "converted", ""
    else:
        found: Faults = compare_names(rename(tensors), config)
        compare_copies(rename(tensors), found)
        known = len(rename(tensors)) - len(found.extra)
        kind, faults = ("released" if known > len(found.extra) else "unknown"), found.summary()
    unique = {(t.data_ptr(), tuple(t.shape)): t.numel() for t in tensors.values()}
    return Inspection(
        kind=kind,
        sha256=file_sha256(path),
        size=path.stat().st_size,
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
