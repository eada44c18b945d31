"""Client for OpenAI-compatible chat servers."""

from __future__ import annotations

import asyncio
import re
import weakref
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.clients.chat_answer import message_parts, reports_error, token_counts
from echat_eval.clients.faults import reported_fault, shown
from echat_eval.clients.http import check_url, endpoint, network_settings, without_query
from echat_eval.clients.keys import api_key
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.limiter import limiter_for
from echat_eval.cost.meter import Account, metered_call
from echat_eval.cost.tokens import MessageSize
from echat_eval.errors import Unavailable, UsageError, scrub
from echat_eval.io.jsonl import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from openai import AsyncOpenAI

__all__ = ["OPENAI", "ChatAnswer", "ChatClient", "is_dated", "parameter_options", "size_of"]

OPENAI = "https://api.openai.com/v1"
#: Seconds that a whole call may take longer than the time-out of the transport.
GRACE = 0.5
#: Seconds to wait for connections to close.
CLOSE_TIMEOUT = 2.0


def is_dated(model: str) -> bool:
    """Return whether a model's name contains a date and therefore identifies a fixed version.

    >>> is_dated("gpt-4o-2024-11-20"), is_dated("gpt-4o")
    (True, False)
    """
    return re.search(r"20\d\d-?\d\d-?\d\d", model) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """The answer of a chat server.

    Attributes:
        model: as the server names it; may be more specific than the requested name.
        server: system fingerprint, if the server returns one.
        finish_reason: such as "stop", "length" or "content_filter".
        think, refusal: text that the server marks as reasoning, or as a refusal.
    """

    text: str
    model: str
    server: str | None
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str | None = None
    think: str = ""
    refusal: str = ""


@dataclass(kw_only=True)
class ChatClient:
    """A client that makes one request per call; the runner retries.

    Attributes:
        model: name of the model to request.
        base_url: such as http://127.0.0.1:8000/v1; None for OpenAI.
        timeout: seconds per call.
        calls_at_once: maximum number of concurrent calls; reduced while the server is overloaded.
        token_parameter: the server's name of the limit of an answer.
        reasoning_effort: such as "low"; None leaves the parameter out.
        json_object: under a schema, ask for any JSON object, for servers without schemas.
        option: the command line's option for parameters, for messages.
    """

    model: str
    base_url: str | None = None
    timeout: float = 60.0
    calls_at_once: int = 4
    token_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    reasoning_effort: str | None = None
    json_object: bool = False
    option: str = "--set"
    _account: Account | None = field(default=None, init=False, repr=False)
    _client: AsyncOpenAI | None = field(default=None, repr=False)
    _closing: weakref.finalize[Any, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.base_url is not None:
            check_url(self.base_url, "judge URL")

    def attach_account(self, account: Account | None) -> None:
        """Count the cost of all further calls in an account; None: do not count it."""
        self._account = account

    def _open(self) -> AsyncOpenAI:
        """Return the underlying client; called on the event loop only."""
        if self._client is None:
            from openai import AsyncOpenAI, DefaultAioHttpClient

            key = api_key()
            if key is None and self.base_url is None:
                raise UsageError("no API key: set ECHAT_EVAL_API_KEY or OPENAI_API_KEY, or give --judge-url")
            self._client = AsyncOpenAI(
                api_key=key or "none",
                base_url=self.base_url,
                timeout=self.timeout,
                max_retries=0,
                # The default transport takes twice the CPU time of a call.
                http_client=DefaultAioHttpClient(**network_settings(self.base_url or OPENAI)),
            )
            self._closing = weakref.finalize(self, _close, self._client)
        return self._client

    async def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = 300,
        seed: int | None = 0,
        temperature: float | None = 0.0,
    ) -> ChatAnswer:
        """Return the answer to a conversation.

        Args:
            messages: role and content of each message.
            schema: JSON schema of the answer, for servers that support it.
            max_tokens, seed, temperature: None leaves the parameter out; temperature 0 for the most likely
                answer.

        Raises:
            Unavailable: the network or the server failed, or the cost limit is reached.
            UsageError: the server rejected the key, the model or a parameter.
        """
        optional: dict[str, Any] = {
            "temperature": temperature,
            "seed": seed,
            self.token_parameter: max_tokens,
            "reasoning_effort": self.reasoning_effort,
        }
        extra = {name: value for name, value in optional.items() if value is not None}
        if schema is not None:
            by_schema = {"name": "verdict", "strict": True, "schema": dict(schema)}
            extra["response_format"] = (
                {"type": "json_object"}
                if self.json_object
                else {"type": "json_schema", "json_schema": by_schema}
            )
        client = self._open()
        size = None
        if self._account is not None:
            size = size_of(messages, schema=schema, max_tokens=max_tokens)
        async with (
            metered_call(self._account, size.upper_bound() if size is not None else None) as call,
            limiter_for(str(client.base_url), self.calls_at_once).slot(),
        ):
            completion = await self._post(
                client,
                call.report_unbilled,
                messages=list(messages),
                **extra,
            )
            usage = token_counts(completion.get("usage"))
            call.report_usage(size.used(usage) if size is not None and usage else None)
        return self._answer(completion, usage)

    @property
    def _place(self) -> str:
        return without_query(endpoint(self.base_url, "chat/completions")) if self.base_url else "OpenAI"

    def _answer(self, completion: Mapping[str, Any], usage: Mapping[str, Any]) -> ChatAnswer:
        try:
            choice = completion["choices"][0]
            parts = message_parts(choice["message"])
        except (LookupError, TypeError, AttributeError) as error:
            raise Unavailable(f"the server answered without a choice: {shown(completion)}") from error
        fingerprint, reason = completion.get("system_fingerprint"), choice.get("finish_reason")
        return ChatAnswer(
            text=scrub(parts.text),
            model=str(completion.get("model") or self.model),
            server=None if fingerprint is None else str(fingerprint),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            finish_reason=reason if isinstance(reason, str) else None,
            think=scrub(parts.think),
            refusal=scrub(parts.refusal),
        )

    async def _post(
        self, client: AsyncOpenAI, report_unbilled: Callable[[], None], **body: Any
    ) -> Mapping[str, Any]:
        import openai

        options = parameter_options(self.option, body)
        # A whole URL, so that its query stays behind the path.
        url = endpoint(self.base_url or OPENAI, "chat/completions")
        try:
            # The timeout of the transport is that between two bytes.
            async with asyncio.timeout(self.timeout + GRACE):
                # The typed method spends a quarter of a call's CPU time on building models of the messages.
                text = await client.post(url, body={"model": self.model, **body}, cast_to=str)
        except openai.APIStatusError as error:
            report_unbilled()
            raise reported_fault(
                error.response.content,
                place=self._place,
                status=error.status_code,
                headers={name.lower(): value for name, value in error.response.headers.items()},
                options=options,
                party="instrument",
            ) from error
        except (openai.APIError, TimeoutError) as error:
            raise self._network_error(error) from error
        try:
            completion = loads(text)
        except ValueError as error:
            raise Unavailable(f"{self._place}: the answer is not JSON: {shown(text)}") from error
        if not isinstance(completion, dict):
            raise Unavailable(f"{self._place}: the answer is not a JSON object: {shown(text)}")
        if reports_error(completion):
            raise reported_fault(completion, place=self._place, options=options, party="instrument")
        return completion

    def _network_error(self, error: BaseException) -> Unavailable:
        """Return our error for a call that ended without an HTTP status."""
        # The transport reports a refused connection as a timeout; the root cause is precise.
        while error.__cause__ is not None:
            error = error.__cause__
        timed_out = isinstance(error, TimeoutError)
        fault = f"no answer within {self.timeout:g} s" if timed_out else _short(error) or type(error).__name__
        return Unavailable(f"{self._place}: {fault}", overloaded=timed_out)

    def close(self) -> None:
        """Close all connections."""
        if self._closing is not None:
            self._closing()
            self._client = self._closing = None


