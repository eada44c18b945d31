"""Loading of transformers models: completely or not at all, never with remote code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.annotators.local_model import RATE, LocalModel
from echat_eval.errors import BadData, NotInstalled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["feature_extractor", "load_completely", "transformers_model"]


def transformers_model(
    model: str, build: Callable[[Path], Any], *, revision: str | None = None, device: str = "cpu"
) -> LocalModel:
    """Return a transformers model that is not yet loaded."""

    def checked_build(folder: Path) -> Any:
        try:
            import transformers  # noqa: F401  checked before anything is built
        except ImportError as error:
            raise NotInstalled(
                "this annotator needs transformers and torch; pip install 'echat-eval[osum]'"
            ) from error
        return build(folder)

    return LocalModel(
        model=model,
        build=checked_build,
        packages=("transformers", "torch"),
        files=("config.json",),
        revision=revision,
        device=device,
    )


def load_completely(kind: Any, folder: Path, device: str) -> Any:
    """Return a network of an auto class in evaluation mode.

    Raises:
        BadData: weights are missing or have another shape; transformers itself only warns.
    """
    net, info = kind.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False, output_loading_info=True
    )
    faults = sorted(info["missing_keys"]) + [str(key) for key in info["mismatched_keys"]]
    if faults:
        raise BadData(f"{folder}: weights are missing or have another shape: {', '.join(faults[:3])}")
    return net.to(device).eval()


def feature_extractor(folder: Path) -> Any:
    """Return the feature extractor of a folder.

    Raises:
        BadData: its sampling rate is not 16 kHz.
    """
    from transformers import AutoFeatureExtractor

    extractor = AutoFeatureExtractor.from_pretrained(str(folder), local_files_only=True)
    if extractor.sampling_rate != RATE:
        raise BadData(f"{folder}: the model takes {extractor.sampling_rate} Hz; expected {RATE}")
    return extractor
