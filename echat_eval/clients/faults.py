"""Whose fault an error is, from the server's own words: one table for systems and judges.

A server reports the same fault in a status, in the body of a 200, or in the middle of a stream.
`reported_fault` reads all three; docs/systems.md holds its table.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from json import JSONDecodeError
from typing import Any, Literal

from echat_eval.clients.keys import KEY_VARIABLES
from echat_eval.concurrency.own_faults import names_own_fault
from echat_eval.errors import (
    EChatError,
    ServerRefusal,
    SystemFailure,
    Unavailable,
    UsageError,
    scrub,
    writable,
)
from echat_eval.io.display import one_line
from echat_eval.io.jsonl import loads

__all__ = [
    "Party",
    "answer_fault",
    "is_refusal",
    "reported_fault",
    "retry_after",
    "shown",
    "unreadable_fault",
]

#: Whose server answers: that of the system under evaluation, or of an instrument such as a judge.
Party = Literal["system", "instrument"]

#: Characters of a server's text in a message.
MAX_SHOWN = 300
#: Bytes of a body that are read for a message.
MAX_READ = 20_000
#: Statuses of a wrong address, key or account: the same for every row, if a second answer confirms it.
_REFUSED = frozenset({401, 402, 403, 404, 405, 406, 407, 410, 411, 414, 415, 426, 428, 431, 451, 511})
#: Statuses of a busy server, a locked resource, or a gateway that gave up, besides 500 to 599.
_PASSING = frozenset({408, 409, 421, 423, 424, 425, 429, 499})
#: Statuses after which a request may have been processed: of a server that broke off, and of a gateway that
#: passed it on and got no answer, or no whole one.
_MAY_BE_BILLED = frozenset({499, 500, 502, 504, 520, 524, 598, 599})
#: Words that servers use as a code, type or status of an error -> the HTTP status that they stand for.
_WORDS = {
    "invalid_api_key": 401,
    "authentication_error": 401,
    "unauthenticated": 401,
    "unauthorized": 401,
    "billing_error": 402,
    "payment_required": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "forbidden": 403,
    "not_found": 404,
    "not_found_error": 404,
    "model_not_found": 404,
    "deploymentnotfound": 404,
    "request_timeout": 408,
    "session_expired": 408,
    "request_too_large": 413,
    "too_many_requests": 429,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "rate_limited": 429,
    "resource_exhausted": 429,
    "throttling": 429,
    "throttlingexception": 429,
    "internal": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "server_error": 500,
    "api_error": 500,
    "unavailable": 503,
    "service_unavailable": 503,
    "service_unavailable_error": 503,
    "timeout_error": 504,
    "deadline_exceeded": 504,
    "overloaded": 529,
    "overloaded_error": 529,
    "server_is_overloaded": 529,
    "engine_overloaded": 529,
}
#: An account without money; a quota that resets after a time is not meant.
_EXHAUSTED = re.compile(
    r"insufficient[_ ](?:quota|balance|credits?|funds)|exceeded your current quota|billing_hard_limit|"
    r"billing_not_active|out of (?:credits?|funds)|credit balance is too low|(?:quota|credits?) exhausted|"
    r"payment required|requires more credits|arrearage|余额不足|欠费",
    re.IGNORECASE,
)
_RESETS = re.compile(
    r"per[_ ]?(?:second|minute|hour|day)|reset|(?:retry|try again) (?:in|after)|retrydelay", re.IGNORECASE
)
#: A busy server, under any status.
_BUSY = re.compile(
    r"over[- _]?load|rate[-_ ]?limit|too many (?:concurrent )?requests|throttl|server (?:is )?busy|限流|繁忙",
    re.IGNORECASE,
)
#: A fault of an overloaded server, where it names no status, or 500.
_IN_PASSING = re.compile(
    r"temporar|try again|retry your request|please retry|at capacity|no capacity|unavailable|timed? ?out|"
    r"bad gateway|upstream|quota|starting up|still loading|loading model|connection (?:reset|refused|error)|"
    r"server had an error while processing|稍后|session (?:has )?expired|"
    r"session (?:hit|reached|exceeded) (?:the|its) maximum",
    re.IGNORECASE,
)
#: The length of one request is the fault of that request, even where a parameter is named.
_TOO_LONG = re.compile(r"context[_ ](?:length|window)|too long|input tokens|prompt is too", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"model\b.{0,80}(?:not found|not exist|unknown|not supported|not available|decommissioned)|"
    r"(?:invalid|unknown|no such) model|model_not_found",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(
    r"(?:invalid|incorrect|no|missing) api[-_ ]key|api[-_ ]key (?:is )?(?:not valid|invalid)", re.I
)
#: Other names of parameters.
_ALIASES = {
    "response_format": ("json_schema", "guided_json", "structured output", "json schema"),
    "stream_options": ("include_usage",),
    "audio": ("audio output", "output audio", "voice"),
}
#: Names that are ordinary words too: only in quotation marks, or as the error's own `param`.
_ORDINARY = frozenset({"audio", "stream", "model", "messages", "voice"})
_DELAY = re.compile(r"(?:try again|retry) (?:in|after) (\d+(?:\.\d+)?) ?(ms|s|m)\b", re.IGNORECASE)


def reported_fault(
    said: object,
    *,
    place: str,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    party: Party = "system",
    assumed: int | None = None,
) -> EChatError:
    """Return our error for an error that a server reported.

    Args:
        said: body of an answer (bytes or text), or the JSON object that reports the error.
        place: address of the server, for the message.
        status: HTTP status; None or 2xx: the error stands in a successful answer.
        headers: of the answer, with lower-case names.
        options: name of a parameter of the request -> the option that changes or omits it.
        party: "instrument": a fault of the server itself is `Unavailable`, not `SystemFailure`.
        assumed: HTTP status that the error stands for if it states none, such as that of a closing code.
    """
    value = _parsed(said)
    inside = _status_inside(value)
    succeeded = status is None or 200 <= status < 300
    refused = not succeeded and is_refusal(status)
    code = inside if (succeeded or status in (400, 500)) and inside is not None else status
    code = assumed if code is None or 200 <= code < 300 else code
    words = " ".join(_strings(value))
    text = f"{place}: " + (f"HTTP {status}" if not succeeded else "the server reported an error")
    text += f": {shown(value)}" if shown(value) else ""
    wait = retry_after(headers or {})
    if wait is None:
        wait = _delay(words)
    resets = wait is not None or _RESETS.search(words) is not None
    if "insufficient_quota" in words or (_EXHAUSTED.search(words) and (code == 402 or not resets)):
        return UsageError(
            f"{text}; the account is used up: add credit, or set another key ({KEY_VARIABLES[0]})"
        )
    if (code is not None and code != 500 and _is_passing(code)) or _BUSY.search(words):
        return Unavailable(text, retry_after=wait, overloaded=True, refused=refused)
    if code is not None and 300 <= code < 400:
        target = (headers or {}).get("location", "another address")
        return ServerRefusal(
            f"{place}: HTTP {code} redirects to {scrub(target)}; give that URL if you trust it"
        )
    if code in _REFUSED:
        return ServerRefusal(f"{text}; {_advice(code, place, party)}")
    if code == 413:
        advice = "raise the server's limit of a request, or leave long samples out"
        return ServerRefusal(f"{text}; {advice}", per_row=True)
    if code in (None, 400, 422, 500):
        if _BAD_KEY.search(words):
            return ServerRefusal(f"{text}; {_advice(401, place, party)}")
        if _NO_MODEL.search(words):
            return ServerRefusal(f"{text}; {_advice(404, place, party)}")
        if code != 500 and (option := _option_named(value, words, options or {})):
            return UsageError(f"{text}; set {option}")
    if code in (None, 500) and _IN_PASSING.search(words):
        return Unavailable(text, retry_after=wait, overloaded=True, refused=refused)
    # The machine of a server may be out of memory; its error is no evidence about the system.
    if party == "instrument" or code == 500 or names_own_fault(words):
        return Unavailable(text, retry_after=wait, refused=refused)
    return SystemFailure(text)


def is_refusal(status: int | None) -> bool:
    """Return whether a status states that a request was not processed, so that nothing was billed.

    A server that broke off may have done the work, and a gateway that gave up does not know.
    """
    return status is not None and status not in _MAY_BE_BILLED


def answer_fault(message: str, party: Party) -> SystemFailure | Unavailable:
    """Return our error for an answer that arrived and is no answer, such as one that is too long."""
    return SystemFailure(message) if party == "system" else Unavailable(message)


def unreadable_fault(
    body: bytes, error: ValueError | None = None, *, place: str = "the server", party: Party = "system"
) -> SystemFailure | Unavailable:
    """Return our error for a body that should be JSON and is not.

    A web page is no evidence about the system, as gateways and sign-in pages send them with status 200; nor
    is a body that breaks off.
    """
    if body.lstrip().startswith(b"<"):
        return Unavailable(f"{place}: a web page in place of an answer: {shown(body)}")
    if isinstance(error, JSONDecodeError) and (
        error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string")
    ):
        return Unavailable(f"{place}: the answer breaks off before its end: {shown(body) or 'nothing'}")
    return answer_fault(f"{place}: the answer is not strict JSON: {error}: {shown(body)}", party)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a Retry-After header asks to wait, given as seconds or as a date.

    >>> retry_after({"retry-after": "3"}), retry_after({}), retry_after({"retry-after": "soon"})
    (3.0, None, None)
    """
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        return max(0.0, seconds) if seconds < float("inf") else None
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def shown(said: object) -> str:
    """Return what a server said as one line without secrets, at most `MAX_SHOWN` characters.

    >>> shown({"error": {"message": "Provider returned error", "code": 429}})
    'Provider returned error (429)'
    """
    value = _parsed(said)
    if isinstance(value, str):
        title = re.search(r"<title>(.*?)</title>", value, re.IGNORECASE | re.DOTALL)
        text = title.group(1) if title and value.lstrip().startswith("<") else value
    else:
        text = _message(value)
    return one_line(writable(scrub(text)), MAX_SHOWN)


