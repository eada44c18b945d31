"""The whole of OSUM-EChat up to the voice: requests in, texts and speech tokens out, in batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

import torch

from echat_eval.osum.features import check_wave
from echat_eval.osum.generate import generate
from echat_eval.osum.modes import Heard, Spoken, Words, layout, mode_named, rules_of
from echat_eval.osum.think import read_answer, read_reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from echat_eval.osum.generate import Generated, Hook
    from echat_eval.osum.model import OsumModel
    from echat_eval.osum.modes import Ask, Piece, Profile
    from echat_eval.osum.sampling import Sampling
    from echat_eval.osum.tokenizer import TextTokenizer
    from echat_eval.records import Waveform

__all__ = ["Engine", "OsumReply", "Token2Wav"]


class Token2Wav(Protocol):
    """What turns speech tokens into sound."""

    def synthesise(self, tokens: Sequence[Sequence[int]], *, seeds: Sequence[int]) -> list[Waveform | None]:
        """Return one waveform per list of codec ids (0..4095, 25 a second); None where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OsumReply:
    """One answer.

    Attributes:
        text: the words, without think text and without the leading emotion tag.
        think: what stood between the think marks, None if nothing did.
        perceived: cue name -> label the model says it heard.
        reply_emotion: the emotion the model says it answers in, one of `think.REPLY_EMOTIONS`' values.
        speech: codec ids, 25 a second; empty in modes that write.
        finish_reason: "stop", or "length" where the cap cut the reply off.
        prompt_positions, new_ids: how much was read and made.
        raw: the whole text as it was decoded.
        ids: everything generated, for the next turn's history.
    """

    text: str
    think: str | None
    perceived: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    reply_emotion: str | None = None
    speech: tuple[int, ...]
    finish_reason: Literal["stop", "length"]
    prompt_positions: int
    new_ids: int
    raw: str
    ids: tuple[int, ...]


class Engine:
    """Model, tokenizer and profile; answers batches of one mode."""

    def __init__(self, model: OsumModel, tokenizer: TextTokenizer, *, profile: Profile = "fixed") -> None:
        self.model, self.tokenizer, self.profile = model, tokenizer, profile

    def check(self, ask: Ask, *, name: str = "audio") -> None:
        """Raise SystemFailure if the audio of a request cannot be heard."""
        config = self.model.config
        for wave in (*(turn.wave for turn in ask.history), *([] if ask.wave is None else [ask.wave])):
            check_wave(
                wave, min_samples=config.min_audio_samples, max_seconds=config.max_audio_seconds, name=name
            )

    def embed(self, layouts: Sequence[Sequence[Piece]]) -> list[Tensor]:
        """Return one (L, D) prompt per layout; all waveforms are heard in one batch."""
        waves = [piece.wave for pieces in layouts for piece in pieces if isinstance(piece, Heard)]
        heard = iter(self.model.hear(waves)) if waves else iter(())
        return [torch.cat([self._embed_piece(piece, heard) for piece in pieces]) for pieces in layouts]

    def _embed_piece(self, piece: Piece, heard: Iterator[Tensor]) -> Tensor:
        if isinstance(piece, Heard):
            return next(heard)
        if isinstance(piece, Words):
            encode = self.tokenizer.encode if piece.trusted else self.tokenizer.encode_plain
            ids: Sequence[int] = encode(piece.text)
        else:
            ids = piece.ids
        decoder = self.model.decoder
        table = decoder.speech_embedding if isinstance(piece, Spoken) else decoder.text_embedding
        rows: Tensor = table(torch.tensor(ids, dtype=torch.long, device=self.model.device))
        return rows

    @torch.inference_mode()
    def reply(
        self,
        asks: Sequence[Ask],
        *,
        mode: str = "s2s",
        sampling: Sampling | None = None,
        cap: int | None = None,
        hook: Hook | None = None,
    ) -> list[OsumReply]:
        """Answer a batch.

        Args:
            asks: at least one.
            mode: a name of `modes.MODES`.
            sampling: in place of the mode's own.
            cap: most new ids, in place of the profile's.
            hook: see `generate`.

        Raises:
            SystemFailure: audio that cannot be heard; nothing is answered then.
            UsageError: the mode needs what a request lacks.
        """
        chosen = mode_named(mode)
        for ask in asks:
            self.check(ask)
        rules = rules_of(chosen, self.profile, cap=cap)
        prompts = self.embed(
            [layout(chosen, a, profile=self.profile, config=self.model.config) for a in asks]
        )
        rows = generate(
            self.model,
            prompts,
            rules=rules,
            sampling=sampling or chosen.sampling,
            seeds=[ask.seed for ask in asks],
            upstream=self.profile == "upstream",
            hook=hook,
        )
        return [
            self._finish(row, mode=chosen.name, ask=ask, positions=len(prompt))
            for row, ask, prompt in zip(rows, asks, prompts, strict=True)
        ]

    def _finish(self, row: Generated, *, mode: str, ask: Ask, positions: int) -> OsumReply:
        raw = self.tokenizer.decode(row.text)
        reading = read_answer(raw, task=ask.task) if mode == "understand" else read_reply(raw)
        return OsumReply(
            text=reading.text,
            think=reading.think,
            perceived=reading.perceived,
            reply_emotion=reading.reply_emotion,
            speech=row.speech,
            finish_reason=row.finish_reason,
            prompt_positions=positions,
            new_ids=len(row.ids),
            raw=raw,
            ids=row.ids,
        )
