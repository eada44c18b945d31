"""Findings of the conformance suite, and the checks that need no request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from echat_eval.errors import EChatError, NotInstalled, Unavailable, UsageError
from echat_eval.records import AudioRef, Reply

__all__ = ["Finding", "check_facts", "describe_reply", "finding_from_error"]

CheckOutcome = Literal["pass", "fail", "note"]
_SECRET = re.compile(r"sk-[\w-]{16,}|hf_\w{16,}|bearer\s+\S+", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        outcome: "fail" is a fault of the adapter; "note" is a hint for its author.
        check: name of the check.
        message: what was found, and what to do.
        final: the remaining checks would fail for the same reason.
    """

    outcome: CheckOutcome
    check: str
    message: str
    final: bool = False


def check_facts(system: Any) -> Iterator[Finding]:
    """Yield the findings on name, settings, fingerprint and concurrency."""
    yield _fact("name", isinstance(system.name, str) and bool(system.name.strip()), repr(system.name))
    try:
        settings = dict(system.settings())
        text = json.dumps(settings, allow_nan=False)
        secret = _SECRET.search(text)
        yield _fact(
            "settings", secret is None, "contain what looks like a key; remove it" if secret else text[:200]
        )
    except (TypeError, ValueError) as error:
        yield Finding(outcome="fail", check="settings", message=f"are not plain JSON: {error}")
    try:
        first, second = system.fingerprint(), system.fingerprint()
    except (EChatError, OSError) as error:
        yield finding_from_error("fingerprint", error)
        return
    if first is None:
        message = "unknown, so replies of other runs are never reused; return one if you can"
        yield Finding(outcome="note", check="fingerprint", message=message)
    elif not isinstance(first, str):
        message = f"is {first!r}, a {type(first).__name__}; expected text, or None if it is unknown"
        yield _fact("fingerprint", False, message)
    else:
        same = first == second
        yield _fact(
            "fingerprint",
            same,
            f"{first[:16]}…" if same else f"differs between two calls: {first!r}, {second!r}",
        )
    limit = getattr(system, "calls_at_once", 1)
    valid = isinstance(limit, int) and not isinstance(limit, bool) and limit >= 1
    yield _fact(
        "calls at once", valid, f"{limit}" if valid else f"is {limit!r}; expected a whole number from 1"
    )


def _fact(check: str, passed: bool, message: str) -> Finding:
    return Finding(outcome="pass" if passed else "fail", check=check, message=message)


def finding_from_error(check: str, error: BaseException) -> Finding:
    """Return the failure that an error stands for."""
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, Unavailable):
        return Finding(
            outcome="fail", check=check, message=f"{message} (the row would be missing, not failed)"
        )
    if isinstance(error, NotInstalled | UsageError):
        return Finding(outcome="fail", check=check, message=f"{error}", final=True)
    return Finding(outcome="fail", check=check, message=" ".join(message.split())[:400])


def describe_reply(reply: Reply) -> list[str]:
    """Return descriptions of the parts of a reply."""
    parts = []
    if reply.text:
        parts.append(f"{len(reply.text)} characters")
    if isinstance(reply.audio, AudioRef):
        parts.append(f"{reply.audio.seconds:.1f} s of audio")
    return parts or ["nothing"]
