"""One network policy: addresses, proxies and certificates."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.clients.network import endpoint, proxy_for
from echat_eval.concurrency import event_loop
from echat_eval.records import Request
from echat_eval.systems.openai_chat import OpenAIChat

Serve = Callable[[Callable[[Any], None]], Any]
BODY = json.dumps({"choices": [{"message": {"content": "Oh!"}}]})


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("", "/chat/completions"),
        ("/openai/deployments/gpt?api-version=1", "/openai/deployments/gpt/chat/completions?api-version=1"),
        ("/gpt/chat/completions?a=1&b=2", "/gpt/chat/completions?a=1&b=2"),
    ],
)
@pytest.mark.parametrize("client", ["system", "judge"])
def test_base_urls(serve: Serve, requests: list[Request], client: str, base: str, path: str) -> None:
    server = serve(lambda h: h.reply(BODY, "application/json"))
    url = f"{server.url.rstrip('/')}{base}"
    if client == "system":
        system = OpenAIChat("m", url=url)
        event_loop.call(system.respond, requests[0])
        system.close()
    else:
        chat = ChatClient(model="m", base_url=url)
        assert event_loop.run(chat.ask([{"role": "user", "content": "Say yes."}])).text == "Oh!"
        chat.close()
    assert server.received[-1][1] == path


def test_a_fragment_is_not_sent() -> None:
    assert endpoint("http://h/v1#x", "models") == "http://h/v1/models"


@pytest.mark.parametrize("client", ["system", "judge"])
def test_proxies_count_but_not_for_this_machine(
    serve: Serve, requests: list[Request], monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    proxy = serve(lambda h: h.reply(BODY, "application/json"))
    server = serve(lambda h: h.reply(BODY, "application/json"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy.url.rstrip("/"))
    for url, expected in ((f"{server.url}/v1", 0), ("http://chat.example.invalid/v1", 1)):
        if client == "system":
            system = OpenAIChat("m", url=url)
            event_loop.call(system.respond, requests[0])
            system.close()
        else:
            chat = ChatClient(model="m", base_url=url)
            event_loop.run(chat.ask([{"role": "user", "content": "Say yes."}]))
            chat.close()
        assert len(proxy.received) == expected


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_this_machine_needs_no_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    assert proxy_for(f"http://{host}:8000/v1") is None
    assert proxy_for("http://127.0.0.1.example.org/") == "http://proxy:3128"
