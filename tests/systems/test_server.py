"""Adapters of servers share one connection, one limit of a reply and one folder for its audio."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.concurrency import event_loop
from echat_eval.errors import NotApplicable, UsageError
from echat_eval.records import Request, Turn
from echat_eval.systems import build_system, command, http, openai_chat, program, replay, server, wire
from echat_eval.systems.command import Command
from echat_eval.systems.http import Http
from echat_eval.systems.openai_chat import OpenAIChat
from echat_eval.systems.server import ServerConnection
from echat_eval.systems.wire import ReplyFolder

ADAPTERS: list[Callable[[str], Any]] = [
    lambda url: Http(url, timeout=7, calls_at_once=3),
    lambda url: OpenAIChat("m", url, timeout=7, calls_at_once=3),
    lambda url: ServerConnection(url, timeout=7, calls_at_once=3),
]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/", "expected http://host:port/path"),
        ("http://", "expected http://host:port/path"),
        ("http://user:pass@host/", "user name or password"),
        ("http://host:x/", "is not a URL"),
    ],
)
def test_every_adapter_checks_the_url(adapter: Callable[[str], Any], url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        adapter(url)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_adapter_has_its_limits(adapter: Callable[[str], Any]) -> None:
    made = adapter("http://127.0.0.1:9/")
    assert (made.timeout, made.calls_at_once) == (7.0, 3)


@pytest.mark.parametrize("adapter", ADAPTERS[:2])
def test_close_deletes_the_folder_and_load_creates_another(adapter: Callable[[str], Any]) -> None:
    made = adapter("http://127.0.0.1:9/")
    made.load()
    folder = made._server.folder
    (folder / "a.wav").write_bytes(b"x")
    made.close()
    assert not folder.exists()
    made.close()
    made.load()
    assert made._server.folder.is_dir()
    made.close()


def test_reply_folder_is_created_when_needed(tmp_path: Path) -> None:
    replies = ReplyFolder()
    assert not replies.is_open
    path = replies.path
    assert path.is_dir()
    assert replies.path == path
    replies.close()
    assert not path.exists()
    program_system = Command("true")
    program_system.load()
    path = program_system._replies.path
    program_system.close()
    assert not path.exists()


# One limit for each kind of reply; a copy would have its own value.
def test_limits_are_those_of_the_wire() -> None:
    assert server.MAX_REPLY_BYTES == program.MAX_REPLY_BYTES == wire.MAX_REPLY_BYTES  # type: ignore[attr-defined]
    assert command.MAX_TEXT_BYTES == replay.MAX_TEXT_BYTES == wire.MAX_TEXT_BYTES  # type: ignore[attr-defined]
    for module in (http, openai_chat, command, program, replay):
        own = {
            line.split(" ")[0]
            for line in Path(str(module.__file__)).read_text().splitlines()
            if line.startswith(("MAX_", "_MAX_"))
        }
        assert not own, module.__name__
    assert wire.MAX_AUDIO_BYTES * 4 / 3 < wire.MAX_REPLY_BYTES


@pytest.mark.parametrize("kind", ["openai-chat", "realtime"])
def test_a_list_entry_rules_kinds_of_requests_out(
    kind: str, serve: Callable[[Any], Any], requests: list[Request]
) -> None:
    entry = {"id": "m", "takes_history": False, "takes_instruction": False}
    host = serve(lambda h: h.reply(json.dumps({"data": [entry]}), "application/json"))
    path = "/v1" if kind == "openai-chat" else "/v1/realtime"
    system: Any = build_system(f"{kind}:m", {"url": f"{host.url}{path}"})
    assert system.fingerprint() is not None
    turns = (Turn(role="user", audio=requests[1].audio), Turn(role="assistant", text="Go on."))
    for change, words in (
        ({"history": turns}, "earlier turns"),
        ({"instruction": "What?"}, "no instruction"),
    ):
        with pytest.raises(NotApplicable, match=words):
            event_loop.call(system.respond, replace(requests[0], **change))
    system.close()
