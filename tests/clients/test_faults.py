"""Whose fault an error is: the words of a server decide, in whichever part of its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient, parameter_options
from echat_eval.clients.faults import reported_fault
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import RetryPolicy, Timed, call_with_retries
from echat_eval.errors import EChatError, ServerRefusal, SystemFailure, Unavailable, UsageError
from echat_eval.records import Request
from echat_eval.systems.openai_chat import OpenAIChat

Serve = Callable[[Callable[[Any], None]], Any]

IN_PASSING: list[Any] = [
    {"message": "Provider returned error", "code": 429, "metadata": {"raw": "Too Many Requests"}},
    {"message": "busy", "code": "503"},
    {"type": "overloaded_error", "message": "Overloaded"},
    {"code": "server_is_overloaded", "message": "Please try again later."},
    {"code": "rate_limit_exceeded", "message": "Rate limit reached. Please try again in 1.5s."},
    {"code": 520, "message": "Web server is returning an unknown error"},
    {"status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded for requests per minute"},
    "upstream request timeout: temporarily unavailable",
]
SAID = ["status", "body", "stream"]


def error_of(serve: Serve, request: Request, said: Any, location: str, status: int = 500) -> EChatError:
    """Return the error of a system whose server says this in a status, a body of 200, or a stream."""

    def answer(handler: Any) -> None:
        body = json.dumps({"error": said})
        if location == "stream":
            begun = json.dumps({"choices": [{"delta": {"content": "Oh"}}]})
            handler.reply(f"data: {begun}\n\ndata: {body}\n\n", "text/event-stream")
        else:
            handler.reply(body, "application/json", status=status if location == "status" else 200)

    system = OpenAIChat(
        "m", url=f"{serve(answer).url}/v1", stream=location == "stream", max_tokens=9, timeout=5.0
    )
    try:
        with pytest.raises(EChatError) as caught:
            event_loop.call(system.respond, request)
    finally:
        system.close()
    return caught.value


@pytest.mark.parametrize("said", IN_PASSING)
@pytest.mark.parametrize("location", SAID)
def test_a_fault_in_passing_is_missing(
    serve: Serve, requests: list[Request], said: Any, location: str
) -> None:
    error = error_of(serve, requests[0], said, location)
    assert isinstance(error, Unavailable)
    assert error.overloaded


@pytest.mark.parametrize(
    "said",
    [
        {"code": "insufficient_quota", "message": "You exceeded your current quota, check your plan."},
        {"message": "Insufficient credits. Add more", "code": 402},
        {"type": "insufficient_quota", "message": "no money", "code": None},
        {"message": "Your credit balance is too low"},
    ],
)
@pytest.mark.parametrize("location", SAID)
def test_an_account_without_money_stops(
    serve: Serve, requests: list[Request], said: Any, location: str
) -> None:
    error = error_of(serve, requests[0], said, location, status=429)
    assert isinstance(error, UsageError)
    assert "add credit" in str(error)


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504, 507, 520, 521, 522, 523, 524, 525, 529])
def test_statuses_of_a_busy_server_or_its_gateway(status: int) -> None:
    for party in ("system", "instrument"):
        error = reported_fault(
            b"<html><head><title>origin down</title></head></html>",
            place="http://h/v1",
            status=status,
            headers={"retry-after": "7"},
            party=party,
        )
        assert isinstance(error, Unavailable)
        # A gateway that gave up does not know whether the server behind it answered.
        assert (error.retry_after, error.refused) == (7.0, status not in (502, 504, 520, 524))
        assert f"HTTP {status}: origin down" in str(error)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 407, 413])
def test_statuses_alike_for_every_row_get_a_second_look(status: int) -> None:
    error = reported_fault(b"no", place="http://h", status=status)
    assert isinstance(error, ServerRefusal)
    assert error.per_row == (status == 413)

    def run(tries: int, *errors: Exception) -> tuple[str, int]:
        waiting = list(errors)

        async def call() -> Timed[str]:
            if waiting:
                raise waiting.pop(0)
            return Timed(value="Yes.", seconds=0.0)

        policy = RetryPolicy(tries=tries, first_wait=0.0)
        result = asyncio.run(call_with_retries(call, blame="system", retry_policy=policy))
        return result.state, result.tries

    # A gateway answers so in passing.
    assert run(3, error) == ("value", 2)
    assert run(1, error) == (("missing", 1) if status == 413 else ("value", 2))
    with pytest.raises(ServerRefusal):
        run(3, error, error)
    with pytest.raises(ServerRefusal):
        run(3, error, Unavailable("busy"), error)


PARAMETERS: list[tuple[Any, int, str]] = [
    (
        {"message": "Unsupported value", "param": "temperature", "code": "unsupported_value"},
        400,
        "temperature",
    ),
    ({"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'."}, 400, "max_tokens"),
    ({"message": "seed is not supported by this model"}, 422, "seed"),
    ([{"type": "extra_forbidden", "loc": ["body", "modalities"], "msg": "no"}], 422, "modalities"),
    ({"message": "Unknown name", "param": "modalities[1]"}, 400, "modalities"),
]


@pytest.mark.parametrize(("said", "status", "name"), PARAMETERS)
@pytest.mark.parametrize("option", ["--set", "--judge-set"])
def test_an_error_that_names_a_parameter_stops_with_its_option(
    said: Any, status: int, name: str, option: str
) -> None:
    options = parameter_options(
        option, ["model", "messages", "temperature", "seed", "max_tokens", "modalities"]
    )
    error = reported_fault({"error": said}, place="http://h/v1", status=status, options=options)
    assert isinstance(error, UsageError)
    assert not isinstance(error, ServerRefusal)
    assert options[name] in str(error)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"message": "bad format of this sound"}, 400),
        ({"message": "max_tokens: context length is 2048 tokens, 2100 input tokens"}, 400),
        ({"message": "the audio is too short", "param": "messages[0].content"}, 400),
        ({"message": "assertion failed"}, 200),
    ],
)
def test_a_fault_of_one_request_is_the_systems(said: Any, status: int) -> None:
    options = parameter_options("--set", ["messages", "audio", "max_tokens", "stream"])
    body = {"error": said}
    assert isinstance(reported_fault(body, place="h", status=status, options=options), SystemFailure)
    judge = reported_fault(body, place="h", status=status, options=options, party="instrument")
    assert isinstance(judge, Unavailable)


@pytest.mark.parametrize("said", IN_PASSING)
def test_judges_and_systems_use_the_same_rule(serve: Serve, said: Any) -> None:
    server = serve(lambda h: h.reply(json.dumps({"choices": None, "error": said}), "application/json"))
    client = ChatClient(model="m", base_url=f"{server.url}/v1")
    with pytest.raises(Unavailable):
        event_loop.run(client.ask([{"role": "user", "content": "Say yes."}]))
    client.close()
