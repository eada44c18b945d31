"""Every part of the cascade can be replaced: recogniser, language model and voice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.records import Request, Turn
from echat_eval.systems import build_system
from echat_eval.systems.cascade import Cascade
from echat_eval.testing import ScriptedChatServer
from tests.support.present import waveform_of

if TYPE_CHECKING:
    import pytest

PARTS = """
import numpy as np
from echat_eval.records import Waveform


class Recogniser:
    name, version = "recogniser", "1"

    def annotate(self, audio, *, language):
        return {"hypothesis": "heard " + audio.sha256[:6]}

    def fingerprint(self):
        return "recogniser-1"

    def settings(self):
        return {}


class Voice:
    def say(self, text):
        return Waveform(samples=np.full(800 * len(text.split()), 0.1, dtype=np.float32), sample_rate=8000)

    def fingerprint(self):
        return "voice-1"
"""


def test_recogniser_language_model_and_voice_can_be_replaced(
    tmp_path: Path, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    server = ScriptedChatServer("So it is.")
    system = build_system(
        "cascade",
        {
            "asr": "my_parts:Recogniser",
            "tts": "my_parts:Voice",
            "llm_url": server.url,
            "llm_model": "m",
        },
    )
    turns = (Turn(role="user", audio=requests[1].audio), Turn(role="assistant", text="Go on."))
    assert isinstance(system, Cascade)
    reply = system.respond(replace(requests[0], history=turns))
    voice = waveform_of(reply)
    assert (reply.text, voice.samples.size, voice.sample_rate) == ("So it is.", 2400, 8000)
    messages = server.requests[-1]["messages"]
    assert [m["content"] for m in messages[1:]] == [
        f"heard {requests[1].audio.sha256[:6]}",
        "Go on.",
        f"heard {requests[0].audio.sha256[:6]}",
    ]
    # An instruction replaces the system prompt.
    system.respond(replace(requests[0], instruction="Which emotion?"))
    assert server.requests[-1]["messages"][0]["content"] == "Which emotion?"
    system.close()
    server.close()
