"""The query's audio as messages, encoded before the clock starts."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, Unavailable
from echat_eval.io.audio import read_mono
from echat_eval.io.jsonl import dumps
from echat_eval.systems.live.dialect import PlainTurn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.records import AudioRef, Turn
    from echat_eval.systems.live.dialect import Dialect, LiveSettings

__all__ = ["CHUNK_SECONDS", "Query", "encoded_query", "encoded_turns"]

#: Seconds of audio in one message, as a microphone's buffer has.
CHUNK_SECONDS = 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The messages of one query.

    Attributes:
        pieces: texts of the messages, each with `CHUNK_SECONDS` of audio, and the last with the rest.
        silence: text of a message of as much silence.
        seconds: duration of the query.
    """

    pieces: Sequence[str]
    silence: str
    seconds: float


def encoded_query(audio: AudioRef, dialect: Dialect, settings: LiveSettings) -> Query:
    """Return the messages of a recording, at the session's input rate.

    Raises:
        Unavailable: it cannot be read, which is no fault of the system.
    """
    samples = _samples(audio, settings.input_rate)
    size = 2 * round(settings.input_rate * CHUNK_SECONDS)

    def message(piece: bytes) -> str:
        return dumps(dialect.append(base64.b64encode(piece).decode(), settings))

    return Query(
        pieces=[message(samples[at : at + size]) for at in range(0, max(len(samples), 1), size)],
        silence=message(bytes(size)),
        seconds=len(samples) / 2 / settings.input_rate,
    )


def encoded_turns(turns: Sequence[Turn], dialect: Dialect, settings: LiveSettings) -> list[PlainTurn]:
    """Return earlier turns as a dialect sends them; each has text, or audio that it can send."""
    plain = []
    for turn in turns:
        if turn.audio is not None and dialect.sends_turn(turn):
            audio = base64.b64encode(_samples(turn.audio, settings.input_rate)).decode()
            plain.append(PlainTurn(role=turn.role, audio=audio))
        else:
            plain.append(PlainTurn(role=turn.role, text=turn.text))
    return plain


def _samples(audio: AudioRef, rate: int) -> bytes:
    """Return a recording as 16-bit samples at a rate."""
    import numpy as np

    try:
        mono, _ = read_mono(audio.path, rate=rate)
    except BadData as error:
        raise Unavailable(f"the query's audio cannot be read: {error}") from error
    scaled = np.rint(np.clip(mono, -1.0, 1.0) * 32767.0)
    content: bytes = scaled.astype("<i2").tobytes()
    return content
