"""Calls that may have reached a server are lost and held against the limit; others cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from typing import Any

import pytest

from echat_eval.clients.chat import ChatAnswer, ChatClient
from echat_eval.concurrency import event_loop
from echat_eval.cost.meter import Meter, SpendingRow, billed_client_of
from echat_eval.cost.prices import Price, PriceTable
from echat_eval.errors import EChatError, Withheld
from echat_eval.records import Reply, Request
from echat_eval.systems.openai_chat import OpenAIChat
from echat_eval.testing.raw_server import RawConnection, RawServer
from tests.support.present import present

Script = Callable[[RawConnection], Any]
PRICE = Price(
    currency="USD",
    date="2026-01-31",
    source="a test",
    text_in=Decimal("2.5"),
    text_out=Decimal(10),
    audio_in=Decimal(40),
)


def half(connection: RawConnection) -> bool:
    body = connection.right_answer()
    connection.write(connection.head(content_type="application/json", content_length=len(body)) + body[:30])
    return False


def sends(content: bytes) -> Script:
    def script(connection: RawConnection) -> bool:
        connection.write(content)
        return False

    return script


def answers(body: bytes, status: str = "200 OK") -> Script:
    return lambda connection: connection.answer(body, status)


LOST: dict[str, Script] = {
    "closes": lambda connection: False,
    "resets": RawConnection.reset,
    "says nothing": RawConnection.wait,
    "half an answer": half,
    "half a status line": sends(b"HTTP/1.1 2"),
    "no HTTP": sends(b"SSH-2.0-OpenSSH\r\n"),
    "no JSON": answers(b"I hear you."),
    "an error in a 200": answers(b'{"error": {"message": "internal", "code": 500}}'),
    "no choice": answers(b'{"choices": []}'),
    "500": answers(b"{}", "500 Internal Server Error"),
    "502": answers(b"", "502 Bad Gateway"),
    "504": answers(b"", "504 Gateway Timeout"),
    "524": answers(b"", "524 A Timeout Occurred"),
}
FREE: dict[str, Script] = {
    "400": answers(b"{}", "400 Bad Request"),
    "401": answers(b"{}", "401 Unauthorized"),
    "429": answers(b"{}", "429 Too Many Requests"),
    "503": answers(b"{}", "503 Service Unavailable"),
    "529": answers(b"{}", "529 Overloaded"),
}


MeteredCall = Callable[[], object]


@contextmanager
def asking(
    client: str, url: str, meter: Meter, request: Request, *, timeout: float = 30.0
) -> Iterator[MeteredCall]:
    """Yield a function that makes one metered call."""
    if client == "judge":
        judge = ChatClient(model="m", base_url=f"{url}/v1", timeout=timeout)
        meter.account("judge", "j", judge)
        with closing(judge):
            yield lambda: event_loop.run(judge.ask([{"role": "user", "content": "Grade."}], max_tokens=10))
    else:
        system = OpenAIChat("m", f"{url}/v1", max_tokens=10, timeout=timeout)
        meter.account("system", "s", present(billed_client_of(system)))
        with closing(system):
            yield lambda: event_loop.run(system.respond(request))


def metered(limit: str = "1") -> tuple[Meter, list[SpendingRow]]:
    log: list[SpendingRow] = []
    table = PriceTable(name="t", sha256="0", prices={"m": PRICE})
    return Meter(table, limit=Decimal(limit), log=log.append), log


@pytest.mark.parametrize("client", ["judge", "system"])
@pytest.mark.parametrize("kind", [*LOST, *FREE])
def test_a_call_that_reached_a_server_is_lost_unless_it_was_refused(
    requests: list[Request], kind: str, client: str
) -> None:
    meter, log = metered()
    timeout = 1.0 if kind == "says nothing" else 30.0
    with (
        RawServer({**LOST, **FREE}[kind]) as server,
        asking(client, server.url, meter, requests[0], timeout=timeout) as ask,
    ):
        with pytest.raises(EChatError):
            ask()
        assert len(server.paths) == 1
    assert [row.lost for row in log] == ([True] if kind in LOST else [])
    assert (meter.spent > 0) == (kind in LOST)


UNREACHABLE: dict[str, Callable[[RawServer], str]] = {
    "connection refused": lambda server: server.closed_url,
    "no such host": lambda server: "http://no-such-host.invalid",
    "no TLS": lambda server: server.url.replace("http:", "https:"),
}


@pytest.mark.parametrize("client", ["judge", "system"])
@pytest.mark.parametrize("kind", UNREACHABLE)
def test_a_call_that_was_never_sent_is_free(requests: list[Request], kind: str, client: str) -> None:
    meter, log = metered()
    with RawServer(lambda connection: False) as server:
        url = UNREACHABLE[kind](server)
        with asking(client, url, meter, requests[0]) as ask, pytest.raises(EChatError):
            ask()
        assert (log, server.paths) == ([], [])


def test_lost_calls_count_against_the_limit(requests: list[Request]) -> None:
    """A server that takes every question and closes is asked no more often than the limit pays for."""
    meter, log = metered("0.0005")  # two calls of at most 0.0002 USD
    errors = []
    with (
        RawServer(lambda connection: False) as server,
        asking("judge", server.url, meter, requests[0]) as ask,
    ):
        for _ in range(10):
            with pytest.raises(EChatError) as caught:
                ask()
            errors.append(type(caught.value))
        assert len(server.paths) == errors.index(Withheld) == len(log) == 2


@pytest.mark.parametrize("client", ["judge", "system"])
@pytest.mark.parametrize("count", [b"1e999", b"-7", b'"many"', b"null", b"[7]", b"NaN", b"9" * 5000])
def test_an_answer_without_a_usable_count_is_kept(requests: list[Request], count: bytes, client: str) -> None:
    def script(connection: RawConnection) -> None:
        body = connection.right_answer()
        assert b'"prompt_tokens": 7' in body
        connection.answer(body.replace(b'"prompt_tokens": 7', b'"prompt_tokens": ' + count))

    meter, log = metered()
    with RawServer(script) as server, asking(client, server.url, meter, requests[0]) as ask:
        answer = ask()
    assert isinstance(answer, ChatAnswer | Reply)
    assert answer.text == "I hear you."
    assert [row.lost for row in log] == [True]  # at its upper bound
    assert meter.spent > 0
