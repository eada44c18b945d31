"""emotion2vec+: the emotion of a reply's voice, as a distribution and as a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.funasr import funasr_model
from echat_eval.annotators.label_map import LabelMap, decide
from echat_eval.annotators.local_model import RATE, LocalModel, ModelAnnotator, mono_of
from echat_eval.errors import BadData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from echat_eval.records import AudioRef

__all__ = ["Emotion2vec", "padded_distributions"]


@dataclass(slots=True, kw_only=True)
class Emotion2vec(ModelAnnotator):
    """Classifier of nine emotions, loaded by FunASR.

    Attributes:
        threshold: below this probability the label is "unknown", and the judge gets no emotion. The
            published tables suggest that wrong labels harm more than absent ones; 0.5 is an unvalidated
            starting value.
        batch_size: replies per padded forward pass; FunASR itself would process them one by one.
    """

    model: str = "iic/emotion2vec_plus_large"
    hub: str = "ms"
    revision: str | None = None
    device: str = "cpu"
    threshold: float = 0.5
    batch_size: int = 8
    name: str = field(default="emotion2vec", init=False)
    version: str = field(default="1", init=False)
    _model: LocalModel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._model = funasr_model(self.model, hub=self.hub, revision=self.revision, device=self.device)

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return emotion, confidence and distribution (class -> probability)."""
        mono = mono_of(audio)
        with self._model.lock:
            result = self._model.ready().generate(
                mono, fs=RATE, granularity="utterance", extract_embedding=False
            )[0]
        return self._values(dict(zip(result["labels"], result["scores"], strict=True)))

    def annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> Sequence[Mapping[str, Any]]:
        """Annotate several replies in one padded forward pass; see `annotate`."""
        monos = [mono_of(audio) for audio in audios]
        with self._model.lock:
            return [
                self._values(distribution)
                for distribution in padded_distributions(self._model.ready(), monos)
            ]

    def _values(self, distribution: Mapping[str, float]) -> Mapping[str, Any]:
        # The official class list has nine classes; a custom list may hold placeholders.
        labels = LabelMap.of("emotion", list(distribution))
        decision = decide(distribution, labels, threshold=self.threshold)
        return {
            "emotion": decision.label,
            "confidence": round(decision.confidence, 6),
            "distribution": {name.rpartition("/")[2]: round(p, 6) for name, p in distribution.items()},
        }

    def rules(self) -> Mapping[str, Any]:
        """Return the threshold."""
        return {"threshold": self.threshold}

    def settings(self) -> Mapping[str, Any]:
        """Return the settings."""
        return {**self._model.settings(), "threshold": self.threshold}


def padded_distributions(loaded: Any, monos: Sequence[NDArray[np.float32]]) -> list[dict[str, float]]:
    """Return class -> probability for each clip of one padded batch.

    Every clip is normalised separately and padded with zeros. Convolutions over time pad a single clip with
    zeros as well, so the padding is set to zero again before each convolution. Attention and the final mean
    exclude it, so that the result matches that of single clips.

    Args:
        loaded: FunASR's AutoModel of an Emotion2vec model.
        monos: (samples,) each, 16 kHz, at least 400 samples.
    """
    import torch
    from torch.nn.functional import layer_norm

    model, tokens = loaded.model, loaded.kwargs["tokenizer"].token_list
    if model.proj is None:
        raise BadData("this emotion2vec has no classes; expected an emotion2vec_plus model")
    device = next(model.parameters()).device
    with torch.no_grad():
        clips = [torch.from_numpy(mono).to(device) for mono in monos]
        if model.cfg.normalize:
            clips = [layer_norm(clip, clip.shape) for clip in clips]
        batch = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)  # (B, samples)
        x, mask = _encode(model, batch, [len(clip) for clip in clips])
        mean = (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)  # (B, D)
        logits = model.proj(mean)
        unused = [n for n, token in enumerate(tokens) if token.startswith("unuse")]
        logits[:, unused] = -torch.inf
        probabilities = torch.softmax(logits, dim=-1).cpu().tolist()
    return [
        {token: p for token, p in zip(tokens, row, strict=True) if not token.startswith("unuse")}
        for row in probabilities
    ]


def _encode(model: Any, batch: Any, lengths: Sequence[int]) -> tuple[Any, Any]:
    """Return (B, T, D) features and a (B, T) float mask that is 0 in the padding."""
    import torch

    encoder = model.modality_encoders["AUDIO"]
    x = encoder.local_features(batch)  # (B, T, D)
    frames = torch.tensor(lengths, device=x.device)
    for _, kernel, stride in encoder.feature_enc_layers:
        frames = torch.div(frames - kernel, stride, rounding_mode="floor") + 1
    padding = torch.arange(x.shape[1], device=x.device)[None] >= frames[:, None]  # (B, T)
    mask = (~padding).to(x.dtype)
    x = x * mask.unsqueeze(-1)
    x = x + _positions(encoder.relative_positional_encoder, x, mask)
    bias = scale = None
    if encoder.get_alibi_bias is not None:
        bias = encoder.get_alibi_bias(
            batch_size=x.shape[0],
            time_steps=x.shape[1],
            heads=encoder.modality_cfg.num_alibi_heads,
            dtype=torch.float32,
            device=x.device,
        )
        scale = encoder.alibi_scale.clamp_min(0) if encoder.alibi_scale is not None else None
        if scale is not None and scale.size(0) == 1:
            bias, scale = bias * scale.squeeze(0).type_as(bias), None
    extra = 0
    if encoder.extra_tokens is not None:
        extra = encoder.extra_tokens.size(1)
        x = torch.cat([encoder.extra_tokens.expand(x.size(0), -1, -1), x], dim=1)
        padding = torch.nn.functional.pad(padding, (extra, 0))
        bias = torch.nn.functional.pad(bias, (extra, 0, extra, 0)) if bias is not None else None
    depth = encoder.modality_cfg.prenet_depth
    x = encoder.context_encoder(x, padding, bias, scale[:depth] if scale is not None else None)
    block_scale = scale[depth:] if scale is not None and scale.size(0) > 1 else scale
    for number, block in enumerate(model.blocks):
        block_bias = bias
        if bias is not None and block_scale is not None:
            factor = block_scale[number] if block_scale.size(0) > 1 else block_scale.squeeze(0)
            block_bias = bias * factor.type_as(bias)
        x, _ = block(x, padding_mask=padding, alibi_bias=block_bias)
    if model.norm is not None:
        x = model.norm(x)
    return x[:, extra:], mask


def _positions(encoder: Any, x: Any, mask: Any) -> Any:
    """Run the convolutional position encoder, setting the padding to zero before each convolution."""
    from torch import nn

    for layer in encoder:
        # Convolution blocks take (B, D, T); the layers around them transpose from and to (B, T, D).
        if isinstance(layer, nn.Sequential) and isinstance(layer[0], nn.Conv1d):
            x = layer(x * mask.unsqueeze(1))
        else:
            x = layer(x)
    return x * mask.unsqueeze(-1)
