"""Every adapter of a chat server sets or leaves out each parameter of its requests."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from echat_eval.concurrency import event_loop
from echat_eval.errors import UsageError
from echat_eval.records import Request, Sample
from echat_eval.systems import build_system
from echat_eval.task import load_task
from echat_eval.testing import ScriptedChatServer

RECOGNISER = """
class Recogniser:
    name, version = "recogniser", "1"

    def annotate(self, audio, *, language):
        return {"hypothesis": "so"}

    def fingerprint(self):
        return "recogniser-1"

    def settings(self):
        return {}
"""
ADAPTERS = ["openai-chat", "transcript-only", "gold-labels", "cascade"]
PARAMETERS = ("temperature", "seed", "max_tokens", "max_completion_tokens", "reasoning_effort", "modalities")


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scripted_recogniser.py").write_text(RECOGNISER)
    monkeypatch.syspath_prepend(str(tmp_path))


def built(adapter: str, url: str, **settings: Any) -> Any:
    if adapter == "cascade":
        model = {"asr": "scripted_recogniser:Recogniser", "tts": "", "llm_url": url, "llm_model": "m"}
        return build_system("cascade", model | settings)
    return build_system(adapter, {"model": "m", "url": url, **settings})


def sent(adapter: str, request: Request, sample: Sample, **settings: Any) -> dict[str, Any]:
    """Return the parameters in the body of a request."""
    with ScriptedChatServer("So it is.") as server:
        system = built(adapter, server.url, **settings)
        call = system.respond_to(sample) if hasattr(system, "respond_to") else system.respond(request)
        if asyncio.iscoroutine(call):
            event_loop.run(call)
        system.close()
        return {name: value for name, value in server.requests[-1].items() if name in PARAMETERS}


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_parameters_are_set_or_left_out(adapter: str, requests: list[Request], tones: Path) -> None:
    sample = load_task("emotion", data=tones).samples[0]
    nothing = {"temperature": None, "seed": None, "max_tokens": None}
    more = {"modalities": None} if adapter == "openai-chat" else {}
    assert sent(adapter, requests[0], sample, **nothing, **more) == {}
    changed = {"temperature": 0.7, "seed": 3, "reasoning_effort": "low", "max_tokens": 90}
    found = sent(adapter, requests[0], sample, **changed, token_parameter="max_completion_tokens", **more)
    assert found == {"temperature": 0.7, "seed": 3, "reasoning_effort": "low", "max_completion_tokens": 90}


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_changed_parameters_are_settings_of_the_system(adapter: str) -> None:
    """They are in the keys of replies; at their defaults, keys of earlier versions stay valid."""
    url = "http://127.0.0.1:9/v1"
    default = built(adapter, url).settings()
    assert not {"token_parameter", "reasoning_effort"} & set(default)
    for name, value in {
        "temperature": 0.5,
        "seed": 7,
        "token_parameter": "max_completion_tokens",
        "reasoning_effort": "low",
    }.items():
        assert built(adapter, url, **{name: value}).settings() == {**default, name: value}
    assert built(adapter, url, temperature=None).settings() == {**default, "temperature": None}


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_url_with_a_password_is_refused(adapter: str) -> None:
    with pytest.raises(UsageError, match="user name or password"):
        built(adapter, "http://me:hunter-22@127.0.0.1:9/v1")
    shown = str(built(adapter, "http://127.0.0.1:9/v1?api-key=leaked-query-1").settings())
    assert "leaked-query-1" not in shown
