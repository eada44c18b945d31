"""The online engine: one queue for all callers, ids while they are drawn, cancelled and failed requests, ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch

from echat_eval.errors import SystemFailure
from echat_eval.osum.decoding.jobs import GenerationResult, Job, NewIds
from echat_eval.osum.decoding.state import DecodingState
from echat_eval.osum.engine import request_queue
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.engine.online import OnlineEngine, QueueClosed, QueueFull
from echat_eval.osum.engine.reply_stream import ReplyStream
from echat_eval.osum.engine.request_queue import RequestQueue, Ticket
from echat_eval.osum.model.config import TINY
from echat_eval.osum.prompts.modes import MODES, GenerationRequest, rules_of
from tests.support.osum_requests import make_requests

MODES_IN_TURN = ("s2s", "s2s-think", "tts", "s2s", "understand")
#: Ids after which a reply of these tests is cut.
LIMIT = 60


@pytest.fixture
def engine(brisk_engine: Engine) -> Engine:
    return Engine(brisk_engine.model, brisk_engine.tokenizer, slots=8)


@pytest.fixture
def online(engine: Engine) -> Iterator[OnlineEngine]:
    made = OnlineEngine([engine])
    yield made
    made.close(give_up=True)


def idle(online: OnlineEngine) -> bool:
    """Wait until no request is anywhere; return whether all are accounted for."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        counts = online.counts()
        ended = counts.answered + counts.failed + counts.cancelled
        if counts.waiting == counts.running == counts.releasing == 0 and ended == counts.submitted:
            return True
        time.sleep(0.005)
    return False


