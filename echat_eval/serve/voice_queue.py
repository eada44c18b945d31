"""Whole replies of all clients to the voice of one device: those that wait are synthesised together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echat_eval.osum.engine.background_voice import VoiceThread
    from echat_eval.osum.engine.types import Token2Wav
    from echat_eval.records import Waveform

__all__ = ["Spoken", "VoiceQueue"]

#: Takes the sound of a reply, or the error in its place.
OnWave = Callable[["Waveform | BaseException | None"], None]


@dataclass(frozen=True, slots=True)
class Spoken:
    """A whole reply to be synthesised.

    Attributes:
        codec: its ids.
        is_wanted: returns whether its client still waits.
    """

    codec: Sequence[int]
    seed: int
    is_wanted: Callable[[], bool]


class VoiceQueue:
    """Whole replies, in the order in which they arrive.

    Attributes:
        thread: of the voice, which streams use as well.
    """

    def __init__(self, thread: VoiceThread) -> None:
        self.thread = thread
        self._waiting: deque[tuple[Spoken, OnWave]] = deque()

    def put(self, spoken: Spoken, on_wave: OnWave) -> None:
        """Synthesise a whole reply, together with others that wait by then."""
        self._waiting.append((spoken, on_wave))
        self.thread.submit(self._speak_waiting)

    def _speak_waiting(self) -> None:
        """Synthesise all waiting replies; do nothing if an earlier call already took them."""
        batch: list[tuple[Spoken, OnWave]] = []
        while self._waiting:
            one = self._waiting.popleft()
            if one[0].is_wanted():
                batch.append(one)
        replies, speaker = [spoken for spoken, _ in batch], self.thread.speaker
        waves: Sequence[Waveform | BaseException | None]
        try:
            waves = _synthesised(speaker, replies)
        except BaseException:  # noqa: BLE001  it may be the fault of one reply among them
            waves = [_alone(speaker, reply) for reply in replies]
        for (_, on_wave), wave in zip(batch, waves, strict=True):
            on_wave(wave)


def _alone(speaker: Token2Wav, reply: Spoken) -> Waveform | BaseException | None:
    try:
        return _synthesised(speaker, [reply])[0]
    except BaseException as error:  # noqa: BLE001  whatever it is, the client gets an answer
        return error


def _synthesised(speaker: Token2Wav, replies: Sequence[Spoken]) -> list[Waveform | None]:
    if not replies:
        return []
    return speaker.synthesise([reply.codec for reply in replies], seeds=[reply.seed for reply in replies])
