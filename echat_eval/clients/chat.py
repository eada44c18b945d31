"""One door to any OpenAI-compatible chat server; the only place that reads an API key."""

from __future__ import annotations

import os
import re
import weakref
from concurrent.futures import TimeoutError as Waited
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.clients.http import retry_after
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.limiter import endpoint
from echat_eval.cost.meter import Account, call_of
from echat_eval.cost.tokens import MessageSize
from echat_eval.errors import Unavailable, UsageError
from echat_eval.io.jsonl import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from openai import AsyncOpenAI

__all__ = ["ChatAnswer", "ChatClient", "api_key", "is_dated", "size_of"]

#: Seconds that closing connections may hold up whoever closes them.
CLOSING = 2.0


def api_key() -> str | None:
    """Return the key for a chat server, if one is set."""
    return os.environ.get("ECHAT_EVAL_API_KEY") or os.environ.get("OPENAI_API_KEY") or None


def is_dated(model: str) -> bool:
    """Return whether a model's name holds a day, and so stands for one state of it.

    >>> is_dated("gpt-4o-2024-11-20"), is_dated("gpt-4o")
    (True, False)
    """
    return re.search(r"20\d\d-?\d\d-?\d\d", model) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """What a server answered.

    Attributes:
        model: as the server names it, which may be more exact than what was asked for.
        server: its system fingerprint, if it gives one.
    """

    text: str
    model: str
    server: str | None
    prompt_tokens: int
    completion_tokens: int


@dataclass(kw_only=True)
class ChatClient:
    """Asks a chat server, once a call: tries and waiting are the runner's.

    Attributes:
        model: the model to ask for.
        base_url: such as http://127.0.0.1:8000/v1; None: OpenAI's own.
        timeout: seconds until a call is given up.
        calls_at_once: at most; fewer while the server says that they are too many.
        account: where calls are counted, if anywhere.
    """

    model: str
    base_url: str | None = None
    timeout: float = 60.0
    calls_at_once: int = 4
    account: Account | None = field(default=None, repr=False)
    _client: AsyncOpenAI | None = field(default=None, repr=False)
    _closing: weakref.finalize[Any, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.base_url is not None and not self.base_url.startswith(("http://", "https://")):
            raise UsageError(
                f"judge URL {self.base_url!r}: expected http://... or https://..., ending in /v1"
            )

    def _open(self) -> AsyncOpenAI:
        """Return the one client of this door; called on the loop only."""
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
        """Return the answer to one conversation.

        Args:
            messages: role and content.
            schema: a JSON schema the answer must follow, where the server can hold it.
            temperature: 0 for the likeliest answer.

        Raises:
            Unavailable: the network, a limit or the server kept us from an answer.
            UsageError: the server refused the key or does not know the model.
        """
        extra: dict[str, Any] = {}
        if schema is not None:
            extra["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "verdict", "strict": True, "schema": dict(schema)},
            }
        client = self._open()
        size = None
        if self.account is not None:
            size = size_of(messages, schema=schema, max_tokens=max_tokens)
        async with (
            call_of(self.account, size.most() if size is not None else None) as paying,
            endpoint(str(client.base_url), self.calls_at_once).slot(),
        ):
            done = await self._asked(
                client,
                paying.free,
                messages=list(messages),
                temperature=temperature,
                seed=seed,
                max_tokens=max_tokens,
                **extra,
            )
            usage = done.get("usage") or {}
            paying.paid(size.used(usage) if size is not None and usage else None)
        return self._answer(done, usage)

    def _answer(self, done: Mapping[str, Any], usage: Mapping[str, Any]) -> ChatAnswer:
        try:
            return ChatAnswer(
                text=done["choices"][0]["message"].get("content") or "",
                model=str(done.get("model") or self.model),
                server=done.get("system_fingerprint"),
                prompt_tokens=int(usage.get("prompt_tokens") or 0),
                completion_tokens=int(usage.get("completion_tokens") or 0),
            )
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise Unavailable("the server answered without a choice") from error

    async def _asked(
        self, client: AsyncOpenAI, refused: Callable[[], None], **asked: Any
    ) -> Mapping[str, Any]:
        import openai

        try:
            # Its typed method spends a quarter of a call's CPU time on models of what is asked and answered.
            text = await client.post("/chat/completions", body={"model": self.model, **asked}, cast_to=str)
            done = loads(text)
        except ValueError as error:
            raise Unavailable(f"{self.base_url or 'OpenAI'}: the answer is not JSON: {error}") from error
        except openai.APIStatusError as error:
            refused()
            raise self._status(error) from error
        except openai.APIError as error:
            raise self._trouble(error) from error
        if not isinstance(done, dict):
            raise Unavailable(f"{self.base_url or 'OpenAI'}: the answer is no JSON object")
        return done

    def _trouble(self, error: BaseException) -> Unavailable:
        """Return what an error means that is no answer of the server's."""
        # The transport calls a refused connection a time-out; what lies below it knows better.
        while error.__cause__ is not None:
            error = error.__cause__
        where, late = self.base_url or "OpenAI", isinstance(error, TimeoutError)
        told = f"no answer within {self.timeout:g} s" if late else _short(error) or type(error).__name__
        return Unavailable(f"{where}: {told}", overloaded=late)

    def _status(self, error: Any) -> Exception:
        """Return what a status other than 2xx means."""
        if error.status_code in (401, 403, 404):
            return UsageError(f"{self.base_url or 'OpenAI'} refused model '{self.model}': {_short(error)}")
        return Unavailable(
            _short(error),
            retry_after=retry_after(error.response.headers),
            overloaded=error.status_code in (408, 429, 503, 529),
            refused=True,
        )

    def close(self) -> None:
        """Close connections."""
        if self._closing is not None:
            self._closing()
            self._client = self._closing = None


def size_of(
    messages: Sequence[Mapping[str, str]], *, schema: Mapping[str, Any] | None, max_tokens: int
) -> MessageSize:
    """Return how large a conversation is to a server that counts tokens."""
    texts = [message["content"] for message in messages]
    if schema is not None:
        texts.append(dumps(schema))
    return MessageSize(texts=tuple(texts), max_tokens=max_tokens)


def _close(client: AsyncOpenAI) -> None:
    """Close a client, also one that its owner forgot: its transport would complain of it."""
    closing = event_loop.start(client.close())
    if not event_loop.is_here():
        with suppress(Waited):
            closing.result(timeout=CLOSING)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
