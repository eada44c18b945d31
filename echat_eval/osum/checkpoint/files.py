"""The files of a checkpoint: one file, or shards with an index in Hugging Face's form."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, NotInstalled
from echat_eval.io.hashing import file_sha256, sha256_of
from echat_eval.io.text import decoded
from echat_eval.osum.checkpoint.torch_file import first_line, read_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

__all__ = ["checkpoint_files", "checkpoint_sha256", "find_file", "read_checkpoint"]

#: Endings of single checkpoint files, and of the index of a sharded one.
SUFFIXES = (".safetensors", ".pt", ".bin")
INDEX = ".index.json"
#: Bytes of an index; one of 888 names has about 80,000.
MAX_INDEX_BYTES = 16_000_000


def find_file(path: Path) -> Path:
    """Return the checkpoint file or index: the path itself, or the only one in that folder.

    Raises:
        NotInstalled: the path does not exist.
        BadData: the folder holds no checkpoint, or more than one.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise NotInstalled(f"no checkpoint at {path}; `echat-eval osum download` downloads one")
    indexes = sorted(p for p in path.iterdir() if p.name.endswith(INDEX))
    found = indexes or sorted(p for p in path.iterdir() if p.suffix in SUFFIXES)
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise BadData(f"{path}: expected one .pt or .safetensors file, found {names}; name the file")
    return found[0]


def checkpoint_files(path: Path) -> list[Path]:
    """Return the files with the tensors: the file itself, or the shards of an index, in order of their names.

    Raises:
        BadData: the index is damaged, leads out of its folder, or a shard is missing.
    """
    if not path.name.endswith(INDEX):
        return [path]
    wrong = f"{path}: not an index of shards; expected weight_map, a mapping of tensor names to files"
    if path.stat().st_size > MAX_INDEX_BYTES:
        raise BadData(wrong)
    try:
        content = json.loads(decoded(path.read_bytes(), str(path)))
        names = sorted({str(PurePosixPath(name)) for name in content["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadData(f"{wrong} ({first_line(error)})") from error
    outside = [name for name in names if "/" in name or "\\" in name or name in (".", "..")]
    if outside or not names:
        raise BadData(f"{wrong} beside it" + (f"; found {outside[0][:80]!r}" if outside else ""))
    shards = [path.parent / name for name in names]
    if missing := [shard.name for shard in shards if not shard.is_file()]:
        raise BadData(
            f"{path}: {len(missing)} of {len(shards)} shards are missing, such as {missing[0]}; download them"
        )
    return shards


def checkpoint_sha256(path: Path) -> str:
    """Return the sha256 of a checkpoint: of its file, or over those of its shards with their names."""
    files = checkpoint_files(path)
    if files == [path]:
        return file_sha256(path)
    return sha256_of("\n".join(f"{file.name} {file_sha256(file)}" for file in files))


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors, memory-mapped where the format allows it, and the header of a safetensors file.

    Args:
        path: as returned by `find_file`.

    Raises:
        BadData: a file is damaged or holds anything but tensors, or two shards hold the same tensor.
        NotInstalled: safetensors is missing.
    """
    files = checkpoint_files(path)
    tensors: dict[str, Tensor] = {}
    header: dict[str, str] = {}
    for file in files:
        if file.suffix == ".safetensors":
            part, header = _read_safetensors(file)
        else:
            part = read_tensors(file, mmap=True)
        if twice := sorted(part.keys() & tensors.keys()):
            raise BadData(f"{file}: holds '{twice[0][:80]}', which another shard of {path.name} holds too")
        tensors |= part
    return tensors, header if files == [path] else {}


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise NotInstalled("safetensors files need safetensors: pip install 'echat-eval[osum]'") from error
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise BadData(f"{path}: truncated or not a safetensors file ({first_line(error)})") from error
