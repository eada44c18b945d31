"""Any recogniser of transformers: Whisper and its kind, or CTC models such as wav2vec2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.funasr import RATE, mono_of
from echat_eval.annotators.transformers_model import TransformersModel
from echat_eval.errors import BadData, NotApplicable

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.records import AudioRef

__all__ = ["TransformersASR"]


class TransformersASR:
    """Hears words, greedily, so that equal audio gives equal words.

    Args:
        languages: those it is asked to hear, such as "en+zh"; others are not applicable.
        max_new_tokens: of a hypothesis; Whisper hears 30 s.
    """

    name = "transformers-asr"
    version = "1"

    def __init__(
        self, model: str, languages: str = "en+zh", revision: str | None = None, device: str = "cpu",
        max_new_tokens: int = 440,
    ) -> None:  # fmt: skip
        self.languages = tuple(languages.split("+"))
        self.max_new_tokens = max_new_tokens
        self._model = TransformersModel(model=model, build=self._build, revision=revision, device=device)

    def _build(self, folder: Path) -> Any:
        from transformers import (
            AutoConfig,
            AutoFeatureExtractor,
            AutoModelForCTC,
            AutoModelForSpeechSeq2Seq,
            AutoTokenizer,
        )

        config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
        ctc = any("CTC" in name for name in config.architectures or ())
        kind = AutoModelForCTC if ctc else AutoModelForSpeechSeq2Seq
        net, said = kind.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
        wrong = sorted(said["missing_keys"]) + [str(k) for k in said["mismatched_keys"]]
        if wrong:
            raise BadData(f"{folder}: weights are missing or of another shape: {', '.join(wrong[:3])}")
        front = AutoFeatureExtractor.from_pretrained(str(folder), local_files_only=True)
        words = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        return net.to(self._model.device).eval(), front, words, ctc

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return hypothesis (text) and language."""
        import torch

        if language not in self.languages:
            raise NotApplicable(f"{self._model.model} is not asked to hear '{language}'")
        mono = mono_of(audio)
        with self._model.lock:
            net, front, words, ctc = self._model.ready()
            given = front(mono, sampling_rate=RATE, return_tensors="pt").to(net.device)
            with torch.no_grad():
                if ctc:
                    tokens = net(**given).logits.argmax(-1)
                else:
                    spoken = (
                        {"language": language, "task": "transcribe"}
                        if getattr(net.generation_config, "is_multilingual", False)
                        else {}
                    )
                    tokens = net.generate(
                        **given, do_sample=False, num_beams=1, max_new_tokens=self._room(net), **spoken
                    )
            text = words.batch_decode(tokens, skip_special_tokens=True)[0]
        return {"hypothesis": text.strip(), "language": language}

    def _room(self, net: Any) -> int:
        """Return how many tokens fit behind the prompt."""
        whole = int(getattr(net.config, "max_target_positions", self.max_new_tokens + 8))
        return max(1, min(self.max_new_tokens, whole - 8))

    def close(self) -> None:
        """Let the model go."""
        self._model.close()

    def fingerprint(self) -> str:
        """Hash of the weights, the packages and the rule."""
        return self._model.fingerprint(rule=self.version, max_new_tokens=self.max_new_tokens)

    def settings(self) -> Mapping[str, Any]:
        """Everything that was set."""
        return {
            **self._model.settings(), "languages": list(self.languages),
            "max_new_tokens": self.max_new_tokens,
        }  # fmt: skip
