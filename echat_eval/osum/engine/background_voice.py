"""Speaking finished replies beside the decoding of others: a thread, and on a GPU a stream, of its own."""

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

    from echat_eval.osum.engine.engine import Token2Wav
    from echat_eval.records import Waveform

__all__ = ["Overlap"]


class Overlap:
    """Takes replies as they end and speaks what is waiting, several at once.

    Use it as a context: leaving it waits for the thread. A reply sounds the same whenever it is spoken.

    Args:
        speaker: used by nobody else meanwhile.
        device: the speaker's.
    """

    def __init__(self, speaker: Token2Wav, device: torch.device) -> None:
        self.speaker, self.device = speaker, device
        self.waiting: deque[tuple[int, Sequence[int], int]] = deque()
        self.waves: dict[int, Waveform | None] = {}
        self.turns: list[Future[None]] = []
        self.stream = (
            torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            if device.type == "cuda"
            else None
        )
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="token2wav")

    def __enter__(self) -> Overlap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pool.shutdown(wait=True, cancel_futures=kind is not None)

    def put(self, number: int, tokens: Sequence[int], *, seed: int) -> None:
        """Have a reply spoken, soon."""
        self.waiting.append((number, tokens, seed))
        self.turns.append(self.pool.submit(self.speak_waiting))

    def speak_waiting(self) -> None:
        """Speak all that waits now; the turns of what an earlier one took find nothing to do."""
        taken = []
        while self.waiting:
            taken.append(self.waiting.popleft())
        if not taken:
            return
        with torch.cuda.stream(self.stream) if self.stream is not None else contextlib.nullcontext():
            spoken = self.speaker.synthesise([t for _, t, _ in taken], seeds=[seed for _, _, seed in taken])
        self.waves |= {number: wave for (number, _, _), wave in zip(taken, spoken, strict=True)}

    def wait(self) -> dict[int, Waveform | None]:
        """Return number -> waveform of all that was put; raise what went wrong."""
        for turn in self.turns:
            turn.result()
        return self.waves
