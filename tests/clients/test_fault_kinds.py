"""Every kind of fault of a server over every client: its outcome, and how long it lasts at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.clients.http import HttpClient
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import RetryPolicy, call_with_retries, timed
from echat_eval.concurrency.threads import Threads
from echat_eval.errors import UsageError
from echat_eval.records import Request
from echat_eval.systems.cascade import Cascade
from echat_eval.systems.http import Http
from echat_eval.systems.openai_chat import OpenAIChat
from echat_eval.testing import RawServer, tone_requests
from echat_eval.testing.faults import FAULT_KINDS, FaultKind, fault_server, table

#: Seconds; short for kinds that last as long.
SHORT, LONG = 0.15, 5.0
DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
CLIENTS = ("judge", "http", "openai-chat", "openai-chat stream", "cascade")
CASES = [
    pytest.param(kind, client, id=f"{kind.name}-{client}")
    for kind in FAULT_KINDS.values()
    for client in CLIENTS
    if not (kind.chat and client == "http") and kind.streams <= (client == "openai-chat stream")
]


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    HttpClient()  # imports the transport
    with fault_server() as running:
        yield running


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Request:
    return tone_requests(tmp_path_factory.mktemp("tones"), count=1)[0]


class Recogniser:
    """The recogniser of a cascade, which always hears the same words."""

    def annotate(self, audio: object, *, language: str) -> dict[str, str]:
        return {"hypothesis": "hello"}


def call_of(
    client: str, url: str, request: Request, timeout: float
) -> tuple[Callable[[], Any], Callable[[], None]]:
    """Return a call of a client, and what closes the client."""
    system: Any
    if client == "judge":
        judge = ChatClient(model="m", base_url=url, timeout=timeout)

        async def ask() -> Any:
            return await judge.ask([{"role": "user", "content": "Grade."}])

        return ask, judge.close
    if client == "http":
        system = Http(url, timeout=timeout)
    elif client == "cascade":
        system = Cascade(asr="tests.clients.test_fault_kinds:Recogniser", tts="", llm_url=url, llm_model="m")
        system.timeout_seconds = timeout

        def answer() -> Any:
            return system.respond(request)

        return answer, system.close
    else:
        system = OpenAIChat("m", url=url, timeout=timeout, stream=client.endswith("stream"))

    async def respond() -> Any:
        return await system.respond(request)

    return respond, system.close


async def no_wait(_seconds: float) -> None:
    """Do not wait between two tries."""


def outcome_of(call: Callable[[], Any], kind: FaultKind, *, party: str) -> str:
    threads = Threads(1, "test")
    try:
        result = event_loop.run(
            call_with_retries(
                lambda: timed(call, threads=threads),
                blame="instrument" if party == "judge" else "system",
                retry_policy=RetryPolicy(tries=2 if kind.outcome == "stop" else 1),
                sleep=no_wait,
            )
        )
    except UsageError:
        return "stop"
    finally:
        threads.shutdown()
    return result.state


@pytest.mark.parametrize(("kind", "client"), CASES)
def test_every_fault_over_every_client(
    server: RawServer,
    request_: Request,
    monkeypatch: pytest.MonkeyPatch,
    kind: FaultKind,
    client: str,
) -> None:
    for limit in ("clients.chat.MAX_ANSWER_BYTES", "systems.server.MAX_REPLY_BYTES"):
        monkeypatch.setattr(f"echat_eval.{limit}", 300_000)
    monkeypatch.setattr("echat_eval.concurrency.limiter._limiters", {})
    timeout = SHORT if kind.waits else LONG
    call, close = call_of(client, kind.url(server), request_, timeout)
    begun = time.monotonic()
    outcome = outcome_of(call, kind, party=client)
    seconds = time.monotonic() - begun
    close()
    expected = kind.outcome
    if client == "judge" and expected == "failed":
        expected = "missing"
    assert outcome == expected
    assert (SHORT if kind.waits else 0.0) <= seconds < timeout + 1.0


def test_the_documents_list_every_kind() -> None:
    assert "\n".join(table()) in DOCUMENT.read_text(encoding="utf-8"), (
        "replace the table in docs/faults.md by the lines of echat_eval.testing.faults.table()"
    )
    assert len(FAULT_KINDS) >= 40
