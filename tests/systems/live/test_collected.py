"""Which events belong to which reply, and when a listener hears the first sound."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from echat_eval.systems.live.collected import Collected, LiveReply
from echat_eval.systems.live.dialect import Event
from echat_eval.systems.live.openai_family import OPENAI_FAMILY


def collected(*events: tuple[str, str | None, str]) -> Collected:
    """Return the replies of events, each a kind, a reply's name and a content."""
    found = Collected(OPENAI_FAMILY["openai"], 24_000)
    for kind, reply, content in events:
        name = "response.done" if kind == "part done" else ""
        found.take(Event(kind=kind, name=name, reply=reply, content=content), 0.0)  # type: ignore[arg-type]
    return found


def test_events_belong_to_the_reply_that_they_name() -> None:
    found = collected(
        ("words", "a", "I "),
        ("started", "b", ""),
        ("words", "b", "no"),
        ("words", "a", "hear."),
        ("started", "a", ""),
    )
    assert [(reply.id, reply.words) for reply in found.replies] == [("a", "I hear."), ("b", "no")]


def test_events_without_a_name_belong_to_the_last_reply() -> None:
    found = collected(
        ("words", None, "I "), ("words", "a", "hear."), ("words", None, "!"), ("started", "b", "")
    )
    assert [(reply.id, reply.words) for reply in found.replies] == [("a", "I hear.!"), ("b", "")]


def test_a_reply_follows_one_that_was_broken_off() -> None:
    found = collected(
        ("words", None, "I "), ("interrupted", None, ""), ("words", None, "Oh."), ("part done", None, "")
    )
    assert [reply.words for reply in found.replies] == ["I ", "Oh."]
    assert [found.is_complete(reply) for reply in found.replies] == [False, True]


def test_speech_of_the_user_is_pending_until_a_reply_begins() -> None:
    found = collected(("speech", None, ""))
    assert found.hears_speech
    found.take(Event(kind="started", reply="a"), 0.0)
    assert not found.hears_speech


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([(0.10, 0.0)], 5.0),
        ([(0.10, 0.05)], 5.05),
        # the second piece arrives while the first, of silence, is still played
        ([(0.10, None), (0.10, 0.0)], 5.10),
        # a late piece: the listener waits for it
        ([(0.10, None), (None, 0.0)], 5.5),
    ],
)
def test_the_voice_is_played_as_it_arrives(
    pieces: list[tuple[float | None, float | None]], expected: float
) -> None:
    reply = LiveReply(id="a")
    arrived = 5.0
    for number, (seconds, onset) in enumerate(pieces):
        if seconds is None:
            arrived, seconds = 5.5, 0.1
        samples = np.zeros(int(24_000 * seconds), dtype="<i2")
        if onset is not None:
            samples[int(24_000 * onset) :] = 8000
        reply.pieces.append((samples.tobytes(), arrived + 0.001 * number * (arrived == 5.0)))
    voice = reply.waveform(24_000)
    assert voice is not None
    assert reply.audible_at(voice) == pytest.approx(expected, abs=0.002)


def test_pieces_that_were_encoded_apart() -> None:
    found = Collected(OPENAI_FAMILY["openai"], 24_000)
    for piece in (b"\x01", b"\x00\x02\x00"):
        found.take(Event(kind="audio", content=base64.b64encode(piece).decode(), reply="a"), 1.0)
    voice = found.replies[0].waveform(24_000)
    assert voice is not None
    np.testing.assert_array_equal(np.rint(voice.samples * 32768), [1, 2])
