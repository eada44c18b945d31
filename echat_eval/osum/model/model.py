"""The whole network: encoder, adapter and decoder, and the way from waveforms to embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from echat_eval.osum.model.decoder import Decoder
from echat_eval.osum.model.encoder import Adapter, Encoder, adapted_length
from echat_eval.osum.model.features import log_mel
from echat_eval.osum.model.length_batches import alike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from echat_eval.osum.model.config import OsumConfig

__all__ = ["HEARD_AT_ONCE", "OsumModel"]

#: Log-mel frames, padding included, that one call of the encoder takes: sixteen recordings of 30 s.
HEARD_AT_ONCE = 48_000


class OsumModel(nn.Module):
    """OSUM-EChat. Build it on the meta device and let `weights.load_model` fill it."""

    def __init__(self, config: OsumConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.adapter = Adapter(config)
        self.decoder = Decoder(config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The type the network computes in."""
        return self.decoder.norm.weight.dtype

    @torch.inference_mode()
    def hear(self, waves: Sequence[Tensor], *, most: int = HEARD_AT_ONCE) -> list[Tensor]:
        """Return one (L_i, D) tensor of decoder embeddings per 16 kHz waveform (samples_i,).

        Waveforms of like lengths are heard together, `most` log-mel frames at once, padding included.
        """
        mels = [log_mel(wave.to(self.device)) for wave in waves]
        heard: dict[int, Tensor] = {}
        for batch in alike([len(mel) for mel in mels], most=most):
            for number, row in zip(batch, self._hear([mels[i] for i in batch]), strict=True):
                heard[number] = row
        return [heard[number] for number in range(len(waves))]

    def _hear(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """Return one (L_i, D) tensor per log-mel (frames_i, mels), in one padded call."""
        sizes = [len(mel) for mel in mels]
        padded = min(sizes) < max(sizes)
        states, lengths = self.encoder(
            pad_sequence(list(mels), batch_first=True).to(self.dtype),
            torch.tensor(sizes, device=self.device),
            padded=padded,
        )
        embeddings, _ = self.adapter(states, lengths, padded=padded)
        return [row[: adapted_length(size)] for row, size in zip(embeddings, sizes, strict=True)]
