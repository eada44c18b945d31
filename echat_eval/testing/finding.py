"""What a check found, and what can be checked of a system without asking it anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from echat_eval.errors import EChatError, NotInstalled, Unavailable, UsageError
from echat_eval.records import AudioRef, Reply

__all__ = ["Finding", "check_facts", "finding_of", "parts_of"]

CheckOutcome = Literal["pass", "fail", "note"]
_SECRET = re.compile(r"sk-[\w-]{16,}|hf_\w{16,}|bearer\s+\S+", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        verdict: "fail" is a fault of the adapter; "note" is something its author should know.
        check: what was looked at.
        said: what was found, and what to do.
        final: nothing that could be looked at after it would say anything else.
    """

    verdict: CheckOutcome
    check: str
    said: str
    final: bool = False


def check_facts(system: Any) -> Iterator[Finding]:
    """Look at what can be asked without a request."""
    yield _fact("name", isinstance(system.name, str) and bool(system.name.strip()), repr(system.name))
    try:
        settings = dict(system.settings())
        text = json.dumps(settings, allow_nan=False)
        hidden = _SECRET.search(text)
        yield _fact(
            "settings", hidden is None, "hold what looks like a key; leave it out" if hidden else text[:200]
        )
    except (TypeError, ValueError) as error:
        yield Finding(verdict="fail", check="settings", said=f"are not plain JSON: {error}")
    try:
        first, second = system.fingerprint(), system.fingerprint()
    except (EChatError, OSError) as error:
        yield finding_of("fingerprint", error)
        return
    if first is None:
        said = "unknown, so no other run's replies are ever reused; give one if you can"
        yield Finding(verdict="note", check="fingerprint", said=said)
    elif not isinstance(first, str):
        said = f"is {first!r}, a {type(first).__name__}; expected text, or None where it cannot be known"
        yield _fact("fingerprint", False, said)
    else:
        same = first == second
        yield _fact(
            "fingerprint",
            same,
            f"{first[:16]}…" if same else f"differs between two calls: {first!r}, {second!r}",
        )
    limit = getattr(system, "calls_at_once", 1)
    good = isinstance(limit, int) and not isinstance(limit, bool) and limit >= 1
    yield _fact(
        "calls at once", good, f"{limit}" if good else f"is {limit!r}; expected a whole number from 1"
    )


def _fact(check: str, good: bool, said: str) -> Finding:
    return Finding(verdict="pass" if good else "fail", check=check, said=said)


def finding_of(check: str, error: BaseException) -> Finding:
    """Return the fault that an error is."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, Unavailable):
        return Finding(verdict="fail", check=check, said=f"{said} (the row would be missing, not failed)")
    if isinstance(error, NotInstalled | UsageError):
        return Finding(verdict="fail", check=check, said=f"{error}", final=True)
    return Finding(verdict="fail", check=check, said=" ".join(said.split())[:400])


def parts_of(reply: Reply) -> list[str]:
    """Return what a reply holds, in words."""
    found = []
    if reply.text:
        found.append(f"{len(reply.text)} characters")
    if isinstance(reply.audio, AudioRef):
        found.append(f"{reply.audio.seconds:.1f} s of sound")
    return found or ["nothing"]
