"""emotion2vec+: which emotion a reply's voice carries, as the whole distribution and as a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.funasr import funasr_model
from echat_eval.annotators.label_map import LabelMap, decide
from echat_eval.annotators.local_model import RATE, LocalModel, mono_of
from echat_eval.errors import BadData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from echat_eval.records import AudioRef

__all__ = ["Emotion2vec", "padded_distributions"]


@dataclass(slots=True, kw_only=True)
class Emotion2vec:
    """Hears one of nine emotions through FunASR's own classes.

    Attributes:
        threshold: below this probability the label is "unknown": the judge is then told "not heard".
            The published tables suggest that wrong labels harm more than absent ones; 0.5 is a
            starting value that nobody has validated.
        batch_size: replies heard at once, in a padded forward of ours (FunASR's own loops).
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
        """Return emotion, confidence, distribution (class -> probability) and threshold."""
        mono = mono_of(audio)
        with self._model.lock:
            found = self._model.ready().generate(
                mono, fs=RATE, granularity="utterance", extract_embedding=False
            )[0]
        return self._heard(dict(zip(found["labels"], found["scores"], strict=True)))

    def annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> Sequence[Mapping[str, Any]]:
        """Return the same for several replies, heard in one padded forward."""
        monos = [mono_of(audio) for audio in audios]
        with self._model.lock:
            return [self._heard(found) for found in padded_distributions(self._model.ready(), monos)]

    def _heard(self, distribution: Mapping[str, float]) -> Mapping[str, Any]:
        # A custom class list may hold placeholders; the official one has the nine classes.
        labels = LabelMap.of("emotion", list(distribution))
        decision = decide(distribution, labels, threshold=self.threshold)
        return {
            "emotion": decision.label,
            "confidence": round(decision.confidence, 6),
            "distribution": {name.rpartition("/")[2]: round(p, 6) for name, p in distribution.items()},
        }

    def close(self) -> None:
        """Let the model go."""
        self._model.close()

    def fingerprint(self) -> str:
        """Hash of the weights, the package, the threshold and the rule."""
        return self._model.fingerprint(rule=self.version, threshold=self.threshold)

    def settings(self) -> Mapping[str, Any]:
        """Everything that was set."""
        return {**self._model.settings(), "threshold": self.threshold}


def padded_distributions(loaded: Any, monos: Sequence[NDArray[np.float32]]) -> list[dict[str, float]]:
    """Return class -> probability for each clip, heard together.

    Every clip is normalised by itself and followed by zeros. Convolutions over time pad a lone clip
    with zeros as well, so what stands behind a clip is set to zero again before each of them;
    attention and the final mean leave it out.

    Args:
        loaded: FunASR's AutoModel of an Emotion2vec.
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
        x, kept = _encoded(model, batch, [len(clip) for clip in clips])
        mean = (x * kept.unsqueeze(-1)).sum(1) / kept.sum(1, keepdim=True)  # (B, D)
        logits = model.proj(mean)
        unused = [n for n, token in enumerate(tokens) if token.startswith("unuse")]
        logits[:, unused] = -torch.inf
        shares = torch.softmax(logits, dim=-1).cpu().tolist()
    return [
        {token: p for token, p in zip(tokens, row, strict=True) if not token.startswith("unuse")}
        for row in shares
    ]


def _encoded(model: Any, batch: Any, lengths: Sequence[int]) -> tuple[Any, Any]:
    """Return (B, T, D) features and (B, T) floats that are 1 where a clip still sounds."""
    import torch

    encoder = model.modality_encoders["AUDIO"]
    x = encoder.local_features(batch)  # (B, T, D)
    frames = torch.tensor(lengths, device=x.device)
    for _, kernel, stride in encoder.feature_enc_layers:
        frames = torch.div(frames - kernel, stride, rounding_mode="floor") + 1
    padding = torch.arange(x.shape[1], device=x.device)[None] >= frames[:, None]  # (B, T)
    kept = (~padding).to(x.dtype)
    x = x * kept.unsqueeze(-1)
    x = x + _positions(encoder.relative_positional_encoder, x, kept)
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
    rest = scale[depth:] if scale is not None and scale.size(0) > 1 else scale
    for number, block in enumerate(model.blocks):
        own = bias
        if bias is not None and rest is not None:
            own = bias * (rest[number] if rest.size(0) > 1 else rest.squeeze(0)).type_as(bias)
        x, _ = block(x, padding_mask=padding, alibi_bias=own)
    if model.norm is not None:
        x = model.norm(x)
    return x[:, extra:], kept


def _positions(encoder: Any, x: Any, kept: Any) -> Any:
    """Run the convolutional position encoder with zeros behind every clip before each convolution."""
    from torch import nn

    for layer in encoder:
        # Convolution blocks see (B, D, T); the layers around them turn (B, T, D) into that and back.
        if isinstance(layer, nn.Sequential) and isinstance(layer[0], nn.Conv1d):
            x = layer(x * kept.unsqueeze(1))
        else:
            x = layer(x)
    return x * kept.unsqueeze(-1)
