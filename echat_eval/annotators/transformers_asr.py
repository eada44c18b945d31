"""Recognisers of transformers: Whisper-like models, or CTC models such as wav2vec2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.local_model import RATE, ModelAnnotator, mono_of
from echat_eval.annotators.transformers_audio import FIXED_WINDOWS
from echat_eval.annotators.transformers_model import feature_extractor, load_completely, transformers_model
from echat_eval.languages import base_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from echat_eval.records import AudioRef

__all__ = ["TransformersASR", "windows"]

#: Samples: a window ends within its last 5 s, at the quietest 20 ms.
_CUT_RANGE, _CUT_FRAME = 5 * RATE, RATE // 50


class TransformersASR(ModelAnnotator):
    """Recogniser with greedy decoding, so that equal audio gives equal transcripts.

    Args:
        languages: languages to transcribe, such as "en+zh"; others are not applicable.
        max_new_tokens: limit for a hypothesis, or for each window of a long reply (30 s for Whisper).
        batch_size: replies per forward pass, if the model can mask padding.
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
        net = load_completely(
            AutoModelForCTC if ctc else AutoModelForSpeechSeq2Seq, folder, self._model.device
        )
        if not ctc:
            # `max_new_tokens` is the limit; transformers warns about two limits.
            net.generation_config.max_length = None
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        return net, feature_extractor(folder), tokenizer, ctc

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return hypothesis (text) and language."""
        return self.annotate_batch([audio], language=language)[0]

    def annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> Sequence[Mapping[str, Any]]:
        """Annotate several replies; see `annotate`."""
        monos = [mono_of(audio) for audio in audios]
        with self._model.lock:
            net, extractor, _, ctc = self._model.ready()
            fixed = net.config.model_type in FIXED_WINDOWS
            parts_of_clips = [windows(mono, extractor.n_samples) if fixed else [mono] for mono in monos]
            parts = [part for clip_parts in parts_of_clips for part in clip_parts]
            batched = fixed or (ctc and getattr(extractor, "return_attention_mask", False))
            size = max(1, self.batch_size) if batched else 1
            texts: list[str] = []
            for start in range(0, len(parts), size):
                texts += self._transcribe(parts[start : start + size], language)
        remaining = iter(texts)
        return [
            {
                "hypothesis": " ".join(next(remaining).strip() for _ in clip_parts).strip(),
                "language": language,
            }
            for clip_parts in parts_of_clips
        ]

    def _transcribe(self, monos: Sequence[NDArray[np.float32]], language: str) -> list[str]:
        import torch

        net, extractor, tokenizer, ctc = self._model.ready()
        inputs = extractor(
            list(monos),
            sampling_rate=RATE,
            return_tensors="pt",
            padding="max_length" if net.config.model_type in FIXED_WINDOWS else True,
        ).to(net.device)
        with torch.no_grad():
            if ctc:
                tokens = net(**inputs).logits.argmax(-1)
                if "attention_mask" in inputs:
                    # Drop tokens from the padding behind a clip.
                    mask = net._get_feature_vector_attention_mask(tokens.shape[1], inputs["attention_mask"])
                    tokens = tokens.masked_fill(~mask.bool(), tokenizer.pad_token_id)
            else:
                language_options = (
                    {"language": base_of(language), "task": "transcribe"}
                    if getattr(net.generation_config, "is_multilingual", False)
                    else {}
                )
                tokens = net.generate(
                    **inputs,
                    do_sample=False,
                    num_beams=1,
                    max_new_tokens=self._token_limit(net),
                    **language_options,
                )
        texts: list[str] = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return texts

    def _token_limit(self, net: Any) -> int:
        """Return the number of tokens that fit behind the prompt."""
        positions = int(getattr(net.config, "max_target_positions", self.max_new_tokens + 8))
        return max(1, min(self.max_new_tokens, positions - 8))

    def rules(self) -> Mapping[str, Any]:
        """Return the limit of a hypothesis."""
        return {"max_new_tokens": self.max_new_tokens}

    def settings(self) -> Mapping[str, Any]:
        """Return the settings."""
        return {
            **self._model.settings(),
            "languages": list(self.languages),
            "max_new_tokens": self.max_new_tokens,
        }


def windows(mono: NDArray[np.float32], max_length: int) -> list[NDArray[np.float32]]:
    """Return a clip in parts of at most `max_length` samples, cut at quiet places.

    >>> import numpy as np
    >>> [len(part) for part in windows(np.ones(480_000 + 1600, np.float32), 480_000)]
    [400000, 81600]
    """
    import numpy as np

    parts, cut_range = [], min(_CUT_RANGE, max_length // 2)
    while len(mono) > max_length:
        tail = mono[max_length - cut_range : max_length]
        frames = np.abs(tail[: len(tail) // _CUT_FRAME * _CUT_FRAME]).reshape(-1, _CUT_FRAME).max(axis=1)
        end = max_length - cut_range + int(frames.argmin()) * _CUT_FRAME
        parts.append(mono[:end])
        mono = mono[end:]
    return [*parts, mono]
