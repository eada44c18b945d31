"""Times of replies that were timed to their first audio, apart by what ends the user's turn.

Three clocks that no column mixes: a live system whose turns this client ends, one whose turns the server's
voice activity detection ends (its pause is part of the time), and a system that gets a whole request. Replies
of a live dialogue are apart by turn: the first, and the later ones, which follow a growing dialogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from echat_eval.records import Reply, Response
    from echat_eval.store.manifest import SystemFacts

__all__ = ["ENDS", "Clock", "Quantiles", "ReplyTimes", "clock_of", "earlier_replies", "times_of"]

#: The end of the user's turn: set by this client, the server's detection, or the end of a whole request.
Clock = Literal["commit", "vad", "request"]
ENDS: tuple[Clock, ...] = ("commit", "vad", "request")


class Quantiles(NamedTuple):
    """Median and 90th percentile of times in seconds."""

    median: float
    ninety: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyTimes:
    """Times of one system's replies to the first turns, or to the later ones, of its samples.

    Attributes:
        pace: "real_time" or "at_once" of a live system.
        turn: number of the first of these turns; `last_turn` of the last.
        n: replies with a first-audio time; those from a cache have none.
        first_audible: to the first audible sample; None if no reply states it.
        round_trip: of the network; None if no reply states it.
        interruptions: replies that were begun and broken off before these; None if no reply states it.
    """

    system: str
    clock: Clock
    pace: str | None
    turn: int
    last_turn: int
    n: int
    first_audio: Quantiles
    first_audible: Quantiles | None
    round_trip: Quantiles | None
    interruptions: int | None


def clock_of(settings: Mapping[str, object]) -> Clock:
    """Return what ends a user's turn, by a system's settings; live systems have `turn` and `pace`.

    >>> clock_of({"turn": "vad", "pace": "at_once"}), clock_of({"model": "m"})
    ('vad', 'request')
    """
    turn = settings.get("turn")
    return turn if "pace" in settings and turn in ENDS else "request"


def times_of(responses: Iterable[Response], systems: Mapping[str, SystemFacts]) -> tuple[ReplyTimes, ...]:
    """Return the times of every system with timed replies, in the order of clocks and systems."""
    replies: dict[str, dict[int, list[Reply]]] = {}
    for response in responses:
        if response.cached or response.reply is None or response.system not in systems:
            continue
        for turn, reply in enumerate((*(response.turns or ()), response.reply), 1):
            if reply.first_audio_seconds is not None:
                replies.setdefault(response.system, {}).setdefault(turn, []).append(reply)
    found = [
        _times(system, turns, by_turn, systems[system].settings)
        for system, by_turn in replies.items()
        for turns in ([turn for turn in by_turn if turn == 1], [turn for turn in by_turn if turn > 1])
        if turns
    ]
    return tuple(sorted(found, key=lambda times: ENDS.index(times.clock)))


def earlier_replies(responses: Iterable[Response]) -> dict[str, int]:
    """Return system -> replies of live dialogues before their last ones; empty without dialogues."""
    found: dict[str, int] = {}
    for response in responses:
        if response.turns:
            found[response.system] = found.get(response.system, 0) + len(response.turns)
    return found


def _times(
    system: str, turns: Sequence[int], by_turn: Mapping[int, Sequence[Reply]], settings: Mapping[str, object]
) -> ReplyTimes:
    replies = [reply for turn in turns for reply in by_turn[turn]]
    counts = [reply.interruptions for reply in replies if reply.interruptions is not None]
    first_audio = _quantiles(reply.first_audio_seconds for reply in replies)
    assert first_audio is not None
    clock = clock_of(settings)
    return ReplyTimes(
        system=system,
        clock=clock,
        pace=None if clock == "request" else str(settings["pace"]),
        turn=min(turns),
        last_turn=max(turns),
        n=len(replies),
        first_audio=first_audio,
        first_audible=_quantiles(reply.first_audible_seconds for reply in replies),
        round_trip=_quantiles(reply.round_trip_seconds for reply in replies),
        interruptions=sum(counts) if counts else None,
    )


def _quantiles(values: Iterable[float | None]) -> Quantiles | None:
    import numpy as np

    stated = [value for value in values if value is not None]
    if not stated:
        return None
    median, ninety = np.quantile(stated, [0.5, 0.9])
    return Quantiles(float(median), float(ninety))
