"""Any audio classifier of transformers, with a declared map from its classes to the benchmark's labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.funasr import RATE, mono_of
from echat_eval.annotators.label_map import LabelMap, decide
from echat_eval.annotators.transformers_model import TransformersModel
from echat_eval.errors import BadData

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from echat_eval.records import AudioRef

__all__ = ["AudioClassifier", "EmotionClassifier", "read_map"]


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
    """What annotators made of one classifier share.

    Attributes:
        cue: which cue its classes are about.
        labels: class -> label; classes left out are looked up among the known spellings.
        threshold: below this probability the label is "unknown".
    """

    cue: str
    model: str
    labels: Mapping[str, str]
    revision: str | None = None
    device: str = "cpu"
    threshold: float = 0.5
    hears: TransformersModel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.hears = TransformersModel(
            model=self.model, build=self._build, revision=self.revision, device=self.device
        )

    def _build(self, folder: Path) -> Any:
        from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

        net, said = AutoModelForAudioClassification.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
        wrong = sorted(said["missing_keys"]) + [str(k) for k in said["mismatched_keys"]]
        if wrong:
            raise BadData(f"{folder}: weights are missing or of another shape: {', '.join(wrong[:3])}")
        front = AutoFeatureExtractor.from_pretrained(str(folder), local_files_only=True)
        if front.sampling_rate != RATE:
            raise BadData(f"{folder}: hears {front.sampling_rate} Hz; expected {RATE}")
        return net.to(self.device).eval(), front

    def classes(self) -> list[str]:
        """Return the model's classes, in its order."""
        net, _ = self.hears.ready()
        return [str(net.config.id2label[n]) for n in range(net.config.num_labels)]

    def label_map(self) -> LabelMap:
        """Return the map from its classes to the benchmark's labels."""
        return LabelMap.of(self.cue, self.classes(), self.labels)

    def shares(
        self, monos: Sequence[NDArray[np.float32]], *, independent: bool = False
    ) -> list[dict[str, float]]:
        """Return class -> probability for each clip.

        Clips are padded together only where the model can tell padding from sound, by a mask or by a
        window of fixed length; otherwise one by one.

        Args:
            independent: each class by itself (a tagger's sigmoid), not one of all (softmax).
        """
        import torch

        net, front = self.hears.ready()
        apart = len(monos) > 1 and not (
            getattr(front, "return_attention_mask", False) or hasattr(net.config, "max_length_s")
            or net.config.model_type == "audio-spectrogram-transformer"
        )  # fmt: skip
        batches = [[mono] for mono in monos] if apart else [list(monos)]
        rows = []
        for batch in batches:
            given = front(batch, sampling_rate=RATE, return_tensors="pt", padding=True)
            with torch.no_grad():
                logits = net(**{k: v.to(net.device) for k, v in given.items()}).logits
            rows += (torch.sigmoid(logits) if independent else torch.softmax(logits, -1)).cpu().tolist()
        names = self.classes()
        return [dict(zip(names, row, strict=True)) for row in rows]


class EmotionClassifier:
    """A second opinion on the emotion of a voice, by any audio classifier of transformers."""

    name = "transformers-emotion"
    version = "1"

    def __init__(
        self, model: str, labels: str | Mapping[str, str] = "", revision: str | None = None,
        device: str = "cpu", threshold: float = 0.5, batch_size: int = 8,
    ) -> None:  # fmt: skip
        self.batch_size = batch_size
        self._heard = AudioClassifier(
            cue="emotion", model=model, labels=read_map(labels), revision=revision, device=device,
            threshold=threshold,
        )  # fmt: skip

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return emotion, confidence, distribution and the classes that map to no label."""
        return self.annotate_batch([audio], language=language)[0]

    def annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> Sequence[Mapping[str, Any]]:
        """Return the same for several replies."""
        monos = [mono_of(audio) for audio in audios]
        with self._heard.hears.lock:
            labels = self._heard.label_map()
            found = self._heard.shares(monos)
        made = []
        for distribution in found:
            decision = decide(distribution, labels, threshold=self._heard.threshold)
            made.append(
                {
                    "emotion": decision.label,
                    "confidence": round(decision.confidence, 6),
                    "distribution": {name: round(p, 6) for name, p in distribution.items()},
                    "unmapped": list(labels.unmapped),
                    "never": list(labels.never),
                }
            )
        return made

    def close(self) -> None:
        """Let the model go."""
        self._heard.hears.close()

    def fingerprint(self) -> str:
        """Hash of the weights, the packages, the map, the threshold and the rule."""
        return self._heard.hears.fingerprint(
            rule=self.version, labels=dict(self._heard.labels), threshold=self._heard.threshold
        )

    def settings(self) -> Mapping[str, Any]:
        """Everything that was set."""
        return {
            **self._heard.hears.settings(), "labels": dict(self._heard.labels),
            "threshold": self._heard.threshold,
        }  # fmt: skip
