"""The whole network: encoder, adapter and decoder, and the path from waveforms to embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from echat_eval.osum.model.decoder import Decoder
from echat_eval.osum.model.encoder import Adapter, Encoder, adapted_length
from echat_eval.osum.model.features import log_mel
from echat_eval.osum.model.length_batches import batch_by_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from echat_eval.osum.model.config import OsumConfig

__all__ = ["MAX_ENCODER_FRAMES", "OsumModel"]

#: Log-mel frames per encoder call, padding included: sixteen recordings of 30 s.
MAX_ENCODER_FRAMES = 48_000


class OsumModel(nn.Module):
    """OSUM-EChat. `checkpoint.load_model` builds it on the meta device and fills it."""

    def __init__(self, config: OsumConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.adapter = Adapter(config)
        self.decoder = Decoder(config)

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.decoder.norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype that the network computes in."""
        return self.decoder.norm.weight.dtype

    @torch.inference_mode()
    def embed_audio(self, waves: Sequence[Tensor], *, max_frames: int = MAX_ENCODER_FRAMES) -> list[Tensor]:
        """Return one (L_i, D) tensor of decoder embeddings per 16 kHz waveform (samples_i,).

        Waveforms of similar lengths are encoded together, at most `max_frames` log-mel frames per call,
        padding included.
        """
        mels = [log_mel(wave.to(self.device)) for wave in waves]
        embeddings: dict[int, Tensor] = {}
        for batch in batch_by_length([len(mel) for mel in mels], max_padded=max_frames):
            for number, row in zip(batch, self._embed_mels([mels[i] for i in batch]), strict=True):
                embeddings[number] = row
        return [embeddings[number] for number in range(len(waves))]

    def _embed_mels(self, mels: Sequence[Tensor]) -> list[Tensor]:
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
