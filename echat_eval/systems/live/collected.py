"""The replies that arrive in a session: their pieces, their times, and which one counts."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from echat_eval.clients.chat_answer import token_counts
from echat_eval.errors import SystemFailure
from echat_eval.io.audible import first_audible
from echat_eval.io.audio import MAX_SECONDS
from echat_eval.records import Waveform

if TYPE_CHECKING:
    from echat_eval.systems.live.dialect import Dialect, Event

__all__ = ["Collected", "LiveReply"]


@dataclass(slots=True, kw_only=True)
class LiveReply:
    """One reply of a session, complete or not.

    Attributes:
        id: the server's name of it.
        pieces: 16-bit samples and when they arrived, on the monotonic clock.
        size: bytes of them.
        rate: Hz that its events state.
        words: of the voice, in pieces.
        whole_words: the same again, at its end.
        text: written text.
        ended: the events that end it, so far.
        is_interrupted: the server broke it off.
        usage: the server's token counts.
    """

    id: str | None
    pieces: list[tuple[bytes, float]] = field(default_factory=list)
    size: int = 0
    rate: int | None = None
    words: str = ""
    whole_words: str = ""
    text: str = ""
    ended: set[str] = field(default_factory=set)
    is_interrupted: bool = False
    finish_reason: str | None = None
    usage: dict[str, float] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """Return the words of the voice, else the written text."""
        return self.words or self.text or self.whole_words

    def waveform(self, rate: int) -> Waveform | None:
        """Return the voice; None without one.

        Args:
            rate: Hz, unless the events state another.

        Raises:
            SystemFailure: half a sample is left over.
        """
        import numpy as np

        content = b"".join(piece for piece, _ in self.pieces)
        if not content:
            return None
        if len(content) % 2:
            raise SystemFailure("broken reply audio: 16-bit samples in an odd number of bytes")
        samples = np.frombuffer(content, dtype="<i2").astype(np.float32) / 32768.0
        return Waveform(samples=samples, sample_rate=self.rate or rate)

    def played_until(self, rate: int) -> float:
        """Return when the last sample is played, on the monotonic clock; 0 without a voice.

        The voice is played as it arrives, from its first piece on and in real time.
        """
        until = 0.0
        for piece, arrived in self.pieces:
            until = max(until, arrived) + len(piece) / 2 / (self.rate or rate)
        return until

    def audible_at(self, waveform: Waveform) -> float | None:
        """Return when the first audible sample is played, on the monotonic clock; None if none is.

        The voice is played as it arrives, from its first piece on and in real time.
        """
        offset = first_audible(waveform.samples, waveform.sample_rate)
        if offset is None:
            return None
        begin, played, at = 0.0, 0.0, 0
        for piece, arrived in self.pieces:
            begin = max(begin, arrived) if at else arrived
            at += len(piece)
            seconds = at / 2 / waveform.sample_rate
            if offset < seconds:
                return begin + (offset - played)
            begin, played = begin + (seconds - played), seconds
        return None


class Collected:
    """The replies of one session.

    Args:
        dialect: names the events that end a reply.

    Attributes:
        replies: in the order of their beginnings.
        hears_speech: the server detected speech of the user, and began no reply since.
    """

    def __init__(self, dialect: Dialect, output_rate: int) -> None:
        self._dialect, self.output_rate = dialect, output_rate
        self.replies: list[LiveReply] = []
        self.hears_speech = False

    def take(self, event: Event, arrived: float) -> None:
        """Add an event.

        Raises:
            SystemFailure: its audio is broken, too long, or of another rate than the rest.
        """
        if event.kind == "speech":
            self.hears_speech = True
            return
        if event.kind in ("greeting", "ready"):
            return
        if event.kind == "other":
            if self.replies:
                self.replies[-1].usage |= token_counts(event.usage)
            return
        reply = self._reply(event.reply, begins=event.kind == "started")
        if event.kind == "audio":
            self._take_audio(reply, event, arrived)
        elif event.kind == "words":
            reply.words += event.content
        elif event.kind == "text":
            reply.text += event.content
        elif event.kind == "whole words":
            reply.whole_words = event.content
        elif event.kind == "part done":
            reply.ended.add(event.name)
            reply.finish_reason = event.finish or reply.finish_reason
            reply.usage |= token_counts(event.usage)
        elif event.kind == "interrupted":
            reply.is_interrupted = True
            reply.usage |= token_counts(event.usage)

    def is_complete(self, reply: LiveReply) -> bool:
        """Return whether a reply ended."""
        return any(events <= reply.ended for events in self._dialect.ends)

    def lacks_audio_end(self, reply: LiveReply) -> bool:
        """Return whether a reply ended, but the events of its audio did not: they may still arrive."""
        name = self._dialect.audio_end
        return bool(reply.pieces) and name is not None and name not in reply.ended

    def _reply(self, name: str | None, *, begins: bool) -> LiveReply:
        """Return the reply of an event; one without a name belongs to the last."""
        last = self.replies[-1] if self.replies else None
        for reply in self.replies if name is not None else ():
            if reply.id == name:
                return reply
        if last is not None and not last.is_interrupted:
            if name is None and not begins:
                return last
            if last.id is None and not last.ended and name is not None:
                last.id = name  # the first events of a reply may lack its name
                return last
        self.replies.append(LiveReply(id=name))
        self.hears_speech = False
        return self.replies[-1]

    def _take_audio(self, reply: LiveReply, event: Event, arrived: float) -> None:
        try:
            piece = base64.b64decode(event.content, validate=True)
        except (binascii.Error, ValueError) as error:
            raise SystemFailure(f"broken reply audio: not base64: {error}") from error
        if event.rate is not None:
            if reply.rate not in (None, event.rate):
                raise SystemFailure(
                    f"broken reply audio: its sample rate changes from {reply.rate} to {event.rate} Hz"
                )
            if reply.rate is None and reply.pieces and event.rate != self.output_rate:
                raise SystemFailure(
                    f"broken reply audio: {self.output_rate} Hz were announced, then {event.rate} Hz"
                )
            reply.rate = event.rate
        if not piece:
            return
        reply.pieces.append((piece, arrived))
        reply.size += len(piece)
        if reply.size / 2 / (reply.rate or self.output_rate) > MAX_SECONDS:
            raise SystemFailure(f"the reply does not end: its voice is longer than {MAX_SECONDS:g} s")
