"""Servers and systems with random faults, which only sad samples have.

Faults are drawn from a hash of the request and the number of times it was made, so that they do not depend on the
order of calls. Because they depend on the label, leaving out the faulty rows would move the mean.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from echat_eval.errors import Unavailable
from echat_eval.judge.client import IDENTITY_PROMPT
from echat_eval.records import Request
from echat_eval.testing import (
    ScriptedChatClient,
    ScriptedServer,
    ScriptedSystem,
    chat_completion,
    judge_verdict,
    prompt_of,
    shown_to_judge,
)
from echat_eval.testing.servers import Exchange, in_schema, schema_of

#: Fault -> share of all calls.
SHARES = {"429": 0.10, "time-out": 0.05, "unparsable": 0.03}


def share_of(*parts: object) -> float:
    """Return a reproducible number from 0 to 1 for the arguments."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16) / 16**12


class Faults:
    """Draws the fault of each call and counts the faults.

    Args:
        seed: None for no faults.
        kinds: the kinds from `SHARES` to draw.
    """

    def __init__(self, seed: int | None, kinds: Sequence[str] = tuple(SHARES)) -> None:
        self.seed, self.kinds = seed, kinds
        self.happened: Counter[str] = Counter()
        self._calls: Counter[object] = Counter()
        self._lock = threading.Lock()

    def draw(self, label: str, request: object) -> str | None:
        """Return the fault of the next call with `request`: none or, for sad samples, one at twice its share."""
        with self._lock:
            self._calls[request] += 1
            if self.seed is None or label != "sad":
                return None
            left = share_of(self.seed, request, self._calls[request])
            for kind in self.kinds:
                left -= 2 * SHARES[kind]
                if left < 0:
                    self.happened[kind] += 1
                    return kind
            return None


@cache  # the same prompts come back for every seed
def graded(prompt: str) -> tuple[str, str]:
    """Return the label in a prompt, and a verdict that depends on the whole prompt.

    A prompt without a sample is the request that identifies the server; it has no faults.
    """
    if prompt == IDENTITY_PROMPT:
        return "", "Yes."
    shown = shown_to_judge(prompt)
    label = shown["cues"].partition(": ")[2]
    facts = shown["transcript"], shown["cues"], shown["reply"], shown["voice_emotion"]
    grades = [int(6 * share_of(name, *facts)) for name in ("content", "cue", "empathy")]
    # Sad samples get lower grades: without them the mean would rise.
    if label == "sad":
        grades = [grade // 2 for grade in grades]
    return label, judge_verdict(*grades)


NO_VERDICT = "I would give this a 5."


def faulty_client(faults: Faults) -> ScriptedChatClient:
    """Return a chat client in this process, with faults."""

    def answer(prompt: str) -> str:
        label, text = graded(prompt)
        fault = faults.draw(label, prompt)
        if fault in ("429", "time-out"):
            raise Unavailable(str(fault), retry_after=0.0)
        return NO_VERDICT if fault == "unparsable" else text

    return ScriptedChatClient(answer, model="m-2026-01-01")


def faulty_system(name: str, labels: Mapping[str, str], faults: Faults) -> ScriptedSystem:
    """Return a system whose reply depends on its name and the query audio, with network faults."""

    def answer(request: Request) -> str:
        digest = request.audio.sha256
        if fault := faults.draw(labels[digest], (name, digest)):
            raise Unavailable(fault, retry_after=0.0)
        return f"{name} says {share_of(name, digest):.6f}."

    return ScriptedSystem(answer, name, asynchronous=True, calls_at_once=4)


def faulty_server(judge: Faults, system: Faults, labels: Mapping[str, str], *, late: float) -> ScriptedServer:
    """Return a server with a judge at /v1/chat/completions and a system at /speak.

    Args:
        labels: sha256 of the query audio -> gold label.
        late: seconds until a call with a timeout is answered.
    """

    def judged(body: bytes) -> tuple[str | None, Any]:
        request = json.loads(body)
        prompt = prompt_of(request)
        label, text = graded(prompt)
        text, fault = in_schema(text, schema_of(request)), judge.draw(label, prompt)
        return fault, chat_completion(
            NO_VERDICT if fault == "unparsable" else text, model="m", fingerprint="1", usage=(1, 1)
        )

    def spoken(body: bytes) -> tuple[str | None, Any]:
        digest = hashlib.sha256(body).hexdigest()
        return system.draw(labels[digest], digest), {"text": f"I hear {digest[:9]}."}

    def script(exchange: Exchange) -> None:
        if exchange.command == "GET":  # the fingerprint request; this server does not support it
            exchange.reply(status=404)
            return
        fault, answer = (spoken if exchange.path == "/speak" else judged)(exchange.body)
        if fault == "time-out":
            time.sleep(late)
        if fault == "429":
            exchange.reply_json({"error": {"message": "too many"}}, 429, retry_after="0.02")
        else:
            exchange.reply_json(answer)

    return ScriptedServer(script)