def parameter_options(option: str, body: Collection[str]) -> dict[str, str]:
    """Return, for the parameters of a request's body, the option that changes or omits each.

    >>> parameter_options("--judge-set", ["temperature", "messages"])
    {'temperature': '--judge-set temperature=null'}
    """
    limit = ", another max_tokens or max_tokens=null"
    schema = f"{option} schema=json_object or {option} schema=null"
    options = {
        "temperature": f"{option} temperature=null",
        "seed": f"{option} seed=null",
        "max_tokens": f"{option} token_parameter=max_completion_tokens{limit}",
        "max_completion_tokens": f"{option} token_parameter=max_tokens{limit}",
        "reasoning_effort": f"{option} reasoning_effort=null, or another value",
        "modalities": f"{option} modalities=null",
        "audio": f"{option} audio_out=false",
        "stream": f"{option} stream=false",
        "stream_options": f"{option} stream_usage=false",
        "response_format": schema,
    }
    return {name: text for name, text in options.items() if name in body}


def size_of(
    messages: Sequence[Mapping[str, str]], *, schema: Mapping[str, Any] | None, max_tokens: int | None
) -> MessageSize:
    """Return the size of a conversation, for estimates of its tokens."""
    texts = [message["content"] for message in messages]
    if schema is not None:
        texts.append(dumps(schema))
    return MessageSize(texts=tuple(texts), max_tokens=max_tokens)


def _close(client: AsyncOpenAI) -> None:
    """Close a client, also one whose owner was garbage-collected: its transport would warn otherwise."""
    closing = event_loop.start(client.close())
    if not event_loop.is_here():
        with suppress(FutureTimeout):
            closing.result(timeout=CLOSE_TIMEOUT)


def _short(error: BaseException) -> str:
    return " ".join(scrub(str(error)).split())[:300]
