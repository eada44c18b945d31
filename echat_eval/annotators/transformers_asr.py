"""Any recogniser of transformers: Whisper and its kind, or CTC models such as wav2vec2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.local_model import RATE, mono_of
from echat_eval.annotators.transformers_audio import FIXED_WINDOWS
from echat_eval.annotators.transformers_model import front_of, loaded_whole, transformers_model
from echat_eval.errors import NotApplicable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from echat_eval.records import AudioRef

__all__ = ["TransformersASR", "windows"]

#: Samples: where a window may end (its last 5 s), and how long a silence is looked for (20 ms).
_LAST, _SILENCE = 5 * RATE, RATE // 50


class TransformersASR:
    """Hears words, greedily, so that equal audio gives equal words.

    Args:
        languages: those it is asked to hear, such as "en+zh"; others are not applicable.
        max_new_tokens: of a hypothesis, or of each window of a long reply; Whisper hears 30 s at once.
        batch_size: replies heard at once, where the model can tell padding from sound.
    """

    name = "transformers-asr"
    version = "1"

    def __init__(
        self,
        model: str,
        languages: str = "en+zh",
        revision: str | None = None,
        device: str = "cpu",
        max_new_tokens: int = 440,
        batch_size: int = 8,
    ) -> None:
        self.batch_size = batch_size
        self.languages = tuple(languages.split("+"))
        self.max_new_tokens = max_new_tokens
        self._model = transformers_model(model, self._build, revision=revision, device=device)

    def _build(self, folder: Path) -> Any:
        from transformers import AutoConfig, AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoTokenizer

        config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
        ctc = any("CTC" in name for name in config.architectures or ())
        net = loaded_whole(AutoModelForCTC if ctc else AutoModelForSpeechSeq2Seq, folder, self._model.device)
        if not ctc:
            net.generation_config.max_length = (
                None  # `max_new_tokens` bounds it; two bounds are complained of
            )
        words = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        return net, front_of(folder), words, ctc

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return hypothesis (text) and language."""
        return self.annotate_batch([audio], language=language)[0]

    def annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> Sequence[Mapping[str, Any]]:
        """Return the same for several replies."""
        if language not in self.languages:
            raise NotApplicable(f"{self._model.model} is not asked to hear '{language}'")
        monos = [mono_of(audio) for audio in audios]
        with self._model.lock:
            net, front, _, ctc = self._model.ready()
            fixed = net.config.model_type in FIXED_WINDOWS
            parts = [windows(mono, front.n_samples) if fixed else [mono] for mono in monos]
            whole = [part for its in parts for part in its]
            together = fixed or (ctc and getattr(front, "return_attention_mask", False))
            size = max(1, self.batch_size) if together else 1
            texts: list[str] = []
            for start in range(0, len(whole), size):
                texts += self._heard(whole[start : start + size], language)
        said = iter(texts)
        return [
            {"hypothesis": " ".join(next(said).strip() for _ in its).strip(), "language": language}
            for its in parts
        ]

    def _heard(self, monos: Sequence[NDArray[np.float32]], language: str) -> list[str]:
        import torch

        net, front, words, ctc = self._model.ready()
        given = front(
            list(monos),
            sampling_rate=RATE,
            return_tensors="pt",
            padding="max_length" if net.config.model_type in FIXED_WINDOWS else True,
        ).to(net.device)
        with torch.no_grad():
            if ctc:
                tokens = net(**given).logits.argmax(-1)
                if "attention_mask" in given:
                    # What a model says behind the end of a clip was never said.
                    kept = net._get_feature_vector_attention_mask(tokens.shape[1], given["attention_mask"])
                    tokens = tokens.masked_fill(~kept.bool(), words.pad_token_id)
            else:
                spoken = (
                    {"language": language, "task": "transcribe"}
                    if getattr(net.generation_config, "is_multilingual", False)
                    else {}
                )
                tokens = net.generate(
                    **given, do_sample=False, num_beams=1, max_new_tokens=self._room(net), **spoken
                )
        texts: list[str] = words.batch_decode(tokens, skip_special_tokens=True)
        return texts

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
            **self._model.settings(),
            "languages": list(self.languages),
            "max_new_tokens": self.max_new_tokens,
        }


def windows(mono: NDArray[np.float32], longest: int) -> list[NDArray[np.float32]]:
    """Return a clip in parts of at most `longest` samples, cut where it is quietest.

    >>> import numpy as np
    >>> [len(part) for part in windows(np.ones(480_000 + 1600, np.float32), 480_000)]
    [400000, 81600]
    """
    import numpy as np

    parts, last = [], min(_LAST, longest // 2)
    while len(mono) > longest:
        tail = mono[longest - last : longest]
        frames = np.abs(tail[: len(tail) // _SILENCE * _SILENCE]).reshape(-1, _SILENCE).max(axis=1)
        end = longest - last + int(frames.argmin()) * _SILENCE
        parts.append(mono[:end])
        mono = mono[end:]
    return [*parts, mono]
