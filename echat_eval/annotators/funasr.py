"""FunASR's models: recognisers such as Paraformer and SenseVoice, loaded strictly and without remote code."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.local_model import RATE, LocalModel, mono_of
from echat_eval.errors import BadData, NotApplicable, NotInstalled

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.records import AudioRef

__all__ = ["FunASR", "funasr_model"]

#: Noise on the input, which is FunASR's default, would make the same audio give other labels twice. Set when
#: the model is built: FunASR keeps a copy of its front end from then, and takes that one for every call.
STILL = {"dither": 0.0}


def funasr_model(
    model: str, *, hub: str = "ms", revision: str | None = None, device: str = "cpu", threads: int = 1
) -> LocalModel:
    """Return one of FunASR's models, not yet loaded; ready, it is FunASR's AutoModel.

    Args:
        model: a folder with config.yaml and model.pt, or a hub name that is in the local cache.
        hub: "ms" (ModelScope) or "hf".
        revision: of the hub.
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
                model=str(folder),
                device=device,
                ncpu=threads,
                disable_update=True,
                disable_pbar=True,
                disable_log=True,
                trust_remote_code=False,
                log_level="ERROR",
                frontend_conf=STILL,
            )
        except (AssertionError, KeyError) as error:
            raise NotInstalled(
                f"{folder}: FunASR does not know this model ({error}); a package it needs may be "
                "missing: pip install 'echat-eval[funasr]'"
            ) from error
    _check_loaded(made.model, folder)
    return made


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


@dataclass(slots=True, kw_only=True)
class FunASR:
    """Hears words, with Paraformer-zh or any other recogniser of FunASR, one reply after the other.

    FunASR can pad several into one batch, but its Paraformer then writes other words than for each alone
    (bench/annotators_batch.py counts them), so that is not done.

    Attributes:
        languages: those it is asked to hear; others are not applicable, and another ear's business.
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
