"""A transformers model in this process: found locally, its bytes hashed, never with remote code."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.weights import folder_licence, folder_sha256, model_folder, require_files
from echat_eval.assets import installed_version
from echat_eval.audio import RESAMPLER
from echat_eval.errors import NotInstalled
from echat_eval.jsonl import dumps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["TransformersModel"]


@dataclass(slots=True, kw_only=True)
class TransformersModel:
    """Where a model lies and, once loaded, the model itself.

    Attributes:
        model: a folder, or a name of the Hugging Face hub that is in the local cache.
        build: makes whatever the annotator needs of the folder.
    """

    model: str
    build: Callable[[Path], Any]
    revision: str | None = None
    device: str = "cpu"
    lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _loaded: Any = field(default=None, init=False, repr=False)

    def folder(self) -> Path:
        """Return where the model lies."""
        found = model_folder(self.model, revision=self.revision)
        require_files(found, ["config.json"])
        return found

    def ready(self) -> Any:
        """Return what `build` made; hold `lock` while calling and using it."""
        if self._loaded is None:
            try:
                import transformers  # noqa: F401  said here, before anything is built
            except ImportError as error:
                raise NotInstalled(
                    "this annotator needs transformers and torch; pip install 'echat-eval[osum]'"
                ) from error
            self._loaded = self.build(self.folder())
        return self._loaded

    def close(self) -> None:
        """Let the model go."""
        with self.lock:
            self._loaded = None

    def fingerprint(self, **more: Any) -> str:
        """Return the hash of weights, configuration, package versions and whatever else matters."""
        parts = {
            "weights": folder_sha256(self.folder()), "transformers": installed_version("transformers"),
            "torch": installed_version("torch"), "resampler": RESAMPLER, **more,
        }  # fmt: skip
        return hashlib.sha256(dumps(parts).encode()).hexdigest()

    def settings(self) -> dict[str, Any]:
        """Return what was set, and the licence the model's card names."""
        return {
            "model": self.model, "revision": self.revision, "device": self.device,
            "licence": folder_licence(self.folder()),
        }  # fmt: skip
