"""The whole of OSUM-EChat up to the voice: requests in, texts and speech tokens out, in batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

from echat_eval.osum.decoding.cuda_graphs import CudaGraphCache, recorder, resolve
from echat_eval.osum.decoding.generate import split
from echat_eval.osum.decoding.loop import DecodeLoop
from echat_eval.osum.engine.job_source import AudioEncoder, JobSource, embed
from echat_eval.osum.engine.prefix_cache import Prefixes
from echat_eval.osum.model.features import check_wave
from echat_eval.osum.prompts.modes import AudioPrompt, mode_named, rules_of
from echat_eval.osum.prompts.parse_reply import read_answer, read_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torch import Tensor

    from echat_eval.osum.decoding.cuda_graphs import Steps
    from echat_eval.osum.decoding.generate import Generated
    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.decoding.step import Hook
    from echat_eval.osum.model.model import OsumModel
    from echat_eval.osum.model.tokenizer import TextTokenizer
    from echat_eval.osum.prompts.modes import GenerationRequest, Piece, Profile
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
    """Model, tokenizer and profile; answers requests of one mode.

    Args:
        model: on its device, in its dtype.
        tokenizer: the model's.
        profile: see `modes`.
        slots: requests decoded together; a slot is refilled as soon as its reply ends.
        steps: how decode steps run, see `record.Steps`; on a CPU always plainly.
        look_every: steps between two looks at who is done; 0 for the usual.

    Attributes:
        notes: what happened that a reader of the results should know, such as a memory that was full.
        loop: the last run's decode loop, with its counts.
    """

    def __init__(
        self,
        model: OsumModel,
        tokenizer: TextTokenizer,
        *,
        profile: Profile = "fixed",
        slots: int = 8,
        steps: Steps = "auto",
        look_every: int = 0,
    ) -> None:
        self.model, self.tokenizer, self.profile = model, tokenizer, profile
        self.slots, self.look_every = slots, look_every
        self.steps = resolve(steps, model.device)
        self.prefixes, self.ears = Prefixes(model), AudioEncoder(self)
        self.loop: DecodeLoop | None = None
        self.kept = CudaGraphCache()
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the results should know."""
        return (*self._notes, *self.ears.notes)

    def check(self, ask: GenerationRequest, *, name: str = "audio") -> None:
        """Raise SystemFailure if the audio of a request cannot be heard."""
        config = self.model.config
        for wave in (*(turn.wave for turn in ask.history), *([] if ask.wave is None else [ask.wave])):
            check_wave(
                wave, min_samples=config.min_audio_samples, max_seconds=config.max_audio_seconds, name=name
            )

    def embed(self, layouts: Sequence[Sequence[Piece]]) -> list[Tensor]:
        """Return one (L, D) prompt per layout."""
        waves = [piece.wave for pieces in layouts for piece in pieces if isinstance(piece, AudioPrompt)]
        heard = iter(self.ears.hear(waves) if waves else ())
        return [embed(self, pieces, heard) for pieces in layouts]

    def reply(
        self,
        asks: Sequence[GenerationRequest],
        *,
        mode: str = "s2s",
        sampling: Sampling | None = None,
        cap: int | None = None,
        hook: Hook | None = None,
    ) -> list[OsumReply]:
        """Answer some requests, each as if it had been alone.

        Args:
            asks: any number.
            mode: a name of `modes.MODES`.
            sampling: in place of the mode's own.
            cap: most new ids, in place of the profile's.
            hook: see `generate`; then all are decoded together, however many.

        Raises:
            SystemFailure: audio that cannot be heard, a prompt too long, or a memory that holds not even
                one request; nothing is answered then.
            UsageError: the mode needs what a request lacks.
        """
        for ask in asks:
            self.check(ask)
        made = dict(
            self.stream(
                enumerate(asks),
                mode=mode,
                sampling=sampling,
                cap=cap,
                hook=hook,
                slots=len(asks) if hook is not None else min(self.slots, len(asks)),
            )
        )
        return [made[number] for number in range(len(asks))]

    def stream(
        self,
        asks: Iterable[tuple[int, GenerationRequest]],
        *,
        mode: str = "s2s",
        sampling: Sampling | None = None,
        cap: int | None = None,
        hook: Hook | None = None,
        slots: int = 0,
        begun: Callable[[int, tuple[int, ...]], None] | None = None,
    ) -> Iterator[tuple[int, OsumReply]]:
        """Yield (number, reply) as replies end; requests are taken from the iterable as slots come free.

        Args:
            asks: (number, request); the numbers are the caller's, each once.
            mode, sampling, cap, hook: as in `reply`.
            slots: in place of the engine's.
            begun: called with a number and the codec ids of a reply's first block of speech; only in modes
                that speak while they write.

        Raises:
            As `reply`, but in the midst of it.
        """
        chosen = mode_named(mode)
        rules = rules_of(chosen, self.profile, cap=cap)
        source = JobSource(self, chosen, iter(asks))
        first = rules.blocks[1] + (not rules.edge_fills) if rules.blocks and begun else 0
        loop = self.loop = DecodeLoop(
            self.model,
            rules=rules,
            sampling=sampling or chosen.sampling,
            slots=slots or self.slots,
            record=recorder(self.steps, self.model.decoder, self.model.device),
            look_every=self.look_every,
            early=first,
            hook=hook,
            kept=self.kept,
        )
        try:
            for made in loop.run(source.take):
                number = made.job.number
                row = split(made, rules, self.model.config, upstream=self.profile == "upstream")
                if made.early:
                    assert begun is not None  # nothing is reported early without it
                    begun(number, row.speech)
                    continue
                ask, positions = source.asks.pop(number), source.positions.pop(number)
                yield number, self._finish(row, mode=chosen.name, ask=ask, positions=positions)
        finally:
            self._notes += loop.notes
            # What did not fit once will not fit the next time.
            self.slots = min(self.slots, loop.slots) if loop.notes else self.slots

    def _finish(self, row: Generated, *, mode: str, ask: GenerationRequest, positions: int) -> OsumReply:
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
