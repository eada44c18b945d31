"""A model in this process that several annotators may share: found locally, its bytes hashed, loaded once."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.weights import folder_licence, folder_sha256, model_folder, require_files
from echat_eval.errors import NotApplicable
from echat_eval.io.audio import RESAMPLER, read_mono
from echat_eval.io.bundled_models import installed_version
from echat_eval.io.jsonl import dumps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from echat_eval.records import AudioRef

__all__ = ["RATE", "SHORTEST", "LocalModel", "mono_of"]

RATE = 16000
#: Samples (50 ms); the models' windows do not fit into less.
SHORTEST = 800


@dataclass(slots=True, kw_only=True)
class LocalModel:
    """Where a model lies and, once loaded, whatever its annotator needs of it.

    Attributes:
        model: a folder, or a hub name that is in the local cache.
        build: makes of the folder what `ready` returns; says itself which package is missing.
        packages: whose versions can change what is heard.
        files: each must be in the folder; alternatives are joined by "|".
        hub: "hf" (Hugging Face) or "ms" (ModelScope).
    """

    model: str
    build: Callable[[Path], Any]
    packages: tuple[str, ...]
    files: tuple[str, ...]
    hub: str = "hf"
    revision: str | None = None
    device: str = "cpu"
    lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _loaded: Any = field(default=None, init=False, repr=False)

    def folder(self) -> Path:
        """Return where the model lies."""
        found = model_folder(self.model, hub=self.hub, revision=self.revision)
        require_files(found, self.files)
        return found

    def ready(self) -> Any:
        """Return what `build` made; hold `lock` while calling and using it."""
        if self._loaded is None:
            self._loaded = self.build(self.folder())
        return self._loaded

    def close(self) -> None:
        """Let the model go."""
        with self.lock:
            self._loaded = None

    def fingerprint(self, **more: Any) -> str:
        """Return the hash of weights, configuration, package versions and whatever else matters."""
        versions = {package: installed_version(package) for package in self.packages}
        parts = {"weights": folder_sha256(self.folder()), "resampler": RESAMPLER, **versions, **more}
        return hashlib.sha256(dumps(parts).encode()).hexdigest()

    def settings(self) -> dict[str, Any]:
        """Return what was set, and the licence the model's card names."""
        return {
            "model": self.model,
            "hub": self.hub,
            "revision": self.revision,
            "device": self.device,
            "licence": folder_licence(self.folder()),
        }


def mono_of(audio: AudioRef) -> NDArray[np.float32]:
    """Return a reply's samples, (samples,) at 16 kHz.

    Raises:
        NotApplicable: shorter than a model's window.
    """
    mono, _ = read_mono(audio.path, rate=RATE)
    if len(mono) < SHORTEST:
        raise NotApplicable(
            f"the reply has {len(mono) / RATE:.3f} s of audio; hearing needs {SHORTEST / RATE} s"
        )
    return mono
