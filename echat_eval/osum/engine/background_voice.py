"""Synthesising finished replies while others are decoded: in a thread and, on a GPU, a stream of its own."""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from types import TracebackType

    from echat_eval.osum.engine.types import Token2Wav
    from echat_eval.records import Waveform

__all__ = ["BackgroundVoice"]


class BackgroundVoice:
    """Takes replies as they end and synthesises those that wait, several at once.

    Use it as a context manager: leaving it waits for the thread. The sound of a reply does not depend on when
    it is synthesised.

    Args:
        speaker: must not be used by other threads meanwhile.
        device: the speaker's.
    """

    def __init__(self, speaker: Token2Wav, device: torch.device) -> None:
        self.speaker, self.device = speaker, device
        self.waiting: deque[tuple[int, Sequence[int], int]] = deque()
        self.waves: dict[int, Waveform | None] = {}
        self.futures: list[Future[None]] = []
        self.stream = (
            torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            if device.type == "cuda"
            else None
        )
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="token2wav")

    def __enter__(self) -> BackgroundVoice:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pool.shutdown(wait=True, cancel_futures=kind is not None)

    def put(self, number: int, tokens: Sequence[int], *, seed: int) -> None:
        """Queue a reply for synthesis."""
        self.waiting.append((number, tokens, seed))
        self.futures.append(self.pool.submit(self.speak_waiting))

    def speak_waiting(self) -> None:
        """Synthesise all waiting replies; do nothing if an earlier call already took them."""
        batch = []
        while self.waiting:
            batch.append(self.waiting.popleft())
        if not batch:
            return
        with torch.cuda.stream(self.stream) if self.stream is not None else contextlib.nullcontext():
            waves = self.speaker.synthesise(
                [tokens for _, tokens, _ in batch], seeds=[seed for _, _, seed in batch]
            )
        self.waves |= {number: wave for (number, _, _), wave in zip(batch, waves, strict=True)}

    def wait(self) -> dict[int, Waveform | None]:
        """Return number -> waveform of all queued replies; raise the first error of the thread."""
        for future in self.futures:
            future.result()
        return self.waves
