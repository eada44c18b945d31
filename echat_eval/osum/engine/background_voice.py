"""Synthesising replies while others are decoded: in one thread and, on a GPU, in a stream of its own."""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future
    from types import TracebackType

    from echat_eval.osum.engine.types import Token2Wav
    from echat_eval.records import Waveform

__all__ = ["BackgroundVoice", "VoiceThread"]

#: The number, the codec ids and the seed of a reply.
Queued = tuple[int, "Sequence[int]", int]


class VoiceThread:
    """The one thread that uses a speaker, for as long as the speaker is used.

    cuDNN keeps its plans per thread: a new thread would plan every convolution again.

    Args:
        speaker: must not be used elsewhere.
        device: the speaker's.
    """

    def __init__(self, speaker: Token2Wav, device: torch.device) -> None:
        self.speaker = speaker
        self.stream = (
            torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            if device.type == "cuda"
            else None
        )
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="token2wav")

    def synthesise(self, tokens: Sequence[Sequence[int]], *, seeds: Sequence[int]) -> list[Waveform | None]:
        """Return the audio of several replies, computed in the thread; see `Token2Wav.synthesise`."""
        return self.pool.submit(self.synthesise_here, tokens, seeds).result()

    def synthesise_here(self, tokens: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Waveform | None]:
        """Return the audio of several replies; to be called in the thread."""
        with torch.cuda.stream(self.stream) if self.stream is not None else contextlib.nullcontext():
            return self.speaker.synthesise(tokens, seeds=seeds)

    def close(self) -> None:
        """End the thread after what it is doing."""
        self.pool.shutdown(wait=True, cancel_futures=True)


class BackgroundVoice:
    """Takes the replies of one call and synthesises those that wait, several at once.

    Use it as a context manager: leaving it waits until the thread has nothing of this call left to do. The
    sound of a reply does not depend on when it is synthesised.
    """

    def __init__(self, thread: VoiceThread) -> None:
        self.thread = thread
        self.waiting: deque[Queued] = deque()
        self.waves: dict[int, Waveform | None] = {}
        self.futures: list[Future[None]] = []

    def __enter__(self) -> BackgroundVoice:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.waiting.clear()
            for future in self.futures:
                future.cancel()
        wait(self.futures)

    def put(self, replies: Iterable[Queued]) -> None:
        """Queue replies for synthesis."""
        self.waiting.extend(replies)
        self.futures.append(self.thread.pool.submit(self.speak_waiting))

    def speak_waiting(self) -> None:
        """Synthesise all waiting replies; do nothing if an earlier call already took them."""
        batch = []
        while self.waiting:
            batch.append(self.waiting.popleft())
        if not batch:
            return
        waves = self.thread.synthesise_here(
            [tokens for _, tokens, _ in batch], [seed for _, _, seed in batch]
        )
        self.waves |= {number: wave for (number, _, _), wave in zip(batch, waves, strict=True)}

    def wait(self) -> dict[int, Waveform | None]:
        """Return number -> waveform of all queued replies; raise the first error of the thread."""
        for future in self.futures:
            future.result()
        return self.waves
