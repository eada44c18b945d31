"""From requests to prompt embeddings: audio is checked and encoded in batches, text and ids are looked up."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from echat_eval.errors import SystemFailure
from echat_eval.osum.decoding.jobs import require_room
from echat_eval.osum.model.config import SAMPLE_RATE
from echat_eval.osum.model.encoder import adapted_length
from echat_eval.osum.model.features import HOP, check_wave
from echat_eval.osum.model.memory import free_memory, is_oom
from echat_eval.osum.model.model import MAX_ENCODER_FRAMES
from echat_eval.osum.prompts.modes import AudioPrompt, SpeechIdPrompt, TextIdPrompt, TextPrompt, layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from echat_eval.osum.model.model import OsumModel
    from echat_eval.osum.model.tokenizer import TextTokenizer
    from echat_eval.osum.prompts.modes import GenerationRequest, Mode, Piece, Profile

__all__ = ["AudioEncoder", "PromptBuilder"]

logger = logging.getLogger(__name__)


class AudioEncoder:
    """Encodes waveforms in batches, which become smaller when the memory is full.

    Attributes:
        max_frames: log-mel frames per batch.
        notes: events to report to the user.
    """

    def __init__(self, model: OsumModel) -> None:
        self.model, self.max_frames = model, MAX_ENCODER_FRAMES
        self.notes: list[str] = []

    def encode(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """Return one (L_i, D) tensor per waveform.

        Raises:
            SystemFailure: the memory is full with a single recording.
        """
        while True:
            try:
                return self.model.embed_audio(waves, max_frames=self.max_frames)
            except (RuntimeError, MemoryError) as error:
                if not is_oom(error):
                    raise
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            free_memory(self.model.device)
            self.shrink([len(wave) * 100 // SAMPLE_RATE for wave in waves], reason)

    def shrink(self, frames: Sequence[int], reason: str) -> None:
        """Halve the batches, down to one recording, and add and log a note; raise if it was one already."""
        longest = max(frames)
        if self.max_frames == 1 or len(frames) == 1:
            raise SystemFailure(
                f"out of memory encoding one recording, the longest of {longest / 100:.1f} s, on "
                f"{self.model.device}: {reason}; free the device or use another"
            )
        half = min(self.max_frames, sum(frames)) // 2
        self.max_frames = half if half > longest else 1
        batch = f"{self.max_frames / 100:.0f} s of audio" if self.max_frames > 1 else "one recording"
        self.notes.append(f"out of memory encoding audio; went on with {batch} at a time")
        logger.warning("%s (%s)", self.notes[-1], reason)


class PromptBuilder:
    """Lays out prompts and embeds them.

    Args:
        model: on its device, in its dtype.
        tokenizer: the model's.
        profile: see `modes`.
    """

    def __init__(self, model: OsumModel, tokenizer: TextTokenizer, profile: Profile) -> None:
        self.model, self.tokenizer, self.profile = model, tokenizer, profile
        self.audio_encoder = AudioEncoder(model)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return events to report to the user."""
        return tuple(self.audio_encoder.notes)

    def checked_layout(self, mode: Mode, request: GenerationRequest, *, max_new_tokens: int) -> list[Piece]:
        """Return the prompt of a request as pieces, in order, before any audio is encoded.

        Raises:
            SystemFailure: its audio cannot be used, or prompt and reply exceed the decoder's positions.
            UsageError: the request lacks an input that the mode needs.
        """
        self.check_audio(request)
        pieces = layout(mode, request, profile=self.profile, config=self.model.config)
        positions = sum(map(self.positions_of, pieces))
        require_room(positions, max_new_tokens, self.model.config.decoder.positions)
        return pieces

    def check_audio(self, request: GenerationRequest, *, name: str = "audio") -> None:
        """Raise SystemFailure if the audio of a request cannot be used."""
        config = self.model.config
        waves = [turn.wave for turn in request.history]
        if request.wave is not None:
            waves.append(request.wave)
        for wave in waves:
            check_wave(
                wave, min_samples=config.min_audio_samples, max_seconds=config.max_audio_seconds, name=name
            )

    def embed(self, layouts: Sequence[Sequence[Piece]]) -> list[Tensor]:
        """Return one (L, D) prompt per layout."""
        audio = self.encode_audio(layouts)
        return [self.embed_pieces(pieces, audio) for pieces in layouts]

    def encode_audio(self, layouts: Sequence[Sequence[Piece]]) -> Iterator[Tensor]:
        """Return the (L, D) embeddings of all audio in these layouts, in order; encoded in batches."""
        waves = [piece.wave for pieces in layouts for piece in pieces if isinstance(piece, AudioPrompt)]
        return iter(self.audio_encoder.encode(waves) if waves else ())

    def embed_pieces(self, pieces: Sequence[Piece], audio: Iterator[Tensor]) -> Tensor:
        """Return the (L, D) embeddings of a prompt's pieces; `audio` yields those of its audio pieces."""
        return torch.cat([self.embed_piece(piece, audio) for piece in pieces])

    def embed_piece(self, piece: Piece, audio: Iterator[Tensor]) -> Tensor:
        """Return the (L, D) embeddings of one piece."""
        if isinstance(piece, AudioPrompt):
            return next(audio)
        ids = self.ids_of(piece)
        decoder = self.model.decoder
        table = decoder.speech_embedding if isinstance(piece, SpeechIdPrompt) else decoder.text_embedding
        rows: Tensor = table(torch.tensor(ids, dtype=torch.long, device=self.model.device))
        return rows

    def ids_of(self, piece: TextPrompt | TextIdPrompt | SpeechIdPrompt) -> Sequence[int]:
        """Return the ids of a piece of text or speech tokens."""
        if isinstance(piece, TextPrompt):
            return (self.tokenizer.encode if piece.trusted else self.tokenizer.encode_plain)(piece.text)
        return piece.ids

    def positions_of(self, piece: Piece) -> int:
        """Return how many positions a piece takes in the decoder; audio is not encoded for that."""
        if isinstance(piece, AudioPrompt):
            return adapted_length(len(piece.wave) // HOP)
        return len(self.ids_of(piece))
