"""Age group and gender of a voice, by a classifier with a declared map or by a regressor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.local_model import RATE, ModelAnnotator, mono_of
from echat_eval.annotators.transformers_audio import ClassifierAnnotator
from echat_eval.annotators.transformers_model import feature_extractor, transformers_model
from echat_eval.errors import BadData, UsageError
from echat_eval.labels import UNKNOWN

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.records import AudioRef

__all__ = ["CHILD_BELOW", "OLD_FROM", "AgeGenderRegressor", "Speaker", "age_group"]

#: Years. The benchmark defines no boundaries; these are the project's.
CHILD_BELOW, OLD_FROM = 14, 60


def age_group(years: float) -> str:
    """Return child, adult or old.

    >>> age_group(13.9), age_group(14), age_group(60)
    ('child', 'adult', 'old')
    """
    return "child" if years < CHILD_BELOW else "adult" if years < OLD_FROM else "old"


class Speaker(ClassifierAnnotator):
    """Classifier of the age group or the gender of a voice.

    Args:
        cue: cue of the classes, "age" or "gender".
        model, labels, revision, device, threshold, batch_size: as `ClassifierAnnotator`.
    """

    name = "speaker"
    version = "1"

    def __init__(
        self,
        model: str,
        cue: str = "gender",
        labels: str | Mapping[str, str] = "",
        revision: str | None = None,
        device: str = "cpu",
        threshold: float = 0.5,
        batch_size: int = 8,
    ) -> None:
        if cue not in ("age", "gender"):
            raise UsageError(f"speaker: cue is {cue!r}; expected age or gender")
        self.cue = cue
        super().__init__(model, labels, revision, device, threshold, batch_size)

    def settings(self) -> Mapping[str, Any]:
        """Return the settings."""
        return {**super().settings(), "cue": self.cue}


class AgeGenderRegressor(ModelAnnotator):
    """Estimator of age in years and gender, with audeering's two-headed wav2vec2.

    It is never a default, because its weights are CC BY-NC-SA 4.0, not for commercial use. The command
    line prints `licence`.
    """

    name = "age-gender"
    version = "1"
    licence = "CC BY-NC-SA 4.0: not for commercial use"

    def __init__(
        self,
        model: str = "audeering/wav2vec2-large-robust-24-ft-age-gender",
        revision: str | None = None,
        device: str = "cpu",
        threshold: float = 0.5,
    ) -> None:
        self.threshold = threshold
        self._model = transformers_model(model, self._build, revision=revision, device=device)

    def _build(self, folder: Path) -> Any:
        import torch
        from transformers import AutoConfig, Wav2Vec2Model

        config = AutoConfig.from_pretrained(str(folder), local_files_only=True)

        def head(outputs: int) -> Any:
            module = torch.nn.Module()
            module.dense = torch.nn.Linear(config.hidden_size, config.hidden_size)
            module.out_proj = torch.nn.Linear(config.hidden_size, outputs)
            return module

        net = torch.nn.Module()
        net.wav2vec2, net.age, net.gender = Wav2Vec2Model(config), head(1), head(3)
        # masked_spec_embed is used in training only, and files may omit it.
        result = net.load_state_dict(_weights(folder), strict=False)
        faults = [
            k for k in (*result.missing_keys, *result.unexpected_keys) if not k.endswith("masked_spec_embed")
        ]
        if faults:
            raise BadData(f"{folder}: weights do not fit an age-gender model: {', '.join(faults[:3])}")
        return net.to(self._model.device).eval(), feature_extractor(folder)

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return age (group), years, gender and distribution (female, male, child)."""
        import torch

        mono = mono_of(audio)
        with self._model.lock, torch.no_grad():
            net, extractor = self._model.ready()
            inputs = extractor(mono, sampling_rate=RATE, return_tensors="pt").to(self._model.device)
            pooled = net.wav2vec2(inputs["input_values"]).last_hidden_state.mean(1)
            years, logits = (
                head.out_proj(torch.tanh(head.dense(pooled)))[0] for head in (net.age, net.gender)
            )
            probabilities = torch.softmax(logits, -1).cpu().tolist()
        distribution = dict(zip(("female", "male", "child"), probabilities, strict=True))
        best = max(distribution, key=lambda name: distribution[name])
        certain = distribution[best] >= self.threshold and best != "child"
        return {
            "age": "child" if best == "child" else age_group(100 * float(years)),
            "years": round(100 * float(years), 3),
            "gender": best if certain else UNKNOWN,
            "confidence": round(distribution[best], 6),
            "distribution": {name: round(p, 6) for name, p in distribution.items()},
        }

    def rules(self) -> Mapping[str, Any]:
        """Return the boundaries of the age groups and the threshold."""
        return {"years": [CHILD_BELOW, OLD_FROM], "threshold": self.threshold}

    def settings(self) -> Mapping[str, Any]:
        """Return the settings."""
        return {**self._model.settings(), "licence": self.licence, "threshold": self.threshold}


def _weights(folder: Path) -> Any:
    import torch

    if (folder / "model.safetensors").is_file():
        from safetensors.torch import load_file

        return load_file(folder / "model.safetensors")
    return torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
