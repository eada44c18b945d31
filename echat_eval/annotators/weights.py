"""Location, hash and licence of an annotator's model. Nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, NotInstalled, UsageError
from echat_eval.io.hashing import sha256_of, unchanged_file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["folder_licence", "folder_sha256", "model_folder", "require_files"]

#: Suffixes of files that determine a model's output, unlike readmes and pictures.
_SUFFIXES = {
    ".pt",
    ".pth",
    ".bin",
    ".safetensors",
    ".onnx",
    ".json",
    ".yaml",
    ".yml",
    ".txt",
    ".model",
    ".mvn",
    ".vocab",
}


def model_folder(model: str, *, hub: str = "hf", revision: str | None = None) -> Path:
    """Return the folder of a model: a path, or a hub name that is already in the local cache.

    Args:
        hub: "hf" (Hugging Face) or "ms" (ModelScope).
        revision: commit, tag or branch on the hub.

    Raises:
        NotInstalled: not in the cache, or the hub's package is missing; the message names the command.
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
        f"model '{model}' is neither a folder nor in the local {hub} cache; download it once: {fetch}"
    )
    if hub == "ms":
        snapshot = _modelscope_snapshot(model, revision)
        if snapshot is None:
            raise missing
        return snapshot
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(model, revision=revision, local_files_only=True))
    except ImportError as error:
        raise NotInstalled(
            f"'{model}' is no folder, and looking it up needs huggingface-hub; pip install huggingface-hub"
        ) from error
    except (OSError, ValueError) as error:  # not cached, or no such name
        raise missing from error


def _modelscope_snapshot(model: str, revision: str | None) -> Path | None:
    """Return a model's folder in ModelScope's cache, in the layout of any version; None if it is absent.

    The package modelscope is not needed. A flat folder states its revision in a file `.mv`; without that file
    it never matches a requested revision.

    Source of the layouts: modelscope 1.40.2, hub/utils/utils.py and utils/file_utils.py.
    """
    owner, slash, name = model.partition("/")
    if not slash or "/" in name or ".." in (owner, name):
        return None
    base = Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache" / "modelscope").expanduser()
    names = dict.fromkeys((name.replace(".", "___"), name))  # a dot is written as three underscores
    roots = (base / "models", base / "hub" / "models", base / "hub", base)
    for root in roots:
        snapshots = root / f"{owner}--{name}" / "snapshots"
        candidates = sorted(p for p in snapshots.iterdir() if p.is_dir()) if snapshots.is_dir() else []
        if revision is not None:
            candidates = [path for path in candidates if path.name == revision]
        if len(candidates) > 1:
            several = ", ".join(path.name for path in candidates)
            raise UsageError(f"model '{model}' is cached in several revisions ({several}); set revision=...")
        if candidates:
            return candidates[0]
    for folder in (root / owner / folder_name for root in roots for folder_name in names):
        if folder.is_dir() and any(folder.iterdir()) and revision in (None, _revision_of(folder)):
            return folder
    return None


def _revision_of(folder: Path) -> str:
    """Return the revision of a flat ModelScope folder, or "not stated"."""
    file = folder / ".mv"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    for part in text.split(","):
        key, _, value = part.strip().partition(":")
        if key == "Revision" and value:
            return value
    return "not stated"


def require_files(folder: Path, names: Iterable[str]) -> None:
    """Raise BadData unless a folder holds each file; alternatives are joined by "|"."""
    for name in names:
        if not any((folder / alternative).is_file() for alternative in name.split("|")):
            raise BadData(f"{folder}: no {name.replace('|', ' or ')}; expected a complete model folder")


def folder_sha256(folder: Path) -> str:
    """Return the hash of all weights, configurations and vocabularies in a model's folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in _SUFFIXES)
    if not files:
        raise BadData(f"{folder}: holds no weights; expected a model folder")
    lines = (f"{path.relative_to(folder).as_posix()}\0{unchanged_file_sha256(path)}\n" for path in files)
    return sha256_of("".join(lines))


def folder_licence(folder: Path) -> str:
    """Return the licence in the model card, or "not stated"."""
    card = folder / "README.md"
    if card.is_file():
        for line in card.read_text(encoding="utf-8", errors="replace").splitlines()[:60]:
            key, _, value = line.partition(":")
            if key.strip() == "license" and value.strip():
                return value.strip().strip("\"'")
    return "not stated"