def _message(value: object) -> str:
    error = value.get("error") or value if isinstance(value, Mapping) else value
    if isinstance(error, str):
        return error
    if isinstance(error, Mapping) and isinstance(message := error.get("message"), str) and message:
        facts = [error.get("code"), _raw(error)]
        more = [str(fact) for fact in facts if isinstance(fact, str | int) and str(fact) not in message]
        return message + (f" ({': '.join(more)})" if more else "")
    try:
        return json.dumps(error, ensure_ascii=False, sort_keys=True, default=str)
    except (ValueError, RecursionError):
        return "an object that is nested too deeply"


def _raw(error: Mapping[str, Any]) -> object:
    """Return what the server behind a gateway said, as OpenRouter repeats it."""
    metadata = error.get("metadata")
    return metadata.get("raw") if isinstance(metadata, Mapping) else None


def _parsed(said: object) -> object:
    """Return the JSON value of a body, else its text."""
    if isinstance(said, bytes | bytearray):
        said = bytes(said[:MAX_READ]).decode("utf-8", "replace")
    if not isinstance(said, str):
        return said
    try:
        return loads(said)
    except (ValueError, RecursionError):
        return said


def _status_inside(value: object) -> int | None:
    """Return the HTTP status that an error object states as a number or by a word."""
    error = value.get("error") or value if isinstance(value, Mapping) else value
    if not isinstance(error, Mapping):
        return None
    names = ("code", "status", "status_code", "http_status", "http_code", "type")
    stated = [error.get(name) for name in names]
    if isinstance(value, Mapping) and error is not value:
        stated += [value.get(name) for name in names]
    for fact in stated:
        if isinstance(fact, int) and not isinstance(fact, bool) and 400 <= fact < 600:
            return fact
        if isinstance(fact, str):
            word = fact.strip().lower().replace(" ", "_").replace("-", "_")
            if re.fullmatch(r"[45]\d\d", word):
                return int(word)
            if word in _WORDS:
                return _WORDS[word]
    return None


