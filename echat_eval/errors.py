"""Every error this package raises on purpose, and the exit code each one means.

    EChatError
    ├── UsageError            2   the caller asked for something impossible
    │   ├── UnknownName       2   no task, system, annotator, scorer or judge by that name
    │   ├── BadData           2   a shipped or user file breaks its schema
    │   └── NotInstalled      2   an optional package, model or asset is missing
    ├── RunError              3   the run started and could not go on
    │   └── Busy              3   another process writes to the same place
    └── RowError                  what happened to one row; the runner records it, nobody exits on it
        ├── SystemFailure         the system's doing: the row has failed
        ├── Unavailable           the network's, harness's or judge's doing: the row is missing
        │   ├── JudgeFailure      the judge answered, but not in the agreed form
        │   └── Withheld          we did not ask, and would not on another try
        └── NotApplicable         this instrument or system does not do this kind of row

A message says what was got, what was expected, where, and what to do.
"""

from __future__ import annotations

from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING

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
    "SystemFailure",
    "Unavailable",
    "UnknownName",
    "UsageError",
    "Withheld",
]


class Exit(IntEnum):
    """Exit codes, the same for every command."""

    DONE = 0
    REGRESS = 1
    MISUSE = 2
    CANNOT_TELL = 3
    BUG = 70
    INTERRUPTED = 130


class EChatError(Exception):
    """Root of the tree above."""

    exit_code: Exit = Exit.BUG


class UsageError(EChatError):
    """The caller asked for something impossible."""

    exit_code = Exit.MISUSE


class UnknownName(UsageError):
    """No task, system, annotator, scorer or judge goes by that name.

    >>> print(UnknownName("system", "canend", ["canned", "echo"]))
    unknown system 'canend'. Did you mean 'canned'? Known: canned, echo.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        super().__init__(f"unknown {kind} '{name}'.{hint} Known: {', '.join(names) or 'none'}.")


class BadData(UsageError):
    """A shipped or user file breaks its schema."""


class NotInstalled(UsageError):
    """An optional package, model or asset is missing; the message says how to get it."""


class RunError(EChatError):
    """The run started and could not go on."""

    exit_code = Exit.CANNOT_TELL


class Busy(RunError):
    """Another process writes to the same run folder or store."""


class RowError(EChatError):
    """What happened to one row. The runner turns it into a ledger state."""


class SystemFailure(RowError):
    """The system under evaluation did not do its work: the row has failed."""


class Unavailable(RowError):
    """The network, the harness or a service did not do its work: the row is missing.

    Args:
        message: what happened.
        retry_after: seconds a server asked us to wait, if it did.
        crowded: fewer calls at once might have gone well: too many requests, or no answer in time.
        refused: a server said no before it did anything, so nothing was paid.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        overloaded: bool = False,
        refused: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.overloaded = overloaded
        self.refused = refused


class JudgeFailure(Unavailable):
    """The judge answered, but not in the agreed form: the verdict is missing."""


class Withheld(Unavailable):
    """We did not ask, and would not on another try: the row is missing at once."""


class NotApplicable(RowError):
    """This instrument or system does not do this kind of row."""
