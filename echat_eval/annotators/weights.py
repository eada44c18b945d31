"""Where an annotator's model lies, which bytes it is, and under which licence. Nothing is downloaded."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.assets import file_sha256
from echat_eval.errors import BadData, NotInstalled, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["folder_licence", "folder_sha256", "model_folder", "require_files"]

#: Files that make a model what it is; a readme or a picture does not.
_SUFFIXES = {
    ".pt", ".pth", ".bin", ".safetensors", ".onnx", ".json", ".yaml", ".yml", ".txt",
    ".model", ".mvn", ".vocab",
}  # fmt: skip


def model_folder(model: str, *, hub: str = "hf", revision: str | None = None) -> Path:
    """Return the folder of a model: a path, or a hub name that is already in the local cache.

    Args:
        hub: "hf" (Hugging Face) or "ms" (ModelScope).
        revision: commit, tag or branch on the hub.

    Raises:
        NotInstalled: not in the cache, or the hub's package is missing; says how to fetch it once.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if hub not in ("hf", "ms"):
        raise UsageError(f"hub is {hub!r}; expected hf or ms")
    fetch = f"huggingface-cli download {model}" if hub == "hf" else f"modelscope download --model {model}"
    if revision:
        fetch += f" --revision {revision}"
    missing = NotInstalled(
        f"model '{model}' is neither a folder nor in the local {hub} cache; fetch it once: {fetch}"
    )
    try:
        if hub == "hf":
            from huggingface_hub import snapshot_download

            return Path(snapshot_download(model, revision=revision, local_files_only=True))
        from modelscope import snapshot_download as ms_download

        return Path(ms_download(model, revision=revision, local_files_only=True))
    except ImportError as error:
        package = "huggingface-hub" if hub == "hf" else "modelscope"
        raise NotInstalled(
            f"model '{model}' is no folder, and looking it up needs {package}; pip install {package}"
        ) from error
    except (OSError, ValueError) as error:  # not cached, or no such name
        raise missing from error


def require_files(folder: Path, names: Iterable[str]) -> None:
    """Raise BadData unless a model's folder holds each file, or one of several joined by "|"."""
    for name in names:
        if not any((folder / one).is_file() for one in name.split("|")):
            raise BadData(f"{folder}: no {name.replace('|', ' or ')}; expected a whole model folder")


def folder_sha256(folder: Path) -> str:
    """Return the hash of all weights, configurations and vocabularies in a model's folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in _SUFFIXES)
    if not files:
        raise BadData(f"{folder}: holds no weights; expected a model folder")
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(folder).as_posix()}\0{file_sha256(path)}\n".encode())
    return whole.hexdigest()


def folder_licence(folder: Path) -> str:
    """Return the licence a model's card names, or "not stated"."""
    card = folder / "README.md"
    if card.is_file():
        for line in card.read_text(encoding="utf-8", errors="replace").splitlines()[:60]:
            key, _, value = line.partition(":")
            if key.strip() == "license" and value.strip():
                return value.strip().strip("\"'")
    return "not stated"
