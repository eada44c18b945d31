"""Client for OpenAI-compatible chat servers."""

from __future__ import annotations

import re
import weakref
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.clients.http import check_url, retry_after
from echat_eval.clients.keys import api_key
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.limiter import limiter_for
from echat_eval.cost.meter import Account, metered_call
from echat_eval.cost.tokens import MessageSize
from echat_eval.errors import Unavailable, UsageError, scrub
from echat_eval.io.jsonl import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from openai import AsyncOpenAI

__all__ = ["ChatAnswer", "ChatClient", "is_dated", "size_of"]

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
    """

    text: str
    model: str
    server: str | None
    prompt_tokens: int
    completion_tokens: int


@dataclass(kw_only=True)
class ChatClient:
    """A client that makes one request per call; the runner retries.

    Attributes:
        model: name of the model to request.
        base_url: such as http://127.0.0.1:8000/v1; None for OpenAI.
        timeout: seconds per call.
        calls_at_once: maximum number of concurrent calls; reduced while the server is overloaded.
    """

    model: str
    base_url: str | None = None
    timeout: float = 60.0
    calls_at_once: int = 4
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
                http_client=DefaultAioHttpClient(),
            )
            self._closing = weakref.finalize(self, _close, self._client)
        return self._client

    async def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int = 300,
        seed: int = 0,
        temperature: float = 0.0,
    ) -> ChatAnswer:
        """Return the answer to a conversation.

        Args:
            messages: role and content of each message.
            schema: JSON schema of the answer, for servers that support it.
            temperature: 0 for the most likely answer.

        Raises:
            Unavailable: the network or the server failed, or the cost limit is reached.
            UsageError: the server rejected the key or the model.
        """
        extra: dict[str, Any] = {}
        if schema is not None:
            extra["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "verdict", "strict": True, "schema": dict(schema)},
            }
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
                temperature=temperature,
                seed=seed,
                max_tokens=max_tokens,
                **extra,
            )
            usage = completion.get("usage") or {}
            call.report_usage(size.used(usage) if size is not None and usage else None)
        return self._answer(completion, usage)

    def _answer(self, completion: Mapping[str, Any], usage: Mapping[str, Any]) -> ChatAnswer:
        try:
            return ChatAnswer(
                text=scrub(completion["choices"][0]["message"].get("content") or ""),
                model=str(completion.get("model") or self.model),
                server=completion.get("system_fingerprint"),
                prompt_tokens=int(usage.get("prompt_tokens") or 0),
                completion_tokens=int(usage.get("completion_tokens") or 0),
            )
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise Unavailable("the server answered without a choice") from error

    async def _post(
        self, client: AsyncOpenAI, report_unbilled: Callable[[], None], **body: Any
    ) -> Mapping[str, Any]:
        import openai

        try:
            # The typed method spends a quarter of a call's CPU time on building models of the messages.
            text = await client.post("/chat/completions", body={"model": self.model, **body}, cast_to=str)
        except openai.APIStatusError as error:
            report_unbilled()
            raise self._status_error(error) from error
        except openai.APIError as error:
            raise self._network_error(error) from error
        try:
            completion = loads(text)
        except ValueError as error:
            raise Unavailable(f"{self.base_url or 'OpenAI'}: the answer is not JSON: {error}") from error
        if not isinstance(completion, dict):
            raise Unavailable(f"{self.base_url or 'OpenAI'}: the answer is not a JSON object")
        return completion

    def _network_error(self, error: BaseException) -> Unavailable:
        """Return our error for a call that ended without an HTTP status."""
        # The transport reports a refused connection as a timeout; the root cause is precise.
        while error.__cause__ is not None:
            error = error.__cause__
        timed_out = isinstance(error, TimeoutError)
        fault = f"no answer within {self.timeout:g} s" if timed_out else _short(error) or type(error).__name__
        return Unavailable(f"{self.base_url or 'OpenAI'}: {fault}", overloaded=timed_out)

    def _status_error(self, error: Any) -> Exception:
        """Return our error for a status other than 2xx."""
        if error.status_code in (401, 403, 404):
            return UsageError(f"{self.base_url or 'OpenAI'} rejected model '{self.model}': {_short(error)}")
        return Unavailable(
            _short(error),
            retry_after=retry_after(error.response.headers),
            overloaded=error.status_code in (408, 429, 503, 529),
            refused=True,
        )

    def close(self) -> None:
        """Close all connections."""
        if self._closing is not None:
            self._closing()
            self._client = self._closing = None


def size_of(
    messages: Sequence[Mapping[str, str]], *, schema: Mapping[str, Any] | None, max_tokens: int
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
