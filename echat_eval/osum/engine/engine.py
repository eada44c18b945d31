"""OSUM-EChat without the vocoder: requests in, text and speech tokens out, in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.errors import SystemFailure
from echat_eval.osum.decoding.captured_steps import capture_usual_steps
from echat_eval.osum.decoding.cuda_graphs import CudaGraphCache, graph_capture, resolve
from echat_eval.osum.decoding.generate import split
from echat_eval.osum.decoding.jobs import DroppedJob, NewIds
from echat_eval.osum.decoding.loop import DecodeLoop
from echat_eval.osum.engine.job_source import JobSource, ListedRequests
from echat_eval.osum.engine.prefix_cache import PrefixCache
from echat_eval.osum.engine.prompt_builder import PromptBuilder
from echat_eval.osum.engine.reply_stream import ReplyStream
from echat_eval.osum.engine.types import OsumReply, ReplyKind, ReplyPart
from echat_eval.osum.model.memory import free_memory, is_oom
from echat_eval.osum.prompts.modes import mode_named, rules_of
from echat_eval.osum.prompts.parse_reply import read_answer, read_reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from echat_eval.osum.decoding.cuda_graphs import Steps
    from echat_eval.osum.decoding.generate import ReplyIds
    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.decoding.step import Hook
    from echat_eval.osum.engine.job_source import RequestSupply
    from echat_eval.osum.model.model import OsumModel
    from echat_eval.osum.model.tokenizer import TextTokenizer
    from echat_eval.osum.prompts.modes import GenerationRequest, Profile

__all__ = ["Engine"]


class Engine:
    """Model, tokenizer and profile; replies to requests of one mode at a time.

    Args:
        model: on its device, in its dtype.
        tokenizer: the model's.
        profile: see `modes`.
        slots: requests decoded together; a slot is refilled as soon as its reply ends.
        steps: how decode steps run, see `cuda_graphs.Steps`; always plain on a CPU.
        sync_every: steps between two reads of the rows' status; 0 for the default.

    Attributes:
        prompts: checks, lays out and embeds requests.
        loop: the decode loop of the last run, with its counts.
    """

    def __init__(
        self,
        model: OsumModel,
        tokenizer: TextTokenizer,
        *,
        profile: Profile = "fixed",
        slots: int = 8,
        steps: Steps = "auto",
        sync_every: int = 0,
    ) -> None:
        self.model, self.tokenizer, self.profile = model, tokenizer, profile
        self.slots, self.sync_every = slots, sync_every
        self.steps = resolve(steps, model.device)
        self.prefixes, self.prompts = PrefixCache(model), PromptBuilder(model, tokenizer, profile)
        self.loop: DecodeLoop | None = None
        self.graph_cache = CudaGraphCache()
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """Return events to report to the user, such as a full memory."""
        return (*self._notes, *self.prompts.notes)

    def reply(
        self,
        requests: Sequence[GenerationRequest],
        *,
        mode: str = "s2s",
        sampling: Sampling | None = None,
        max_new_tokens: int | None = None,
        hook: Hook | None = None,
    ) -> list[OsumReply]:
        """Return one reply per request, in fp32 each the same as if it were alone.

        Args:
            requests: any number.
            mode: a name of `modes.MODES`.
            sampling: replaces the mode's sampling.
            max_new_tokens: replaces the profile's limit on the ids of a reply.
            hook: see `generate`; all requests are then decoded together, however many.

        Raises:
            SystemFailure: audio that cannot be used, a prompt too long, or a full memory with a single
            request;
                there are no replies then.
            UsageError: a request lacks an input that the mode needs.
        """
        for request in requests:
            self.check(request, mode=mode, max_new_tokens=max_new_tokens)
        replies = dict(
            self.stream(
                enumerate(requests),
                mode=mode,
                sampling=sampling,
                max_new_tokens=max_new_tokens,
                hook=hook,
                slots=len(requests) if hook is not None else 0,
            )
        )
        return [replies[number] for number in range(len(requests))]

    def kind(
        self, mode: str, *, sampling: Sampling | None = None, max_new_tokens: int | None = None
    ) -> ReplyKind:
        """Return the settings that requests of a mode share.

        Raises:
            UnknownName: no such mode.
        """
        options = mode_named(mode)
        rules = rules_of(options, self.profile, max_new_tokens=max_new_tokens)
        return ReplyKind(mode=options, rules=rules, sampling=sampling or options.sampling)

    def check(self, request: GenerationRequest, *, mode: str, max_new_tokens: int | None = None) -> None:
        """Check a request before anything is computed for it.

        Raises:
            SystemFailure, UsageError: as `reply`, but for a full memory.
        """
        kind = self.kind(mode, max_new_tokens=max_new_tokens)
        self.prompts.checked_layout(kind.mode, request, max_new_tokens=kind.rules.max_new_tokens)

    def stream(
        self,
        requests: Iterable[tuple[int, GenerationRequest]],
        *,
        mode: str = "s2s",
        sampling: Sampling | None = None,
        max_new_tokens: int | None = None,
        hook: Hook | None = None,
        slots: int = 0,
    ) -> Iterator[tuple[int, OsumReply]]:
        """Yield (number, reply) as replies end; requests are taken from the iterable as slots become free.

        Args:
            requests: (number, request); each of the caller's numbers once.
            mode, sampling, max_new_tokens, hook: as in `reply`.
            slots: replaces the engine's.

        Raises:
            As `reply`, but possibly after some replies.
        """
        kind = self.kind(mode, sampling=sampling, max_new_tokens=max_new_tokens)
        for event in self.serve(ListedRequests(requests), kind, hook=hook, slots=slots):
            if not isinstance(event, ReplyPart):
                yield event

    def serve(
        self, requests: RequestSupply, kind: ReplyKind, *, hook: Hook | None = None, slots: int = 0
    ) -> Iterator[ReplyPart | tuple[int, OsumReply]]:
        """Yield (number, reply) as replies end, and the new ids of those that are streamed.

        All ids of a streamed reply are yielded before it ends.

        Args:
            requests: of one kind; the run ends when none is decoded and none is there.
            kind: see `kind`.
            hook, slots: as in `stream`.

        Raises:
            As `reply`, but possibly after some replies.
        """
        source = JobSource(
            self.prompts, self.prefixes, kind.mode, requests, max_new_tokens=kind.rules.max_new_tokens
        )
        streams: dict[int, ReplyStream] = {}
        loop = self.loop = self._loop(kind, hook=hook, slots=slots)
        try:
            for event in loop.run(source):
                number = event.job.number
                if event.job.streamed and not isinstance(event, DroppedJob):
                    stream = streams.setdefault(number, ReplyStream(kind.rules, self.model.config))
                    try:
                        part = stream.part(event)
                    except SystemFailure as error:
                        requests.fail(number, error)
                        event = event if isinstance(event, NewIds) else DroppedJob(event.job)
                    else:
                        if part is not None:
                            yield part
                if isinstance(event, NewIds):
                    continue
                streams.pop(number, None)
                request, positions = source.requests.pop(number), source.positions.pop(number)
                if isinstance(event, DroppedJob):
                    requests.dropped(number)
                    continue
                ids = split(event, kind.rules, self.model.config, upstream=self.profile == "upstream")
                yield number, self._parse(ids, mode=kind.mode.name, request=request, positions=positions)
        finally:
            self._notes += loop.notes
            # Keep the smaller number of slots for the next call.
            self.slots = min(self.slots, loop.slots) if loop.notes else self.slots

    def capture_steps(self, kind: ReplyKind, *, longest: int) -> int:
        """Capture the usual steps of a kind before the first request; return how many: 0 on a CPU.

        Args:
            longest: positions of the longest usual prompt.

        Raises:
            SystemFailure: the memory is full with a single slot.
        """
        while True:
            loop = self._loop(kind, hook=None, slots=0)
            try:
                return capture_usual_steps(loop.setup, self.slots, longest=longest)
            except (RuntimeError, MemoryError) as error:
                if not is_oom(error):
                    raise
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.graph_cache.clear()
            free_memory(self.model.device)
            loop.halve([], reason)
            self.slots, self._notes = loop.slots, [*self._notes, *loop.notes]

    def _loop(self, kind: ReplyKind, *, hook: Hook | None, slots: int) -> DecodeLoop:
        return DecodeLoop(
            self.model,
            rules=kind.rules,
            sampling=kind.sampling,
            slots=slots or self.slots,
            capture_graph=graph_capture(self.steps, self.model.decoder, self.model.device),
            sync_every=self.sync_every,
            hook=hook,
            graph_cache=self.graph_cache,
        )

    def _parse(self, ids: ReplyIds, *, mode: str, request: GenerationRequest, positions: int) -> OsumReply:
        raw = self.tokenizer.decode(ids.text)
        parsed = read_answer(raw, task=request.task) if mode == "understand" else read_reply(raw)
        return OsumReply(
            text=parsed.text,
            think=parsed.think,
            perceived=parsed.perceived,
            reply_emotion=parsed.reply_emotion,
            speech=ids.speech,
            finish_reason=ids.finish_reason,
            prompt_positions=positions,
            new_ids=len(ids.ids),
            raw=raw,
            ids=ids.ids,
        )
