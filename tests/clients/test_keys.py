"""API keys: read in one place, refused if no header can hold them, and in no text that is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from echat_eval import errors
from echat_eval.clients.chat import ChatClient
from echat_eval.clients.keys import api_key, remember_secrets_of, secret_from
from echat_eval.clients.network import check_url
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import MAX_REASON, reason_of
from echat_eval.errors import SystemFailure, Unavailable, UsageError, scrub
from echat_eval.records import Request
from echat_eval.systems.openai_chat import OpenAIChat
from echat_eval.testing import ScriptedChatServer

Serve = Callable[[Callable[[Any], None]], Any]


@pytest.fixture(autouse=True)
def no_other_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_secrets", set())
    for variable in ("ECHAT_EVAL_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    "value", ["sk-abc123\n", "\r\nsk-abc123\r\n", "\tsk-abc123 ", "sk-abc123\u00a0", "\u3000sk-abc123"]
)
@pytest.mark.parametrize("variable", ["ECHAT_EVAL_API_KEY", "OPENAI_API_KEY"])
def test_white_space_around_a_key_is_removed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert api_key() == "sk-abc123"


def test_a_key_of_white_space_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHAT_EVAL_API_KEY", " \n")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-second")
    assert api_key() == "sk-second"
    monkeypatch.delenv("OPENAI_API_KEY")
    assert api_key() is None


UNUSABLE = [
    "你的密钥在这里",
    "sk-“quoted”",
    "sk-abc\ndef123",
    "sk-abc\tdef123",
    "sk-abc\x7f123",
    "sk-ключ-1",
    "\ufeffsk-abc123",
]


@pytest.mark.parametrize("value", UNUSABLE)
@pytest.mark.parametrize("client", ["system", "judge", "key"])
def test_a_key_that_no_header_can_hold_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, client: str, value: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with ScriptedChatServer("Yes.") as server:
        calls: dict[str, Callable[[], object]] = {
            "system": lambda: OpenAIChat("m", url=server.url).load(),
            "judge": lambda: event_loop.run(
                ChatClient(model="m", base_url=server.url).ask([{"role": "user", "content": "Say yes."}])
            ),
            "key": lambda: secret_from("OPENAI_API_KEY"),
        }
        with pytest.raises(UsageError, match="OPENAI_API_KEY") as caught:
            calls[client]()
        assert not server.requests
    for part in (value, repr(value)[1:-1], "abc", "ключ", "密钥", "quoted"):
        assert part not in str(caught.value)


@pytest.mark.parametrize("secret", ["sk-SECRET-0123456789", 'sk-"quoted"/SECRET+1=', "sk SECRET 77"])
@pytest.mark.parametrize(
    "form", [str, lambda s: repr(s.encode()), lambda s: quote(s, safe=""), lambda s: json.dumps({"key": s})]
)
@pytest.mark.parametrize(
    "error", [ValueError, RuntimeError, SystemFailure, Unavailable, UsageError, KeyError]
)
def test_no_reason_holds_a_key(
    monkeypatch: pytest.MonkeyPatch, secret: str, form: Callable[[str], str], error: type[Exception]
) -> None:
    monkeypatch.setenv("ECHAT_EVAL_API_KEY", secret)
    assert api_key() == secret
    # A cut at the end of a reason must not leave a part of the key.
    for before in ("illegal header ", "x" * (MAX_REASON - 30)):
        reason = reason_of(error(f"{before}{form(secret)}"))
        assert "SECRET" not in reason
        assert "sk" not in reason


@pytest.mark.parametrize(
    "url",
    [
        "https://host/v1?api-key=TOPSECRET1&api-version=2024",
        "https://host/v1?access_token=TOPSECRET1",
        "https://host/v1?sig=TOPSECRET1",
        "https://me:TOPSECRET1@host/v1",
        "https://me:TOPSECRET1%21@host/v1",
        "https://host/v1?subscription-key=TOPSECRET1",
    ],
)
def test_passwords_and_tokens_of_a_url_are_secrets(url: str) -> None:
    remember_secrets_of(url)
    assert "TOPSECRET1" not in scrub(f"refused: {url}")
    assert "api-version=2024" in scrub("https://host/v1?api-version=2024")
    with pytest.raises(UsageError) as caught:
        check_url(url.replace("https", "ftp"), "url")
    assert "TOPSECRET1" not in str(caught.value)


@pytest.mark.parametrize("placeholder", ["none", "EMPTY", "x"])
def test_a_placeholder_is_no_secret(monkeypatch: pytest.MonkeyPatch, placeholder: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", placeholder)
    assert api_key() == placeholder
    assert scrub(f"the answer is {placeholder}") == f"the answer is {placeholder}"


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_server_that_repeats_the_key(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, requests: list[Request], status: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-SECRET-0123456789")

    def echo(handler: Any) -> None:
        content = {"content": f"You sent {handler.headers['authorization']}."}
        body = {"choices": [{"message": content}]} if status == 200 else {"error": content}
        handler.reply(json.dumps(body), "application/json", status=status)

    system = OpenAIChat("m", url=f"{serve(echo).url}/v1")
    try:
        shown = event_loop.call(system.respond, requests[0]).text
    except (SystemFailure, Unavailable) as error:
        shown = str(error)
    finally:
        system.close()
    assert "SECRET" not in shown
    assert "[secret]" in shown
