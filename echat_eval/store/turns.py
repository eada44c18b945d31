"""The turns of a live dialogue, one by one: what a system gets for each, and the case of each reply.

A sample with scripted turns is one row: its dialogue succeeds, fails or is missing as a whole, so that none
is ever continued half. The functions here cut it into its turns.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from echat_eval.ports import Case
from echat_eval.records import AudioRef, Sample, live_dialogue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echat_eval.records import Reply, Request, Response

__all__ = ["cases_of_turns", "query_audios", "reply_audios", "request_of_turn", "sample_of_turn", "turn_of"]


def request_of_turn(whole: Request, replies: Sequence[Reply]) -> Request:
    """Return the request for the turn after these replies, with the dialogue so far as its history.

    The question of a task that asks one stands in the last turn alone.
    """
    turns, number = whole.turns or (), len(replies)
    history = live_dialogue(turns, replies)
    if number >= len(turns):
        return replace(whole, turns=None, history=history)
    audio = turns[number].audio
    assert audio is not None  # a task without it is refused
    return replace(
        whole, id=f"{whole.id}-{number + 1}", audio=audio, turns=None, history=history, instruction=None
    )


def sample_of_turn(whole: Sample, replies: Sequence[Reply]) -> Sample:
    """Return the sample of the turn after these replies, as an oracle gets it.

    An earlier turn has no references, and is in no contrast group: only the last turns of a group differ.
    """
    turns, number = whole.turns or (), len(replies)
    history = live_dialogue(turns, replies)
    if number >= len(turns):
        return replace(whole, turns=None, history=history)
    turn = turns[number]
    assert turn.audio is not None  # a task without it is refused
    return replace(
        whole,
        audio=turn.audio,
        transcript=turn.text or "",
        cues=turn.cues or {},
        turns=None,
        history=history,
        references=(),
        contrast_group=None,
        expect=None,
        words_suggest=None,
        asks=None,
        instruction=None,
    )


def turn_of(whole: Request | Sample, replies: Sequence[Reply]) -> Request | Sample:
    """Return what a system, or an oracle, gets for the turn after these replies."""
    return sample_of_turn(whole, replies) if isinstance(whole, Sample) else request_of_turn(whole, replies)


def cases_of_turns(case: Case) -> Iterator[Case]:
    """Yield the case of every turn of a live dialogue, the last one too; nothing without a dialogue.

    Annotators measure the last reply alone, so that only its case has annotations.
    """
    replies, response = case.response.turns, case.response
    if case.sample.turns is None or replies is None or response.reply is None:
        return
    for number, reply in enumerate(replies):
        yield Case(
            sample=sample_of_turn(case.sample, replies[:number]),
            response=replace(response, reply=reply, turns=None, seconds=None),
            annotations={},
        )
    yield replace(case, sample=sample_of_turn(case.sample, replies), response=replace(response, turns=None))


def query_audios(sample: Sample) -> Iterator[AudioRef]:
    """Yield the audio of a sample and of its other turns."""
    yield sample.audio
    turns = (*sample.history, *(sample.turns or ()))
    yield from (turn.audio for turn in turns if turn.audio is not None)


def reply_audios(response: Response) -> Iterator[AudioRef]:
    """Yield the audio of every reply of a response."""
    for reply in (response.reply, *(response.turns or ())):
        if reply is not None and isinstance(reply.audio, AudioRef):
            yield reply.audio
