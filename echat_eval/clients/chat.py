"""Client for OpenAI-compatible chat servers."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.clients.chat_answer import (
    message_parts,
    read_object,
    reported_name,
    reports_error,
    token_counts,
)
from echat_eval.clients.faults import (
    Party,
    answer_fault,
    is_refusal,
    reported_fault,
    shown,
    unreadable_fault,
)
from echat_eval.clients.http import HttpClient, exchange, raise_for_status
from echat_eval.clients.keys import api_key
from echat_eval.clients.listed import listed_model
from echat_eval.clients.network import check_url, endpoint, refuse_unread_url, without_query
from echat_eval.concurrency.limiter import limiter_for
from echat_eval.cost.meter import Account, metered_call
from echat_eval.cost.tokens import MessageSize
from echat_eval.errors import UsageError, scrub
from echat_eval.io.jsonl import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

__all__ = [
    "OPENAI",
    "ChatAnswer",
    "ChatClient",
    "is_dated",
    "parameter_options",
    "require_openai_model",
    "size_of",
    "texts_of",
]

OPENAI = "https://api.openai.com/v1"
#: Beginnings of the names of OpenAI's own models.
_OPENAI_MODEL = re.compile(r"(ft:)?(gpt-(?!oss)|chatgpt-|o\d)")
#: Bytes of an answer: many times the longest text that a token limit allows.
MAX_ANSWER_BYTES = 8 * 2**20


def is_dated(model: str) -> bool:
    """Return whether a model's name contains a date and therefore identifies a fixed version.

    >>> is_dated("gpt-4o-2024-11-20"), is_dated("gpt-4o")
    (True, False)
    """
    return re.search(r"20\d\d-?\d\d-?\d\d", model) is not None


def require_openai_model(model: str, option: str) -> None:
    """Raise UsageError for a model without an address, unless it has the name of a model of OpenAI.

    A forgotten address would otherwise send the data to OpenAI.

    Args:
        option: names a server, such as "--judge-url".
    """
    if _OPENAI_MODEL.match(model) is None:
        raise UsageError(
            f"'{model}' is no name of a model of OpenAI; give {option} the address of its server, such as "
            f"http://127.0.0.1:8000/v1, or {OPENAI}"
        )
    refuse_unread_url(OPENAI, option)


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
        base_url: such as http://127.0.0.1:8000/v1; None for OpenAI, whatever the environment names.
        timeout: seconds per call.
        calls_at_once: maximum number of concurrent calls; reduced while the server is overloaded.
        token_parameter: the server's name of the limit of an answer.
        reasoning_effort: such as "low"; None leaves the parameter out.
        json_object: under a schema, ask for any JSON object, for servers without schemas.
        option: the command line's option for parameters, for messages.
        party: whose server it is; see `clients.faults.reported_fault`.
        key: returns the key to send.
    """

    model: str
    base_url: str | None = None
    timeout: float = 60.0
    calls_at_once: int = 4
    token_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    reasoning_effort: str | None = None
    json_object: bool = False
    option: str = "--set"
    party: Party = "instrument"
    key: Callable[[], str | None] = field(default=api_key, repr=False)
    _account: Account | None = field(default=None, init=False, repr=False)
    _client: HttpClient | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.base_url is None:
            require_openai_model(self.model, "--judge-url" if self.party == "instrument" else "--set url=")
        else:
            check_url(self.base_url, "judge URL" if self.party == "instrument" else "url")

    @property
    def address(self) -> str:
        """Return the base URL, also of OpenAI."""
        return self.base_url or OPENAI

    def attach_account(self, account: Account | None) -> None:
        """Count the cost of all further calls in an account; None: do not count it."""
        self._account = account

    def _open(self) -> HttpClient:
        if self._client is None:
            self._client = HttpClient(self.party)
        return self._client

    def _headers(self) -> dict[str, str]:
        key = self.key()
        if key is None and self.base_url is None:
            raise UsageError("no API key: set ECHAT_EVAL_API_KEY or OPENAI_API_KEY, or give --judge-url")
        headers = {"content-type": "application/json", "accept": "application/json"}
        return headers | ({"authorization": f"Bearer {key}"} if key else {})

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = 300,
        seed: int | None = 0,
        temperature: float | None = 0.0,
        audio_seconds: float = 0.0,
    ) -> ChatAnswer:
        """Return the answer to a conversation.

        Args:
            messages: role and content of each message; a content is text or a list of parts.
            schema: JSON schema of the answer, for servers that support it.
            audio_seconds: duration of all audio in the messages.
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
        headers = self._headers()
        size = None
        if self._account is not None:
            size = size_of(messages, schema=schema, max_tokens=max_tokens, audio_seconds=audio_seconds)
        async with (
            metered_call(self._account, size.upper_bound() if size is not None else None) as call,
            limiter_for(self.address, self.calls_at_once).slot(),
        ):
            completion = await self._post(
                headers,
                call.report_unbilled,
                messages=list(messages),
                **extra,
            )
            usage = token_counts(completion.get("usage"))
            call.report_usage(size.used(usage) if size is not None and usage else None)
        return self._answer(completion, usage)

    async def listed_model(self) -> Mapping[str, Any] | None:
        """Return the entry of the model in the server's list of models; None if there is none."""
        return await listed_model(self.address, self._headers(), self.model, timeout=self.timeout)

    @property
    def _place(self) -> str:
        return without_query(endpoint(self.base_url, "chat/completions")) if self.base_url else "OpenAI"

    def _answer(self, completion: Mapping[str, Any], usage: Mapping[str, Any]) -> ChatAnswer:
        try:
            choice = completion["choices"][0]
            parts = message_parts(choice["message"])
        except (LookupError, TypeError, AttributeError) as error:
            raise answer_fault(
                f"the server answered without a choice: {shown(completion)}", self.party
            ) from error
        reason = choice.get("finish_reason")
        return ChatAnswer(
            text=scrub(parts.text),
            model=reported_name(completion.get("model")) or self.model,
            server=reported_name(completion.get("system_fingerprint")),
            prompt_tokens=math.ceil(usage.get("prompt_tokens") or 0),
            completion_tokens=math.ceil(usage.get("completion_tokens") or 0),
            finish_reason=reported_name(reason) if isinstance(reason, str) else None,
            think=scrub(parts.think),
            refusal=scrub(parts.refusal),
        )

    async def _post(
        self, headers: Mapping[str, str], report_unbilled: Callable[[], None], **body: Any
    ) -> Mapping[str, Any]:
        options = parameter_options(self.option, body)
        url = endpoint(self.address, "chat/completions")
        answer = await exchange(
            self._open(),
            "POST",
            url,
            headers=headers,
            # Unsorted: a server generates the fields of a schema in their order: reason before grades.
            content=json.dumps({"model": self.model, **body}, ensure_ascii=False).encode("utf-8", "replace"),
            timeout=self.timeout,
            max_bytes=MAX_ANSWER_BYTES,
        )
        if not 200 <= answer.status < 300:
            if is_refusal(answer.status):
                report_unbilled()
            raise_for_status(answer, url, options=options, party=self.party)
        try:
            completion = read_object(answer.body)
        except ValueError as error:
            raise unreadable_fault(answer.body, error, place=self._place, party=self.party) from error
        if not isinstance(completion, dict):
            raise answer_fault(
                f"{self._place}: the answer is not a JSON object: {shown(completion)}", self.party
            )
        if reports_error(completion):
            raise reported_fault(completion, place=self._place, options=options, party=self.party)
        return completion

    def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            self._client.close()
            self._client = None


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
    messages: Sequence[Mapping[str, Any]],
    *,
    schema: Mapping[str, Any] | None,
    max_tokens: int | None,
    audio_seconds: float = 0.0,
) -> MessageSize:
    """Return the size of a conversation, for estimates of its tokens."""
    texts = [text for message in messages for text in texts_of(message["content"])]
    if schema is not None:
        texts.append(dumps(schema))
    return MessageSize(texts=tuple(texts), max_tokens=max_tokens, audio_seconds=audio_seconds)


def texts_of(content: str | Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the texts of a message's content: of the text itself, or of its parts.

    >>> texts_of("Hi"), texts_of([{"type": "text", "text": "Hi"}, {"type": "input_audio"}])
    (['Hi'], ['Hi'])
    """
    if isinstance(content, str):
        return [content]
    return [str(part["text"]) for part in content if part.get("type") == "text"]
