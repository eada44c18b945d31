"""Findings of the conformance checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from echat_eval.errors import BadData, Unavailable, UsageError
from echat_eval.records import AudioRef, Reply

__all__ = ["CheckOutcome", "Finding", "describe_reply", "fact", "finding_from_error"]

CheckOutcome = Literal["pass", "fail", "note"]


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
    if isinstance(error, UsageError) and not isinstance(error, BadData):  # the runner would stop
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
