"""Errors that this package raises on purpose, and the exit code of each.

    EChatError               70   root
    ├── UsageError            2   the request cannot be carried out as given
    │   ├── UnknownName       2   no task, system, annotator, scorer or judge has this name
    │   ├── ServerRefusal     2   a server refuses the key, the address, the account or the size
    │   ├── BadData           2   a shipped file or a user's file violates its schema
    │   └── NotInstalled      2   an optional package, model or asset is missing
    ├── RunError              3   the run started and cannot continue
    │   └── Busy              3   another process is writing to the same folder or store
    ├── RowError                  outcome of one row; the runner records it as a state and continues
    │   ├── SystemFailure         the system is at fault: the row is "failed"
    │   ├── Unavailable           the network, harness or judge is at fault: the row is "missing"
    │   │   ├── JudgeFailure      the judge's answer does not have the required form
    │   │   └── Withheld          the call was not made, and retrying would not change that
    │   └── NotApplicable         the system or instrument does not support this kind of row
    └── LedgerError          70   rows are lost or doubled: a bug of ours (in `store.ledger`)

A message states what was found, what was expected, where, and what to do.
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BadData",
    "Busy",
    "EChatError",
    "Exit",
    "JudgeFailure",
    "NotApplicable",
    "NotInstalled",
    "RowError",
    "RunError",
    "ServerRefusal",
    "SystemFailure",
    "Unavailable",
    "UnknownName",
    "UsageError",
    "Withheld",
    "did_you_mean",
    "remember_secret",
    "scrub",
    "writable",
]

#: Characters. Shorter keys, such as "none" and "EMPTY", are placeholders and ordinary words.
_MIN_SECRET = 6
#: Keys for servers that want some key, and check none.
_PLACEHOLDERS = frozenset(
    ["ollama", "lm-studio", "not-needed", "no-key-required", "sk-no-key-required", "placeholder", "default"]
)
#: A password in a URL, which is a secret of any length.
_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")
#: Every form of a secret in which another program may repeat it.
_secrets: set[str] = set()
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def remember_secret(secret: str) -> None:
    """Remove a secret, and its forms in URLs and JSON, from all texts that `scrub` returns from now on."""
    if len(secret) < _MIN_SECRET or secret.lower() in _PLACEHOLDERS:
        return
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}
    for _ in range(2):  # a quotation in a quotation
        forms |= {json.dumps(form)[1:-1] for form in forms} | {repr(form)[1:-1] for form in forms}
    _secrets.update(forms)


def scrub(text: str) -> str:
    """Return a text of another program or server without the secrets of this process and passwords in URLs.

    >>> remember_secret("sk-123456")
    >>> scrub("illegal header b'Bearer sk-123456'")
    "illegal header b'Bearer [secret]'"
    """
    if "@" in text:
        text = _PASSWORD.sub(r"\1[secret]@", text)
    if not any(form in text for form in _secrets):
        return text
    # One pass, the longest form first: a replaced part is not searched again.
    return re.sub("|".join(map(re.escape, sorted(_secrets, key=len, reverse=True))), "[secret]", text)


def writable(text: str) -> str:
    """Return a text of another program or server without characters that break a file or a terminal's line.

    Lone surrogates, which UTF-8 does not have, become escapes. Control characters except line breaks and tabs
    become marks.

    >>> print(writable("a\\ud800 b\\x00 c"))
    a\\ud800 b� c
    """
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a question that names the most similar known name, with a space before it, or "".

    >>> did_you_mean("canend", ["canned", "echo"]), did_you_mean("x", ["canned"])
    (" Did you mean 'canned'?", '')
    """
    similar = get_close_matches(name, list(names), n=1)
    return f" Did you mean '{similar[0]}'?" if similar else ""


class Exit(IntEnum):
    """Exit codes, the same for every command."""

    DONE = 0
    REGRESS = 1
    MISUSE = 2
    CANNOT_TELL = 3
    BUG = 70
    INTERRUPTED = 130


class EChatError(Exception):
    """The root of all errors of this package. Its message is writable and holds no secret of this process."""

    exit_code: Exit = Exit.BUG

    def __init__(self, *parts: object) -> None:
        super().__init__(*(writable(scrub(part)) if isinstance(part, str) else part for part in parts))


class UsageError(EChatError):
    """The request cannot be carried out as given."""

    exit_code = Exit.MISUSE


class UnknownName(UsageError):
    """No task, system, annotator, scorer or judge has this name.

    >>> print(UnknownName("system", "canend", ["canned", "echo"]))
    unknown system 'canend'. Did you mean 'canned'? Known: canned, echo.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(
            f"unknown {kind} '{name}'.{did_you_mean(name, names)} Known: {', '.join(names) or 'none'}."
        )


class ServerRefusal(UsageError):
    """A server refuses a request as it would refuse every row's; a gateway may do so in passing.

    The runner asks once more before it stops.

    Args:
        per_row: the next row may be accepted, so a single answer leaves the row "missing".
    """

    def __init__(self, message: str, *, per_row: bool = False) -> None:
        super().__init__(message)
        self.per_row = per_row


class BadData(UsageError):
    """A shipped file or a user's file violates its schema."""


class NotInstalled(UsageError):
    """An optional package, model or asset is missing; the message gives the command that installs it."""


class RunError(EChatError):
    """The run started and cannot continue."""

    exit_code = Exit.CANNOT_TELL


class Busy(RunError):
    """Another process is writing to the same run folder or store."""


class RowError(EChatError):
    """The outcome of one row. The runner records it as a ledger state."""


class SystemFailure(RowError):
    """The system under evaluation is at fault: the row is "failed"."""


class Unavailable(RowError):
    """The network, the harness or a service is at fault: the row is "missing".

    Args:
        message: description of the fault.
        retry_after: seconds that the server asked to wait, if any.
        overloaded: too many requests or a timeout; fewer concurrent calls may succeed.
        refused: the server rejected the request without processing it, so nothing was billed.
        never_sent: no byte of the request left this machine, because no connection was made. Only the
            transport may state this; without it, a call may have reached the server and been billed.
    """

    exit_code = Exit.CANNOT_TELL

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        overloaded: bool = False,
        refused: bool = False,
        never_sent: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.overloaded = overloaded
        self.refused = refused
        self.never_sent = never_sent


class JudgeFailure(Unavailable):
    """The judge's answer does not have the required form: the verdict is "missing"."""


class Withheld(Unavailable):
    """The call was not made, and retrying would not change that: the row is "missing" at once."""


class NotApplicable(RowError):
    """The system or instrument does not support this kind of row."""
