"""Findings of the conformance checks, and the checks that need no call of the part's work."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from echat_eval.errors import EChatError, NotInstalled, Unavailable, UsageError
from echat_eval.records import AudioRef, Reply

__all__ = ["STOPPED", "Finding", "check_facts", "describe_reply", "fact", "finding_from_error"]

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


#: Name of the note that the remaining checks were not made.
STOPPED = "stopped"


def check_facts(part: Any, *, replies: bool = True) -> Iterator[Finding]:
    """Yield the findings on name, version, settings, fingerprint and concurrency.

    Args:
        part: a system, an annotator or a scorer.
        replies: the part is a system: it has no version, and its fingerprint may be unknown.
    """
    for attribute in ("name",) if replies else ("name", "version"):
        value = getattr(part, attribute, None)
        yield fact(attribute, isinstance(value, str) and bool(value.strip()), repr(value))
    try:
        settings = dict(part.settings())
        text = json.dumps(settings, allow_nan=False)
        secret = _SECRET.search(text)
        yield fact(
            "settings", secret is None, "contain what looks like a key; remove it" if secret else text[:200]
        )
    except (TypeError, ValueError) as error:
        yield Finding(outcome="fail", check="settings", message=f"are not plain JSON: {error}")
    try:
        first, second = part.fingerprint(), part.fingerprint()
    except (EChatError, OSError) as error:
        yield finding_from_error("fingerprint", error)
        return
    if first is None and replies:
        message = "unknown, so replies of other runs are never reused; return one if you can"
        yield Finding(outcome="note", check="fingerprint", message=message)
    elif not isinstance(first, str):
        message = f"is {first!r}, a {type(first).__name__}; expected text" + (
            ", or None if it is unknown" if replies else ""
        )
        yield fact("fingerprint", False, message)
    else:
        same = first == second
        yield fact(
            "fingerprint",
            same,
            f"{first[:16]}…" if same else f"differs between two calls: {first!r}, {second!r}",
        )
    limit = getattr(part, "calls_at_once", 1)
    valid = isinstance(limit, int) and not isinstance(limit, bool) and limit >= 1
    yield fact(
        "calls at once", valid, f"{limit}" if valid else f"is {limit!r}; expected a whole number from 1"
    )


def fact(check: str, passed: bool, message: str) -> Finding:
    """Return a finding that passes or fails."""
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
