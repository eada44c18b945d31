"""Audio classifiers of transformers, with a map from their classes to the benchmark's labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.label_map import LabelMap, decide
from echat_eval.annotators.local_model import RATE, LocalModel, mono_of
from echat_eval.annotators.transformers_model import feature_extractor, load_completely, transformers_model
from echat_eval.errors import BadData

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from echat_eval.records import AudioRef

__all__ = ["AudioClassifier", "ClassifierAnnotator", "EmotionClassifier", "read_map"]

#: Model types with an input window of fixed length.
FIXED_WINDOWS = ("audio-spectrogram-transformer", "whisper")


def read_map(text: str | Mapping[str, str]) -> dict[str, str]:
    """Return a label map; text is parsed as on the command line.

    >>> read_map("LABEL_0=anger;LABEL_1=happy")
    {'LABEL_0': 'anger', 'LABEL_1': 'happy'}
    """
    if not isinstance(text, str):
        return dict(text)
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    if any(not equals for _, equals, _ in pairs):
        raise BadData(f"label map {text!r}; expected class=label;class=label")
    return {name.strip(): label.strip() for name, _, label in pairs}


@dataclass(slots=True, kw_only=True)
class AudioClassifier:
    """A classifier shared by annotators: the network, its label map and its threshold.

    Attributes:
        cue: cue of the classes.
        labels: class -> label; other classes are looked up among the known spellings.
        default_labels: class -> label, for the classes that the model has; used if `labels` is empty.
        threshold: below this probability the label is "unknown".
    """

    cue: str
    model: str
    labels: Mapping[str, str]
    default_labels: Mapping[str, str] = field(default_factory=dict)
    revision: str | None = None
    device: str = "cpu"
    threshold: float = 0.5
    local_model: LocalModel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.local_model = transformers_model(
            self.model, self._build, revision=self.revision, device=self.device
        )

    def _build(self, folder: Path) -> Any:
        from transformers import AutoModelForAudioClassification

        net = load_completely(AutoModelForAudioClassification, folder, self.device)
        return net, feature_extractor(folder)

    def predict(
        self, audios: Sequence[AudioRef], *, independent: bool = False
    ) -> tuple[LabelMap, list[dict[str, float]]]:
        """Return the label map, and class -> probability for each clip.

        Args:
            independent: classes are independent (sigmoid) instead of exclusive (softmax).

        Raises:
            NotApplicable: a clip is too short.
            BadData: the label map does not fit the model's classes.
        """
        monos = [mono_of(audio) for audio in audios]
        with self.local_model.lock:
            net, extractor = self.local_model.ready()
            classes = [str(net.config.id2label[n]) for n in range(net.config.num_labels)]
            declared = self.labels or {k: v for k, v in self.default_labels.items() if k in classes}
            labels = LabelMap.of(self.cue, classes, declared)
            rows = _probabilities(net, extractor, monos, independent=independent)
        return labels, [dict(zip(classes, row, strict=True)) for row in rows]

    def classify(self, audios: Sequence[AudioRef]) -> list[dict[str, Any]]:
        """Return, per clip, the cue's label, its confidence, the distribution and the gaps of the map."""
        labels, distributions = self.predict(audios)
        annotations = []
        for distribution in distributions:
            decision = decide(distribution, labels, threshold=self.threshold)
            annotations.append(
                {
                    self.cue: decision.label,
                    "confidence": round(decision.confidence, 6),
                    "distribution": {name: round(p, 6) for name, p in distribution.items()},
                    **labels.gaps(),
                }
            )
        return annotations

    def fingerprint(self, **more: Any) -> str:
        """Return the hash of the weights, the packages, the map, the threshold and `more`."""
        labels = dict(self.labels or self.default_labels)
        return self.local_model.fingerprint(cue=self.cue, labels=labels, threshold=self.threshold, **more)

    def settings(self) -> dict[str, Any]:
        """Return the settings."""
        return {**self.local_model.settings(), "labels": dict(self.labels), "threshold": self.threshold}


def _probabilities(
    net: Any, extractor: Any, monos: Sequence[NDArray[np.float32]], *, independent: bool
) -> list[list[float]]:
    """Return probabilities, (clips, classes).

    Clips are padded into one batch only if the model can ignore padding, by a mask or by a window of fixed
    length. Otherwise they are processed one by one.
    """
    import torch

    fixed = net.config.model_type in FIXED_WINDOWS
    batched = fixed or getattr(extractor, "return_attention_mask", False)
    batches = [list(monos)] if batched else [[mono] for mono in monos]
    rows: list[list[float]] = []
    for batch in batches:
        inputs = extractor(
            batch, sampling_rate=RATE, return_tensors="pt", padding="max_length" if fixed else True
        )
        with torch.no_grad():
            logits = net(**{k: v.to(net.device) for k, v in inputs.items()}).logits
        rows += (torch.sigmoid(logits) if independent else torch.softmax(logits, -1)).cpu().tolist()
    return rows


class ClassifierAnnotator:
    """Base of annotators that use one `AudioClassifier`.

    Args:
        model: a folder, or a hub name that is in the local cache.
        labels: class=label;class=label; other classes are looked up among the known spellings.
        batch_size: replies per forward pass, if the model can mask padding.
        threshold: below this probability the label is "unknown".

    Attributes:
        cue: cue of the classes.
        default_labels: class -> label, used if `labels` is empty.
    """

    version: str
    cue: str
    default_labels: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        model: str,
        labels: str | Mapping[str, str] = "",
        revision: str | None = None,
        device: str = "cpu",
        threshold: float = 0.5,
        batch_size: int = 8,
    ) -> None:
        self.batch_size = batch_size
        self._classifier = AudioClassifier(
            cue=self.cue,
            model=model,
            labels=read_map(labels),
            default_labels=self.default_labels,
            revision=revision,
            device=device,
            threshold=threshold,
        )

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Annotate one reply; see `annotate_batch`."""
        return self.annotate_batch([audio], language=language)[0]

    def annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> Sequence[Mapping[str, Any]]:
        """Return, per reply, the cue's label, confidence, distribution, unmapped and never."""
        return self._classifier.classify(audios)

    def close(self) -> None:
        """Release the model."""
        self._classifier.local_model.close()

    def fingerprint(self) -> str:
        """Return the hash of the weights, the packages, the map, the threshold and the version."""
        return self._classifier.fingerprint(rule=self.version)

    def settings(self) -> Mapping[str, Any]:
        """Return the settings."""
        return self._classifier.settings()


class EmotionClassifier(ClassifierAnnotator):
    """Emotion classifier; a second opinion beside emotion2vec."""

    name = "transformers-emotion"
    version = "1"
    cue = "emotion"
