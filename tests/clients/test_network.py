"""One network policy: addresses, proxies and certificates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.clients.network import endpoint, proxy_for, ssl_context_for
from echat_eval.concurrency import event_loop
from echat_eval.errors import ServerRefusal, UsageError
from echat_eval.records import Request
from echat_eval.scorers.judge_settings import parse_judges, scorers_of_judge
from echat_eval.systems import build_system
from echat_eval.systems.openai_chat import OpenAIChat

Serve = Callable[[Callable[[Any], None]], Any]
BODY = json.dumps({"choices": [{"message": {"content": "Oh!"}}]})


NAMELESS: dict[str, Callable[[], object]] = {
    "--judge-url": lambda: parse_and_build_judge({"model": "gpt-4o-2024-11-20"}),
    "--set url=": lambda: build_system("openai-chat", {"model": "gpt-4o-2024-11-20"}),
    "--set url= ": lambda: build_system("gold-labels", {"model": "gpt-4o-2024-11-20"}),
}


def parse_and_build_judge(given: Any) -> object:
    (settings,) = parse_judges(given)
    return scorers_of_judge(settings, note=lambda text: None)


@pytest.mark.parametrize("option", NAMELESS)
def test_a_server_in_the_environment_is_refused_and_never_used(
    monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    make = NAMELESS[option]
    for url in ("", " ", "https://api.openai.com/v1", "https://api.openai.com/v1/"):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        make()
    monkeypatch.setenv("OPENAI_BASE_URL", "https://proxy.example/v1?key=abcdef0123")
    with pytest.raises(UsageError) as error:
        make()
    assert (
        f"OPENAI_BASE_URL is 'https://proxy.example/v1?key=[secret]', and is not read; give {option.strip()} "
        in str(error.value)
    )
    assert "\n" not in str(error.value)


def test_a_named_server_needs_no_look_at_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://proxy.example/v1")
    assert ChatClient(model="m", base_url="http://127.0.0.1:9/v1").base_url == "http://127.0.0.1:9/v1"
    assert OpenAIChat("m", url="http://127.0.0.1:9/v1").base_url == "http://127.0.0.1:9/v1"


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


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({"https_proxy": "http://p:1"}, "https://h/v1", "http://p:1"),
        ({"HTTPS_PROXY": "p:1"}, "https://h/v1", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "http://h/v1", None),
        ({"ALL_PROXY": "http://p:1"}, "http://h/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "no_proxy": "h"}, "http://h/v1", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": ".example.org"}, "http://a.example.org/v1", None),
        ({"ALL_PROXY": "http://p:1", "no_proxy": "*"}, "http://h/v1", None),
        ({"ALL_PROXY": "http://p:1", "no_proxy": "x, 10.0.0.0/8"}, "http://10.2.3.4:80/v1", None),
        ({"ALL_PROXY": "http://p:1", "no_proxy": "10.0.0.0/8"}, "http://11.2.3.4/v1", "http://p:1"),
    ],
)
def test_proxy_variables(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, proxy: str | None
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


def test_a_proxy_of_another_protocol_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://p:1080")
    with pytest.raises(UsageError, match="HTTP_PROXY is a socks5 address"):
        proxy_for("http://h/v1")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_absent_certificates_are_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "absent"))
    with pytest.raises(UsageError, match=variable):
        ssl_context_for("https://h/v1")
    assert ssl_context_for("http://h/v1") is True


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("client", ["system", "judge"])
def test_nothing_is_sent_to_another_host(
    serve: Serve, requests: list[Request], client: str, status: int
) -> None:
    other = serve(lambda h: h.reply(BODY, "application/json"))
    server = serve(lambda h: h.reply(status=status, location=f"{other.url}/v1/chat/completions"))
    system: Any = OpenAIChat("m", url=f"{server.url}/v1")
    chat = ChatClient(model="m", base_url=f"{server.url}/v1")
    question = [{"role": "user", "content": "Say yes."}]
    calls = {"system": lambda: system.respond(requests[0]), "judge": lambda: chat.ask(question)}
    with pytest.raises(ServerRefusal, match=r"refused a redirect|give that URL"):
        event_loop.call(calls[client])
    system.close()
    chat.close()
    assert len(server.received) == 1
    assert not other.received