def test_64_callers_at_once_get_the_replies_of_each_request_alone(
    engine: Engine, brisk_engine: Engine, online: OnlineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several modes, some callers streaming, every eighth gives up in the middle; on two engines."""
    monkeypatch.setattr(request_queue, "PATIENCE", 0.05)
    second = Engine(brisk_engine.model, brisk_engine.tokenizer, slots=3)
    both = OnlineEngine([engine, second])
    requests = make_requests(64)
    modes = [MODES_IN_TURN[n // 8 % len(MODES_IN_TURN)] for n in range(64)]
    alone = Engine(brisk_engine.model, brisk_engine.tokenizer, slots=1)
    expected = [
        alone.reply([request], mode=mode, max_new_tokens=LIMIT)[0]
        for request, mode in zip(requests, modes, strict=True)
    ]
    streamed: dict[int, tuple[list[int], list[int]]] = {n: ([], []) for n in range(0, 64, 2)}

    def call(number: int) -> Any:
        text, codec = streamed.get(number, (None, None))
        ticket = both.submit(
            requests[number],
            mode=modes[number],
            max_new_tokens=LIMIT,
            on_text=text.extend if text is not None else None,
            on_codec=codec.extend if codec is not None else None,
        )
        if number % 8 == 7:
            time.sleep(0.002 * number)
            ticket.cancel()
        try:
            return ticket.result(timeout=120)
        except CancelledError:
            return None

    with ThreadPoolExecutor(64) as callers:
        replies = list(callers.map(call, range(64)))
    assert idle(both)
    counts = both.counts()
    assert both.close()
    given_up = [number for number, reply in enumerate(replies) if reply is None]
    assert all(number % 8 == 7 for number in given_up)
    assert (counts.answered, counts.cancelled, counts.failed) == (64 - len(given_up), len(given_up), 0)
    for number, reply in enumerate(replies):
        if reply is not None:
            assert reply == expected[number], f"{modes[number]} {number}"
    for number, (text, codec) in streamed.items():
        assert tuple(codec) == expected[number].speech
        assert alone.tokenizer.decode(text) == expected[number].raw


def test_ids_are_handed_out_before_the_reply_ends(online: OnlineEngine, brisk_engine: Engine) -> None:
    replies = brisk_engine.reply(make_requests(12), max_new_tokens=30)
    request = make_requests(12)[max(range(12), key=lambda n: replies[n].new_ids)]
    seen: list[tuple[str, bool]] = []
    tickets: list[Ticket] = []
    started = threading.Event()

    def note(name: str) -> Callable[[tuple[int, ...]], None]:
        def call(ids: tuple[int, ...]) -> None:
            started.wait(10)
            seen.append((name, tickets[0].future.done()))

        return call

    tickets.append(online.submit(request, max_new_tokens=30, on_text=note("text"), on_codec=note("codec")))
    started.set()
    reply = tickets[0].result(60)
    assert len(seen) > 10
    assert {name for name, _ in seen} <= {"text", "codec"}
    assert not any(done for _, done in seen)
    assert tickets[0].submitted <= tickets[0].started <= tickets[0].first_id <= tickets[0].ended
    assert reply in replies


def test_a_limit_cuts_the_reply_as_a_smaller_limit_of_the_mode_does(
    engine: Engine, online: OnlineEngine, brisk_engine: Engine
) -> None:
    requests, limits = make_requests(6), (1, 2, 7, 19, 40, 60)
    tickets = [
        online.submit(request, max_new_tokens=limit) for request, limit in zip(requests, limits, strict=True)
    ]
    for ticket, request, limit in zip(tickets, requests, limits, strict=True):
        assert ticket.result(60) == brisk_engine.reply([request], max_new_tokens=limit)[0]
    assert idle(online)


def test_cancelling_frees_the_slot_and_no_callback_follows(online: OnlineEngine) -> None:
    handed_out: list[int] = []
    reached = threading.Event()

    def take(ids: tuple[int, ...]) -> None:
        handed_out.extend(ids)
        if len(handed_out) > 4:
            reached.set()
            cancelled.wait(10)

    cancelled = threading.Event()
    # `tts` starts in speech; a random model with another end than here speaks for long.
    ticket = online.submit(make_requests(3)[2], mode="s2t", on_text=take)
    assert reached.wait(60) or ticket.future.done()
    if not ticket.future.done():
        assert ticket.cancel()
    known = len(handed_out)
    cancelled.set()
    assert idle(online)
    assert len(handed_out) == known
    online.submit(make_requests(1)[0], max_new_tokens=4).result(60)
    assert idle(online)


def test_a_full_queue_is_a_clear_answer(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = threading.Event()
    usual = engine.serve

    def held(*given: Any, **options: Any) -> Any:
        opened.wait(60)
        yield from usual(*given, **options)

    monkeypatch.setattr(engine, "serve", held)
    online = OnlineEngine([engine], max_waiting=2)
    first, *more = make_requests(5)
    tickets = [online.submit(first, max_new_tokens=4)]
    while len(online.queue):
        time.sleep(0.001)
    tickets += [online.submit(request, max_new_tokens=4) for request in more[:2]]
    with pytest.raises(QueueFull, match="2 requests wait, which is the limit") as full:
        online.submit(more[2])
    assert full.value.overloaded
    tickets[1].cancel()  # its place is free at once
    tickets.append(online.submit(more[2], max_new_tokens=4))
    opened.set()
    assert online.close()
    assert [ticket.future.cancelled() for ticket in tickets] == [False, True, False, False]
    with pytest.raises(QueueClosed, match="takes no further request"):
        online.submit(first)


def test_an_error_fails_only_its_own_request(
    engine: Engine, online: OnlineEngine, brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of a callback, of one prompt, and of a step that all rows share."""
    requests = make_requests(9)
    expected = brisk_engine.reply(requests, max_new_tokens=12)
    embed, forward = engine.prompts.embed_pieces, engine.model.decoder.forward

    def embed_unless(pieces: Any, audio: Any) -> torch.Tensor:
        if any(getattr(piece, "wave", None) is requests[3].wave for piece in pieces):
            raise ValueError("no such prompt")
        return embed(pieces, audio)

    def broken_step(x: torch.Tensor, positions: torch.Tensor, *rest: Any, **options: Any) -> Any:
        if (positions == poisoned).any():
            raise ValueError("a broken kernel")
        return forward(x, positions, *rest, **options)

    # Only the longest prompt reaches this position.
    positions = [reply.prompt_positions for reply in expected]
    longest = max(range(9), key=lambda n: positions[n])
    poisoned = positions[longest] + expected[longest].new_ids - 2
    assert longest not in (3, 5)
    assert all(poisoned >= positions[n] + expected[n].new_ids for n in range(9) if n != longest)
    monkeypatch.setattr(engine.prompts, "embed_pieces", embed_unless)
    monkeypatch.setattr(engine.model.decoder, "forward", broken_step)

    def refuse(ids: tuple[int, ...]) -> None:
        raise KeyError("the client has gone")

    tickets = [
        online.submit(request, max_new_tokens=12, on_text=refuse if number == 5 else None)
        for number, request in enumerate(requests)
    ]
    failures = {number: str(ticket.future.exception(60)) for number, ticket in enumerate(tickets)}
    assert failures.pop(3) == "no such prompt"
    assert failures.pop(5) == "'the client has gone'"
    assert failures.pop(longest) == "a broken kernel"
    assert set(failures.values()) == {"None"}
    for number in failures:
        assert tickets[number].result() == expected[number]
    assert idle(online)
    assert online.counts().failed == 3


def test_kinds_take_turns(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("echat_eval.osum.engine.request_queue.time.monotonic", lambda: clock[0])
    queue = RequestQueue(99)
    kinds = {mode: engine.kind(mode) for mode in ("s2s", "tts")}

    def put(mode: str, count: int) -> None:
        for _ in range(count):
            clock[0] += 0.001
            queue.put(Ticket(number=0, request=GenerationRequest(text="x"), kind=kinds[mode]), wait=False)

    put("s2s", 6)
    put("tts", 2)
    put("s2s", 6)
    assert [ticket.kind.mode.name for ticket in queue.next() or ()] == ["s2s"]
    assert len(queue.take(kinds["s2s"], 4) or ()) == 4
    clock[0] += request_queue.PATIENCE
    assert queue.take(kinds["s2s"], 4) is None
    put("s2s", 1)
    # The oldest waits in `s2s` still, then the turn is that of `tts`, then of `s2s` again.
    assert [ticket.kind.mode.name for ticket in queue.next() or ()] == ["s2s"]
    assert queue.take(kinds["s2s"], 4) is None
    assert [ticket.kind.mode.name for ticket in queue.next() or ()] == ["tts"]
    assert queue.take(kinds["tts"], 4) is None
    assert len(queue) == 8


def test_closing_in_time_finishes_and_otherwise_gives_up(engine: Engine) -> None:
    online = OnlineEngine([engine])
    tickets = [online.submit(request, mode="s2t") for request in make_requests(12)]
    assert online.close(timeout=0.0) in (True, False)
    assert all(ticket.future.done() for ticket in tickets)
    assert idle(online)


def test_a_reply_decoded_again_is_not_handed_out_twice() -> None:
    rules = rules_of(MODES["s2s"], "fixed")
    stream, job = ReplyStream(rules, TINY), Job(number=0, prompt=torch.zeros(1, 1), seed=0, streamed=True)
    parts = [
        stream.part(NewIds(job=job, start=0, ids=(1, 2, 3))),
        stream.part(NewIds(job=job, start=0, ids=(1, 2))),
    ]
    parts.append(stream.part(NewIds(job=job, start=2, ids=(3, 4))))
    assert [part.text if part else None for part in parts] == [(1, 2, 3), None, (4,)]
    whole = GenerationResult(job=job, ids=(1, 2, 3, 4, TINY.text.end, TINY.speech.bos_eos, 9), stopped=False)
    last = stream.part(whole)
    assert last is not None
    assert (last.text, last.speech) == ((), (9,))
    with pytest.raises(SystemFailure, match="differs from what was already sent"):
        stream.part(replace(whole, ids=(1, 2, 7)))


@pytest.mark.parametrize("profile", ["fixed", "upstream"])
def test_splitting_on_the_host_follows_the_state_on_the_device(profile: Any) -> None:
    from echat_eval.osum.decoding.reply_splitter import ReplySplitter

    generator = torch.Generator().manual_seed(0)
    for name, mode in MODES.items():
        rules = rules_of(mode, profile, max_new_tokens=200)
        state, splitter = (
            DecodingState(rules, TINY, rows=1, device=torch.device("cpu")),
            ReplySplitter(rules, TINY),
        )
        text: list[int] = []
        speech: list[int] = []
        for draw in torch.randint(0, 40, (200,), generator=generator).tolist():
            in_speech = bool(state.speech)
            token = {38: TINY.text.end, 39: TINY.speech.bos_eos}.get(draw, draw)
            if bool(state.finished()):
                break
            if in_speech and token == TINY.text.end:
                token = 5
            state.accept(torch.tensor([token]))
            splitter.feed([token])
            if in_speech and token != TINY.speech.bos_eos:
                speech.append(token)
            elif not in_speech and token != TINY.text.end:
                text.append(token)
        assert (splitter.text, splitter.speech) == (text, speech), name
