"""FunASR models such as Paraformer and SenseVoice, loaded strictly and without remote code."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.local_model import RATE, LocalModel, ModelAnnotator, mono_of
from echat_eval.errors import BadData, NotInstalled
from echat_eval.labels import split_tags
from echat_eval.plugins.packages import package_of

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.records import AudioRef

__all__ = ["FunASR", "funasr_model"]

#: No noise on the input. FunASR's default dither would make labels differ between two runs on the same audio.
#: Set when the model is built, because FunASR copies its front end then and uses the copy in every call.
NO_DITHER = {"dither": 0.0}


def funasr_model(
    model: str, *, hub: str = "ms", revision: str | None = None, device: str = "cpu", threads: int = 1
) -> LocalModel:
    """Return a FunASR model that is not yet loaded; `ready` returns FunASR's AutoModel.

    Args:
        model: a folder with config.yaml and model.pt, or a hub name that is in the local cache.
        hub: "ms" (ModelScope) or "hf".
        revision: revision on the hub.
    """
    return LocalModel(
        model=model,
        build=lambda folder: _build(folder, device, threads),
        packages=("funasr", "torch"),
        files=("config.yaml|configuration.json", "model.pt"),
        hub=hub,
        revision=revision,
        device=device,
    )


def _build(folder: Path, device: str, threads: int) -> Any:
    output = io.StringIO()  # the package prints while it is imported
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            from funasr import AutoModel
        except ImportError as error:
            raise NotInstalled(
                f"FunASR needs the package '{package_of(error)}'; pip install 'echat-eval[funasr]'"
            ) from error
        try:
            loaded = AutoModel(
                model=str(folder),
                device=device,
                ncpu=threads,
                disable_update=True,
                disable_pbar=True,
                disable_log=True,
                trust_remote_code=False,
                log_level="ERROR",
                frontend_conf=NO_DITHER,
            )
        except (AssertionError, KeyError) as error:
            raise NotInstalled(
                f"{folder}: FunASR does not support this model ({error}); a package it needs may be "
                "missing: pip install 'echat-eval[funasr]'"
            ) from error
    _check_loaded(loaded.model, folder)
    return loaded


def _check_loaded(model: Any, folder: Path) -> None:
    """Raise BadData unless every weight is from the file; FunASR skips weights that do not fit."""
    import torch

    stored = torch.load(folder / "model.pt", map_location="cpu", weights_only=True)
    for name in ("state_dict", "model_state_dict", "model"):
        stored = stored[name] if name in stored and isinstance(stored[name], Mapping) else stored
    for name, weight in model.state_dict().items():
        candidates = [w for key, w in stored.items() if key == name or key.endswith("." + name)]
        if not any(w.shape == weight.shape and torch.equal(w, weight.cpu()) for w in candidates):
            raise BadData(
                f"{folder / 'model.pt'}: weight '{name}' is missing or differs in shape from the config"
            )


@dataclass(slots=True, kw_only=True)
class FunASR(ModelAnnotator):
    """Recogniser: Paraformer-zh or another FunASR model, one reply at a time.

    FunASR can pad several replies into one batch, but Paraformer's transcripts then differ from those of
    single replies (bench/annotators/batch.py counts them), so batches are not used.

    Attributes:
        languages: languages to transcribe; replies in other languages are not applicable.
    """

    model: str = "iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-pytorch"
    hub: str = "ms"
    revision: str | None = None
    device: str = "cpu"
    languages: tuple[str, ...] | str = ("zh",)
    name: str = field(default="funasr", init=False)
    version: str = field(default="2", init=False)
    _model: LocalModel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.languages, str):
            self.languages = tuple(self.languages.split("+"))
        self._model = funasr_model(self.model, hub=self.hub, revision=self.revision, device=self.device)

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return hypothesis (text, "" if no speech is recognised) and language."""
        mono = mono_of(audio)
        with self._model.lock:
            results = self._model.ready().generate(mono, fs=RATE)
        return {"hypothesis": split_tags(results[0].get("text", ""))[0].strip(), "language": language}

    def settings(self) -> Mapping[str, Any]:
        """Return the settings."""
        return {**self._model.settings(), "languages": list(self.languages)}
