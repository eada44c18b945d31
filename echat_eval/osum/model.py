"""The whole network: encoder, adapter and decoder, and the way from waveforms to embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from echat_eval.osum.decoder import Decoder
from echat_eval.osum.encoder import Adapter, Encoder
from echat_eval.osum.features import log_mel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from echat_eval.osum.config import OsumConfig

__all__ = ["OsumModel"]


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
    def hear(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """Return one (L_i, D) tensor of decoder embeddings per 16 kHz waveform (samples_i,)."""
        mels = [log_mel(wave.to(self.device)) for wave in waves]
        lengths = torch.tensor([len(mel) for mel in mels], device=self.device)
        states, lengths = self.encoder(pad_sequence(mels, batch_first=True).to(self.dtype), lengths)
        embeddings, lengths = self.adapter(states, lengths)
        return [row[:length] for row, length in zip(embeddings, lengths.tolist(), strict=True)]
