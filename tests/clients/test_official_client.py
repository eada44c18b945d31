"""The chat client beside OpenAI's own: the same request, and the same answer read."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.concurrency import event_loop
from echat_eval.testing import ScriptedChatServer

MESSAGES = [
    {"role": "system", "content": "Grade the reply."},
    {"role": "user", "content": "> 今天真糟糕 \u2028 – naïve"},
]
SCHEMA = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "grade": {"type": "integer"}},
    "required": ["reason", "grade"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, {"temperature": 0.0, "seed": 0, "max_tokens": 300}),
        ({"temperature": None, "seed": None}, {"max_tokens": 300}),
        (
            {"schema": SCHEMA, "max_tokens": 40},
            {
                "temperature": 0.0,
                "seed": 0,
                "max_tokens": 40,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "verdict", "strict": True, "schema": SCHEMA},
                },
            },
        ),
    ],
)
def test_request_and_answer_equal_those_of_the_official_client(
    options: dict[str, Any], parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHAT_EVAL_API_KEY", "sk-official-and-ours")
    with ScriptedChatServer('{"reason": "warm", "grade": 4}', usage=(21, 9)) as server:
        official: Any = openai.OpenAI(base_url=server.url, api_key="sk-official-and-ours", max_retries=0)
        with official:
            theirs = official.chat.completions.create(model="judge-1", messages=MESSAGES, **parameters)
        ours = event_loop.call(
            lambda: ChatClient(model="judge-1", base_url=server.url).ask(MESSAGES, **options)
        )
        assert server.requests[0] == server.requests[1]
    (choice,) = theirs.choices
    assert (ours.text, ours.finish_reason) == (choice.message.content, choice.finish_reason)
    assert (ours.model, ours.server) == (theirs.model, theirs.system_fingerprint)
    assert (ours.prompt_tokens, ours.completion_tokens) == (
        theirs.usage.prompt_tokens,
        theirs.usage.completion_tokens,
    )
