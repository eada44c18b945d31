"""A model in this process: located in a folder or a local cache, hashed, and loaded once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.weights import folder_licence, folder_sha256, model_folder, require_files
from echat_eval.errors import NotApplicable
from echat_eval.io.audio import read_mono, resampler
from echat_eval.io.bundled_models import installed_version
from echat_eval.io.hashing import fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from echat_eval.records import AudioRef

__all__ = ["MIN_SAMPLES", "RATE", "LocalModel", "mono_of"]

RATE = 16000
#: Samples (50 ms); the models need at least one window.
MIN_SAMPLES = 800


@dataclass(slots=True, kw_only=True)
class LocalModel:
    """A model with its location and, once loaded, the objects that its annotator needs.

    Attributes:
        model: a folder, or a hub name that is in the local cache.
        build: function that loads a folder; raises NotInstalled if a package is missing.
        packages: packages whose versions can change the annotations.
        files: required files of the folder; alternatives are joined by "|".
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
        """Return the folder of the model."""
        folder = model_folder(self.model, hub=self.hub, revision=self.revision)
        require_files(folder, self.files)
        return folder

    def ready(self) -> Any:
        """Return the loaded model; hold `lock` while calling this and using the result."""
        if self._loaded is None:
            self._loaded = self.build(self.folder())
        return self._loaded

    def close(self) -> None:
        """Release the model."""
        with self.lock:
            self._loaded = None

    def fingerprint(self, **more: Any) -> str:
        """Return the hash of weights, configuration, package versions and `more`."""
        versions = {package: installed_version(package) for package in self.packages}
        parts = {"weights": folder_sha256(self.folder()), "resampler": resampler(), **versions, **more}
        return fingerprint_of(parts)

    def settings(self) -> dict[str, Any]:
        """Return the settings and the licence in the model card."""
        return {
            "model": self.model,
            "hub": self.hub,
            "revision": self.revision,
            "device": self.device,
            "licence": folder_licence(self.folder()),
        }


class ModelAnnotator:
    """Base of annotators that use one `LocalModel`: release, fingerprint and settings.

    Attributes:
        version: version of the rules that turn the model's output into an annotation.
    """

    __slots__ = ()

    version: str
    _model: LocalModel

    def rules(self) -> Mapping[str, Any]:
        """Return further facts that determine the annotations, for the fingerprint."""
        return {}

    def close(self) -> None:
        """Release the model."""
        self._model.close()

    def fingerprint(self) -> str:
        """Return the hash of the weights, the packages, the version and the rules."""
        return self._model.fingerprint(rule=self.version, **self.rules())

    def settings(self) -> Mapping[str, Any]:
        """Return the settings."""
        return self._model.settings()


def mono_of(audio: AudioRef) -> NDArray[np.float32]:
    """Return the samples of a reply, (samples,) at 16 kHz.

    Raises:
        NotApplicable: the reply is shorter than a window of the models.
    """
    mono, _ = read_mono(audio.path, rate=RATE)
    if len(mono) < MIN_SAMPLES:
        raise NotApplicable(
            f"the reply has {len(mono) / RATE:.3f} s of audio; the model needs {MIN_SAMPLES / RATE} s"
        )
    return mono
