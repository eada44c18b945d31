"""From requests to jobs: audio checked and heard in batches, prompts laid out, prefixes looked up."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING

import torch

from echat_eval.errors import SystemFailure
from echat_eval.osum.decoding.scheduler import Job
from echat_eval.osum.engine.prefix_cache import common
from echat_eval.osum.model.config import SAMPLE_RATE
from echat_eval.osum.model.memory import free_memory, is_oom
from echat_eval.osum.model.model import HEARD_AT_ONCE
from echat_eval.osum.prompts.modes import AudioPrompt, Spoken, Words, layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from echat_eval.osum.engine.engine import Engine
    from echat_eval.osum.prompts.modes import GenerationRequest, Mode, Piece

__all__ = ["AudioEncoder", "JobSource", "embed"]

logger = logging.getLogger(__name__)


class AudioEncoder:
    """Hears waveforms, fewer at once after the memory was full.

    Attributes:
        most: log-mel frames heard at once.
        notes: what the caller should know.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine, self.most = engine, HEARD_AT_ONCE
        self.notes: list[str] = []

    def hear(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """Return one (L_i, D) tensor per waveform.

        Raises:
            SystemFailure: the memory does not even hold one.
        """
        while True:
            try:
                return self.engine.model.hear(waves, most=self.most)
            except (RuntimeError, MemoryError) as error:
                if not is_oom(error):
                    raise
                what = str(error).splitlines()[0] if str(error) else type(error).__name__
            free_memory(self.engine.model.device)
            self.lower([len(wave) * 100 // SAMPLE_RATE for wave in waves], what)

    def lower(self, frames: Sequence[int], what: str) -> None:
        """Hear less at once from now on, down to one recording, and say so."""
        longest = max(frames)
        if self.most == 1 or len(frames) == 1:
            raise SystemFailure(
                f"out of memory hearing one recording, the longest of {longest / 100:.1f} s, on "
                f"{self.engine.model.device}: {what}; free the device or use another"
            )
        half = min(self.most, sum(frames)) // 2
        self.most = half if half > longest else 1
        now = f"{self.most / 100:.0f} s of audio" if self.most > 1 else "one recording"
        self.notes.append(f"out of memory hearing; went on with {now} at a time")
        logger.warning("%s (%s)", self.notes[-1], what)


def embed(engine: Engine, pieces: Sequence[Piece], heard: Iterator[Tensor]) -> Tensor:
    """Return the (L, D) embeddings of a prompt's pieces; audio comes from `heard`, in order."""
    rows = [embed_piece(engine, piece, heard) for piece in pieces]
    return torch.cat(rows)


def embed_piece(engine: Engine, piece: Piece, heard: Iterator[Tensor]) -> Tensor:
    """Return the (L, D) embeddings of one piece."""
    if isinstance(piece, AudioPrompt):
        return next(heard)
    if isinstance(piece, Words):
        encode = engine.tokenizer.encode if piece.trusted else engine.tokenizer.encode_plain
        ids: Sequence[int] = encode(piece.text)
    else:
        ids = piece.ids
    decoder = engine.model.decoder
    table = decoder.speech_embedding if isinstance(piece, Spoken) else decoder.text_embedding
    rows: Tensor = table(torch.tensor(ids, dtype=torch.long, device=engine.model.device))
    return rows


class JobSource:
    """Requests of one mode, made into jobs as they are wanted.

    Attributes:
        asks: number -> request, of all that were taken.
        positions: number -> how many positions its prompt has.
    """

    def __init__(self, engine: Engine, mode: Mode, asks: Iterator[tuple[int, GenerationRequest]]) -> None:
        self.engine, self.mode, self.waiting = engine, mode, asks
        self.pending: list[
            tuple[int, GenerationRequest]
        ] = []  # taken, and not yet a job: the memory may be full meanwhile
        self.asks: dict[int, GenerationRequest] = {}
        self.positions: dict[int, int] = {}

    @torch.inference_mode()
    def take(self, count: int) -> list[Job]:
        """Return up to `count` jobs; their audio is heard together."""
        self.pending += islice(self.waiting, max(0, count - len(self.pending)))
        taken, layouts = self.pending, []
        for _, ask in taken:
            self.engine.check(ask)
            layouts.append(
                layout(self.mode, ask, profile=self.engine.profile, config=self.engine.model.config)
            )
        waves = [piece.wave for pieces in layouts for piece in pieces if isinstance(piece, AudioPrompt)]
        heard = iter(self.engine.ears.hear(waves) if waves else ())
        jobs = [
            self.job(number, ask, pieces, heard) for (number, ask), pieces in zip(taken, layouts, strict=True)
        ]
        self.asks |= dict(taken)
        self.pending = []
        self.positions |= {job.number: job.positions for job in jobs}
        return jobs

    def job(
        self, number: int, ask: GenerationRequest, pieces: Sequence[Piece], heard: Iterator[Tensor]
    ) -> Job:
        """Return one request's job."""
        before = common(pieces)
        first = tuple(pieces[:before])
        prefix = self.engine.prefixes.of(first, lambda: embed(self.engine, first, iter(())))
        prompt = embed(self.engine, pieces[before:], heard)
        return Job(number=number, prompt=prompt, seed=ask.seed, prefix=prefix)
