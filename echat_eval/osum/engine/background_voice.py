"""Synthesising replies while others are decoded: in one thread and, on a GPU, in a stream of its own."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from echat_eval.records import Waveform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future
    from types import TracebackType

    from echat_eval.osum.engine.types import SpeechStream, Token2Wav

__all__ = ["BackgroundVoice", "ReplyVoice", "VoiceThread"]

Result = TypeVar("Result")

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
        return self.submit(lambda: self.speaker.synthesise(tokens, seeds=seeds)).result()

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Do work with the speaker in the thread; return its result to come."""
        return self.pool.submit(self._work_here, work)

    def _work_here(self, work: Callable[[], Result]) -> Result:
        with torch.cuda.stream(self.stream) if self.stream is not None else contextlib.nullcontext():
            return work()

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
        self.futures.append(self.thread.submit(self.speak_waiting))

    def speak_waiting(self) -> None:
        """Synthesise all waiting replies; do nothing if an earlier call already took them."""
        batch = []
        while self.waiting:
            batch.append(self.waiting.popleft())
        if not batch:
            return
        waves = self.thread.speaker.synthesise(
            [tokens for _, tokens, _ in batch], seeds=[seed for _, _, seed in batch]
        )
        self.waves |= {number: wave for (number, _, _), wave in zip(batch, waves, strict=True)}

    def wait(self) -> dict[int, Waveform | None]:
        """Return number -> waveform of all queued replies; raise the first error of the thread."""
        for future in self.futures:
            future.result()
        return self.waves


class ReplyVoice:
    """The sound of one reply while it is decoded: fed on any thread, computed in the voice's thread.

    Args:
        thread: of the voice.
        seed: of the reply.
        on_piece: called in the voice's thread with each piece of sound.

    Attributes:
        first_audio: `time.monotonic()` when the first piece was there; 0.0 before.
    """

    def __init__(
        self, thread: VoiceThread, *, seed: int, on_piece: Callable[[Waveform], None] | None = None
    ) -> None:
        self.thread, self.seed, self.on_piece = thread, seed, on_piece
        self.first_audio = 0.0
        self.pieces: list[Waveform] = []
        self._stream: SpeechStream | None = None
        self._waiting: deque[int] = deque()
        self._failure: Exception | None = None
        self._dropped = False

    def feed(self, tokens: Sequence[int]) -> None:
        """Queue codec ids; returns at once."""
        self._waiting.extend(tokens)
        self.thread.submit(lambda: self._speak(last=False))

    def finish(self) -> Future[Waveform | None]:
        """Return the whole sound to come, the pieces joined; None without codec ids. The last call.

        The future fails if a piece could not be computed.
        """
        return self.thread.submit(lambda: self._speak(last=True))

    def drop(self) -> None:
        """Give up the reply: what is queued is not computed."""
        self._dropped = True

    def _speak(self, *, last: bool) -> Waveform | None:
        """Compute what is queued; an earlier failure is kept for the last call."""
        tokens = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not self._dropped and self._failure is None:
            try:
                self._compute(tokens, last=last)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the reply's failure
                self._failure = error
        if not last:
            return None
        if self._failure is not None:
            raise self._failure
        return joined(self.pieces)

    def _compute(self, tokens: Sequence[int], *, last: bool) -> None:
        self._stream = self._stream or self.thread.speaker.stream(seed=self.seed)
        pieces = self._stream.feed(tokens) if tokens else []
        for piece in pieces + (self._stream.finish() if last else []):
            self.first_audio = self.first_audio or time.monotonic()
            self.pieces.append(piece)
            if self.on_piece is not None:
                self.on_piece(piece)


def joined(pieces: Sequence[Waveform]) -> Waveform | None:
    """Return pieces of one sound, one after the other; None for none."""
    if not pieces:
        return None
    samples = np.concatenate([piece.samples for piece in pieces])
    return Waveform(samples=samples, sample_rate=pieces[0].sample_rate)
