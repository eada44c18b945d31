"""FunASR's models: recognisers such as Paraformer and SenseVoice, loaded strictly and without remote code."""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.weights import folder_licence, folder_sha256, model_folder, require_files
from echat_eval.assets import installed_version
from echat_eval.audio import RESAMPLER, read_mono
from echat_eval.errors import BadData, NotApplicable, NotInstalled
from echat_eval.jsonl import dumps

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from echat_eval.records import AudioRef

__all__ = ["SHORTEST", "FunASR", "FunASRModel"]

RATE = 16000
#: Samples (50 ms); the models' windows do not fit into less.
SHORTEST = 800


@dataclass(slots=True, kw_only=True)
class FunASRModel:
    """One of FunASR's models in this process, shared by the annotators that are made of it.

    Attributes:
        model: a folder with config.yaml and model.pt, or a hub name that is in the local cache.
        hub: "ms" (ModelScope) or "hf".
        revision: of the hub.
    """

    model: str
    hub: str = "ms"
    revision: str | None = None
    device: str = "cpu"
    threads: int = 1
    lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _loaded: Any = field(default=None, init=False, repr=False)

    def folder(self) -> Path:
        """Return where the model lies."""
        found = model_folder(self.model, hub=self.hub, revision=self.revision)
        require_files(found, ["config.yaml|configuration.json", "model.pt"])
        return found

    def ready(self) -> Any:
        """Return FunASR's AutoModel, loaded; hold `lock` while calling and using it."""
        if self._loaded is None:
            folder = self.folder()
            noise = io.StringIO()  # the package prints while it is imported
            with contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
                try:
                    from funasr import AutoModel
                except ImportError as error:
                    raise NotInstalled(
                        f"FunASR needs the package '{error.name}'; pip install 'echat-eval[funasr]'"
                    ) from error
                try:
                    made = AutoModel(
                        model=str(folder), device=self.device, ncpu=self.threads, disable_update=True,
                        disable_pbar=True, disable_log=True, trust_remote_code=False, log_level="ERROR",
                    )  # fmt: skip
                except (AssertionError, KeyError) as error:
                    raise NotInstalled(
                        f"{folder}: FunASR does not know this model ({error}); a package it needs may be "
                        "missing: pip install 'echat-eval[funasr]'"
                    ) from error
            _check_loaded(made.model, folder)
            frontend = made.kwargs.get("frontend")
            if hasattr(frontend, "dither"):
                # Noise on the input would make the same audio give other labels twice.
                frontend.dither = 0.0
            self._loaded = made
        return self._loaded

    def close(self) -> None:
        """Let the model go."""
        with self.lock:
            self._loaded = None

    def fingerprint(self, **more: Any) -> str:
        """Return the hash of weights, configuration, package versions and whatever else matters."""
        parts = {
            "weights": folder_sha256(self.folder()), "funasr": installed_version("funasr"),
            "torch": installed_version("torch"), "resampler": RESAMPLER, **more,
        }  # fmt: skip
        return hashlib.sha256(dumps(parts).encode()).hexdigest()

    def settings(self) -> dict[str, Any]:
        """Return what was set, and the licence the model's card names."""
        return {
            "model": self.model, "hub": self.hub, "revision": self.revision, "device": self.device,
            "licence": folder_licence(self.folder()),
        }  # fmt: skip


def _check_loaded(model: Any, folder: Path) -> None:
    """Raise BadData unless every weight came out of the file: FunASR itself leaves out what does not fit."""
    import torch

    found = torch.load(folder / "model.pt", map_location="cpu", weights_only=True)
    for name in ("state_dict", "model_state_dict", "model"):
        found = found[name] if name in found and isinstance(found[name], Mapping) else found
    for name, weight in model.state_dict().items():
        fits = [w for key, w in found.items() if key == name or key.endswith("." + name)]
        if not any(w.shape == weight.shape and torch.equal(w, weight.cpu()) for w in fits):
            raise BadData(
                f"{folder / 'model.pt'}: weight '{name}' is missing or of another shape than the config's"
            )


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


@dataclass(slots=True, kw_only=True)
class FunASR:
    """Hears words, with Paraformer-zh or any other recogniser of FunASR.

    Attributes:
        languages: those it is asked to hear; others are not applicable, and another ear's business.
    """

    model: str = "iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-pytorch"
    hub: str = "ms"
    revision: str | None = None
    device: str = "cpu"
    languages: tuple[str, ...] | str = ("zh",)
    name: str = field(default="funasr", init=False)
    version: str = field(default="1", init=False)
    _model: FunASRModel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.languages, str):
            self.languages = tuple(self.languages.split("+"))
        self._model = FunASRModel(model=self.model, hub=self.hub, revision=self.revision, device=self.device)

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return hypothesis (text, "" if nothing was heard) and language."""
        if language not in self.languages:
            raise NotApplicable(f"{self.model} is not asked to hear '{language}'")
        mono = mono_of(audio)
        with self._model.lock:
            found = self._model.ready().generate(mono, fs=RATE)
        return {"hypothesis": _words(found[0].get("text", "")), "language": language}

    def close(self) -> None:
        """Let the model go."""
        self._model.close()

    def fingerprint(self) -> str:
        """Hash of the weights, the package and the rule."""
        return self._model.fingerprint(rule=self.version)

    def settings(self) -> Mapping[str, Any]:
        """Everything that was set."""
        return {**self._model.settings(), "languages": list(self.languages)}


def _words(text: str) -> str:
    """Return a recogniser's text without tags such as <|en|>.

    >>> _words("<|en|><|SAD|><|Speech|><|woitn|>so sorry")
    'so sorry'
    """
    import re

    return re.sub(r"<\|[^|>]*\|>", "", text).strip()
