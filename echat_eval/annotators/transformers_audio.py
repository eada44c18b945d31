"""Any audio classifier of transformers, with a declared map from its classes to the benchmark's labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.label_map import LabelMap, decide
from echat_eval.annotators.local_model import RATE, LocalModel, mono_of
from echat_eval.annotators.transformers_model import front_of, loaded_whole, transformers_model
from echat_eval.errors import BadData

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from echat_eval.records import AudioRef

__all__ = ["AudioClassifier", "EmotionClassifier", "read_map"]

#: Model types that hear a window of one length, whatever is in it.
FIXED_WINDOWS = ("audio-spectrogram-transformer", "whisper")


def read_map(text: str | Mapping[str, str]) -> dict[str, str]:
    """Return a label map, also from the form the command line can write.

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
    """What annotators made of one classifier share: the network, its label map, its threshold.

    Attributes:
        cue: which cue its classes are about.
        labels: class -> label; classes left out are looked up among the known spellings.
        known: class -> label for classes it may have or lack; used where `labels` is empty.
        threshold: below this probability the label is "unknown".
    """

    cue: str
    model: str
    labels: Mapping[str, str]
    known: Mapping[str, str] = field(default_factory=dict)
    revision: str | None = None
    device: str = "cpu"
    threshold: float = 0.5
    hears: LocalModel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.hears = transformers_model(self.model, self._build, revision=self.revision, device=self.device)

    def _build(self, folder: Path) -> Any:
        from transformers import AutoModelForAudioClassification

        return loaded_whole(AutoModelForAudioClassification, folder, self.device), front_of(folder)

    def heard(
        self, audios: Sequence[AudioRef], *, independent: bool = False
    ) -> tuple[LabelMap, list[dict[str, float]]]:
        """Return the label map, and class -> probability for each clip.

        Args:
            independent: each class by itself (a tagger's sigmoid), not one of all (softmax).

        Raises:
            NotApplicable: a clip is too short.
            BadData: the map does not fit the model's classes.
        """
        monos = [mono_of(audio) for audio in audios]
        with self.hears.lock:
            net, front = self.hears.ready()
            classes = [str(net.config.id2label[n]) for n in range(net.config.num_labels)]
            declared = self.labels or {k: v for k, v in self.known.items() if k in classes}
            labels = LabelMap.of(self.cue, classes, declared)
            rows = _shares(net, front, monos, independent=independent)
        return labels, [dict(zip(classes, row, strict=True)) for row in rows]

    def decided(self, audios: Sequence[AudioRef]) -> list[dict[str, Any]]:
        """Return, per clip, the cue's label, its confidence, the distribution and what the map lacks."""
        labels, distributions = self.heard(audios)
        made = []
        for distribution in distributions:
            decision = decide(distribution, labels, threshold=self.threshold)
            made.append(
                {
                    self.cue: decision.label,
                    "confidence": round(decision.confidence, 6),
                    "distribution": {name: round(p, 6) for name, p in distribution.items()},
                    **labels.lacks(),
                }
            )
        return made

    def fingerprint(self, **more: Any) -> str:
        """Return the hash of the weights, the packages, the map, the threshold and whatever else matters."""
        labels = dict(self.labels or self.known)
        return self.hears.fingerprint(cue=self.cue, labels=labels, threshold=self.threshold, **more)

    def settings(self) -> dict[str, Any]:
        """Return everything that was set."""
        return {**self.hears.settings(), "labels": dict(self.labels), "threshold": self.threshold}


def _shares(
    net: Any, front: Any, monos: Sequence[NDArray[np.float32]], *, independent: bool
) -> list[list[float]]:
    """Return (clips, classes) probabilities.

    Clips are padded together only where the model can tell padding from sound, by a mask or by a
    window of fixed length; otherwise they are heard one by one.
    """
    import torch

    fixed = net.config.model_type in FIXED_WINDOWS
    together = fixed or getattr(front, "return_attention_mask", False)
    batches = [list(monos)] if together else [[mono] for mono in monos]
    rows: list[list[float]] = []
    for batch in batches:
        given = front(batch, sampling_rate=RATE, return_tensors="pt", padding="max_length" if fixed else True)
        with torch.no_grad():
            logits = net(**{k: v.to(net.device) for k, v in given.items()}).logits
        rows += (torch.sigmoid(logits) if independent else torch.softmax(logits, -1)).cpu().tolist()
    return rows


class EmotionClassifier:
    """Hears an emotion; a second opinion beside emotion2vec.

    Args:
        model: a folder, or a hub name that is in the local cache.
        labels: class=label;class=label; classes left out are looked up among the known spellings.
        batch_size: replies heard at once where the model can tell padding from sound.
    """

    name = "transformers-emotion"
    version = "1"

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
        self._heard = AudioClassifier(
            cue="emotion",
            model=model,
            labels=read_map(labels),
            revision=revision,
            device=device,
            threshold=threshold,
        )

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return emotion, confidence, distribution and the classes that map to no label."""
        return self._heard.decided([audio])[0]

    def annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> Sequence[Mapping[str, Any]]:
        """Return the same for several replies."""
        return self._heard.decided(audios)

    def close(self) -> None:
        """Let the model go."""
        self._heard.hears.close()

    def fingerprint(self) -> str:
        """Hash of the weights, the packages, the map, the threshold and the rule."""
        return self._heard.fingerprint(rule=self.version)

    def settings(self) -> Mapping[str, Any]:
        """Everything that was set."""
        return self._heard.settings()
