"""Live dialogues of recorded ones: the user's turns become the script, and recorded replies are left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from echat_eval.importers.draft import Draft, Refusal
from echat_eval.task.row import MAX_LIVE_TURNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from echat_eval.importers.draft import DraftTurn

__all__ = ["as_live"]


def as_live(entries: Iterable[Draft | Refusal]) -> Iterator[Draft | Refusal]:
    """Yield the entries with scripted turns in place of a history.

    Dialogues of one turn stay as they are. A dialogue whose script is incomplete is refused.
    """
    for entry in entries:
        if isinstance(entry, Refusal) or not entry.history:
            yield entry
            continue
        turns = tuple(turn for turn in entry.history if turn.role == "user")
        if reason := _fault(turns):
            yield Refusal(location=entry.location, id=entry.id, reason=reason)
        else:
            yield replace(entry, history=(), turns=turns)


def _fault(turns: tuple[DraftTurn, ...]) -> str | None:
    """Return why these turns are no script of a live dialogue; None if they are."""
    if not turns:
        return "has earlier turns, and none of the user"
    if len(turns) > MAX_LIVE_TURNS:
        return f"has {len(turns)} turns of the user before the last, expected at most {MAX_LIVE_TURNS}"
    for number, turn in enumerate(turns, 1):
        absent = "audio" if turn.audio is None else None if turn.text else "words"
        if absent:
            return f"turn {number} of the user has no {absent}, which a live dialogue needs in every turn"
    return None
