"""Answers of judges in every form: read, or the reason of the missing verdict names what was received."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.errors import JudgeFailure, UnknownName, UsageError
from echat_eval.judge import JudgeClient, JudgeParameters, Question, load_judge
from echat_eval.scorers.judge_settings import JudgeSettings

Serve = Callable[[Callable[[Any], None]], Any]
VERDICT = json.dumps({"reason": "warm", "content": 4, "cue_awareness": 4, "empathy": 4})
QUESTION = Question(
    task="emotion", language="en", transcript="Oh.", cues={"emotion": "sad"}, reply="Hm.", voice_emotion=None
)


def ticketed(body: str, request: dict[str, Any]) -> str:
    """Return a body whose verdict carries the ticket of the request, after its last grade."""
    found = re.search(r'"ticket": "([0-9a-f]{32})"', request["messages"][0]["content"])
    if found is not None:
        field = found[0]
    else:
        schema = request["response_format"]["json_schema"]["schema"]
        field = f'"{schema["required"][-1]}": 1'
    return body.replace(r"\"empathy\": 4", rf"\"empathy\": 4, {json.dumps(field)[1:-1]}")


def ruled(
    serve: Serve, message: dict[str, Any], finish: str, **parameters: Any
) -> tuple[Any, dict[str, Any]]:
    """Return the verdict of a judge that answers this message, and the body of the request."""
    body = json.dumps({"model": "m", "choices": [{"message": message, "finish_reason": finish}]})
    server = serve(lambda h: h.reply(ticketed(body, json.loads(h.body)), "application/json"))
    set_up = JudgeParameters(**parameters)
    client = ChatClient(
        model="m",
        base_url=f"{server.url}/v1",
        token_parameter=set_up.token_parameter,
        reasoning_effort=set_up.reasoning_effort,
        json_object=set_up.schema == "json_object",
    )
    judge_client = JudgeClient(load_judge("echat-r1"), client, parameters=set_up)
    try:
        return judge_client.rule(QUESTION).verdict, json.loads(server.received[-1][3])
    finally:
        judge_client.close()


@pytest.mark.parametrize(
    "message",
    [
        {"content": [{"type": "text", "text": VERDICT}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"text": VERDICT}]},
        {"content": [VERDICT[:20], VERDICT[20:]]},
        {"content": f'<think>{{"content": 2}}?</think>\n\n{VERDICT}'},
        {"content": f"<THINKING>no</THINKING>{VERDICT}"},
        {"content": f"So it is warm.\n</think>\n```json\n{VERDICT}\n```"},
        {"content": VERDICT, "reasoning_content": "Let me see."},
        {"content": f"```JSON\n{VERDICT}\n```\n"},
        {"content": f"~~~\n{VERDICT}\n~~~"},
        {"content": VERDICT.replace("warm", "warm\n and kind")},
        {"content": VERDICT, "refusal": None},
    ],
)
def test_forms_of_a_verdict(serve: Serve, message: dict[str, Any]) -> None:
    assert ruled(serve, message, "stop")[0].grades["empathy"] == 4


def test_marks_in_a_verdict_are_part_of_it(serve: Serve) -> None:
    text = VERDICT.replace("warm", "says </think> {}")
    assert ruled(serve, {"content": text}, "stop")[0].reason == "says </think> {}"


@pytest.mark.parametrize(
    ("message", "finish", "reason"),
    [
        ({"content": None, "refusal": "I can't assist with that."}, "stop", "refused.*can't assist"),
        ({"content": [{"type": "refusal", "refusal": "No, sorry."}]}, "stop", "refused.*No, sorry"),
        ({"content": ""}, "content_filter", "content filter"),
        ({"content": None}, "SAFETY", "content filter.*finish_reason SAFETY"),
        ({"content": '{"reason'}, "MAX_TOKENS", "cut at 400 tokens"),
        ({"content": [{"type": "text", "text": ""}]}, "stop", "empty"),
        ({"content": None, "reasoning_content": "Okay. " * 90}, "length", "400 tokens, after 540 characters"),
        ({"content": '{"reason": "The reply'}, "length", "cut at 400 tokens.*max_tokens=N"),
        ({"content": "<think>The reply is"}, "stop", "a thought and no answer"),
        ({"content": None, "reasoning": "hm"}, "stop", "a thought of 2 characters and no answer"),
        ({"content": ""}, "tool_calls", "finish_reason tool_calls"),
        ({"content": ""}, "stop", "empty"),
    ],
)
def test_the_reason_names_what_was_received(
    serve: Serve, message: dict[str, Any], finish: str, reason: str
) -> None:
    with pytest.raises(JudgeFailure, match=reason):
        ruled(serve, message, finish)


def test_parameters_are_set_or_left_out(serve: Serve) -> None:
    _, sent = ruled(serve, {"content": VERDICT}, "stop")
    assert (sent["temperature"], sent["seed"], sent["max_tokens"]) == (0.0, 0, 400)
    _, sent = ruled(
        serve,
        {"content": VERDICT},
        "stop",
        temperature=None,
        seed=None,
        max_tokens=900,
        token_parameter="max_completion_tokens",
        schema="json_object",
        reasoning_effort="low",
    )
    assert set(sent) == {"model", "messages", "max_completion_tokens", "response_format", "reasoning_effort"}
    assert (sent["max_completion_tokens"], sent["response_format"]) == (900, {"type": "json_object"})


def test_settings_of_a_judge_are_checked() -> None:
    assert JudgeSettings(model="m", settings={"temperature": None}).parameters().temperature is None
    assert JudgeParameters().changed() == {}
    assert JudgeParameters(seed=None, schema=None).changed() == {"seed": None}
    with pytest.raises(UnknownName, match="max_tokens"):
        JudgeSettings(model="m", settings={"max_token": 3})
    with pytest.raises(UsageError, match="expected"):
        JudgeSettings(model="m", settings={"token_parameter": "tokens"})