def _is_passing(status: int) -> bool:
    """Return whether a status is one of a busy or unreachable server, or of a gateway before it."""
    return status in _PASSING or (500 <= status < 600 and status not in _REFUSED)


def _strings(value: object, depth: int = 8) -> Iterator[str]:
    if isinstance(value, str):
        yield value[:MAX_READ]
    elif isinstance(value, Mapping) and depth:
        for name, part in value.items():
            yield str(name)
            yield from _strings(part, depth - 1)
    elif isinstance(value, list | tuple) and depth:
        for part in value:
            yield from _strings(part, depth - 1)


def _delay(words: str) -> float | None:
    """Return the seconds that a message asks to wait."""
    found = _DELAY.search(words)
    return float(found[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[found[2].lower()] if found else None


def _advice(code: int | None, place: str, party: Party) -> str:
    if code == 402:
        return f"the account must pay: add credit, or set another key ({KEY_VARIABLES[0]})"
    options = "--judge-url, --judge" if party == "instrument" else "--set url=URL or the system's own"
    advice = f"check the URL, the model's name and the key ({options}, {KEY_VARIABLES[0]}"
    if code in (404, 405) and not re.search(r"/v\d", place):
        return f"{advice}; a base URL usually ends in /v1)"
    return f"{advice})"


def _option_named(value: object, words: str, options: Mapping[str, str]) -> str | None:
    """Return the option of the parameter that an error names, if it is one that every request sends."""
    if _TOO_LONG.search(words):
        return None
    params = set(_params(value))
    named = [name for name in options if name in params] or [
        name for name in options if any(_names(words, form) for form in (name, *_ALIASES.get(name, ())))
    ]
    return " and ".join(options[name] for name in named) or None


def _names(words: str, name: str) -> bool:
    mark = "['\"`“‘]" if name in _ORDINARY else ""
    return re.search(rf"{mark}(?<!\w){re.escape(name)}(?!\w){mark}", words, re.IGNORECASE) is not None


def _params(value: object, depth: int = 8) -> Iterator[str]:
    """Yield the parameters that an error names in `param` (OpenAI) or `loc` (pydantic)."""
    if isinstance(value, Mapping) and depth:
        if isinstance(param := value.get("param"), str):
            yield re.split(r"[.\[]", param)[0]
        location = value.get("loc")
        if isinstance(location, list | tuple):
            names = [part for part in location if isinstance(part, str) and part != "body"]
            yield from names[:1]
        for part in value.values():
            yield from _params(part, depth - 1)
    elif isinstance(value, list | tuple) and depth:
        for part in value:
            yield from _params(part, depth - 1)
