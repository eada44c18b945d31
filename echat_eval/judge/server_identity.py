"""The model that a judge's server reports, recorded beside the verdicts.

A base URL and a model's name do not identify a judge: the weights behind both may have changed since
yesterday. The model and fingerprint in a server's answers do, as far as the server is honest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, Unavailable
from echat_eval.io.jsonl import Appender, mend, read_rows
from echat_eval.io.schema import STRING, Rule, Schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ServerIdentity", "ServerIdentityLog"]

_ROW = Schema(
    {
        "asked": STRING,
        "first": Rule(lambda v: isinstance(v, bool), "true or false"),
        "model": STRING,
        "server": STRING.optional(),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerIdentity:
    """The identity that a server reports in an answer.

    Attributes:
        model: the served model, which may be more exact than the requested one.
        server: the system fingerprint; None: the server reports none.
    """

    model: str
    server: str | None


class ServerIdentityLog:
    """Identities that one judge's server has reported since the judge last changed.

    Hosted services answer from several machines in turn, each with its own fingerprint. Identities that
    alternate in one process belong to one judge. If a new process first sees an identity that the file
    does not list, the judge has changed, and a new list begins. See docs/decisions/007-judge-identity.md.

    Args:
        store: file of verdicts; the log is written beside it. None: kept for this process only.
        endpoint_key: hash of the model's name and the base URL.
    """

    def __init__(self, store: Path | None, endpoint_key: str) -> None:
        self._path = None if store is None else store.with_suffix(".served.jsonl")
        self._endpoint_key = endpoint_key
        self._identities: list[ServerIdentity] = []
        self._written = 0

    def is_of(self, other: ServerIdentityLog) -> bool:
        """Return whether two logs are of one model at one address, in one file."""
        return (self._path, self._endpoint_key) == (other._path, other._endpoint_key)

    @property
    def first(self) -> ServerIdentity | None:
        """The first identity of the present judge; None before its first answer."""
        return self._identities[0] if self._identities else None

    @property
    def identities(self) -> tuple[ServerIdentity, ...]:
        """All identities of the present judge, in order of first appearance."""
        return tuple(self._identities)

    def stored(self) -> list[ServerIdentity]:
        """Return the identities of the latest judge in the file.

        Raises:
            BadData: a row is not an identity; the message names file and line.
        """
        latest: list[ServerIdentity] = []
        if self._path is None or not self._path.exists():
            return latest
        mend(self._path)
        for row in self._rows(self._path):
            if row["asked"] == self._endpoint_key:
                identity = ServerIdentity(model=row["model"], server=row["server"])
                latest = [identity] if row["first"] else [*latest, identity]
        return latest

    def _rows(self, path: Path) -> Iterator[dict[str, Any]]:
        # With a line less, identities of two judges might count as one judge's.
        remedy = "delete the file and run the same command again"
        try:
            for line, row in read_rows(path):
                if not _ROW.holds(row):
                    raise BadData(f"{path}:{line}: not the identity of a judge's server: {str(row)[:80]}")
                yield row
        except BadData as error:
            raise BadData(f"{error}; {remedy}") from error

    def record(self, identity: ServerIdentity) -> None:
        """Add the identity in an answer.

        Raises:
            Unavailable: its model is not the first one that this process saw.
        """
        if not self._identities:
            stored = self.stored()
            if identity in stored:
                self._identities, self._written = stored, len(stored)
            else:
                self._identities, self._written = [identity], 0
        elif identity.model != self._identities[0].model:
            raise Unavailable(
                f"the judge's server reported the model '{self._identities[0].model}' and now reports "
                f"'{identity.model}'; verdicts of two models are not mixed: run the same command again"
            )
        elif identity not in self._identities:
            self._identities.append(identity)

    def save(self) -> None:
        """Append the identities that are not yet in the file."""
        if self._path is None or self._written == len(self._identities):
            return
        with Appender(self._path) as appender:
            for number in range(self._written, len(self._identities)):
                row = {
                    "asked": self._endpoint_key,
                    "first": number == 0,
                    **asdict(self._identities[number]),
                }
                appender.append(row)
        self._written = len(self._identities)
