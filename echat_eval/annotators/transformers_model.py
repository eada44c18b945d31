"""Models of transformers: loaded whole or refused, never with remote code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.annotators.local_model import RATE, LocalModel
from echat_eval.errors import BadData, NotInstalled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["front_of", "loaded_whole", "transformers_model"]


def transformers_model(
    model: str, build: Callable[[Path], Any], *, revision: str | None = None, device: str = "cpu"
) -> LocalModel:
    """Return a model of transformers, not yet loaded."""

    def built(folder: Path) -> Any:
        try:
            import transformers  # noqa: F401  said here, before anything is built
        except ImportError as error:
            raise NotInstalled(
                "this annotator needs transformers and torch; pip install 'echat-eval[osum]'"
            ) from error
        return build(folder)

    return LocalModel(
        model=model,
        build=built,
        packages=("transformers", "torch"),
        files=("config.json",),
        revision=revision,
        device=device,
    )


def loaded_whole(kind: Any, folder: Path, device: str) -> Any:
    """Return a network of an auto class, ready to hear.

    Raises:
        BadData: weights are missing or of another shape, which transformers itself only warns of.
    """
    net, said = kind.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False, output_loading_info=True
    )
    wrong = sorted(said["missing_keys"]) + [str(key) for key in said["mismatched_keys"]]
    if wrong:
        raise BadData(f"{folder}: weights are missing or of another shape: {', '.join(wrong[:3])}")
    return net.to(device).eval()


def front_of(folder: Path) -> Any:
    """Return the feature extractor of a folder.

    Raises:
        BadData: it wants another sampling rate than 16 kHz.
    """
    from transformers import AutoFeatureExtractor

    front = AutoFeatureExtractor.from_pretrained(str(folder), local_files_only=True)
    if front.sampling_rate != RATE:
        raise BadData(f"{folder}: hears {front.sampling_rate} Hz; expected {RATE}")
    return front
