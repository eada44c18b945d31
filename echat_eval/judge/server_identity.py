"""Which model a judge's server really serves, and how that is remembered beside the verdicts.

A base URL and a model's name do not say who answers: behind both, the weights may have changed since
yesterday. What a server names in its answers does, as far as it is honest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from echat_eval.errors import Unavailable
from echat_eval.io.jsonl import Appender, read_rows

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ServerIdentity", "ServerIdentityLog"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerIdentity:
    """What a server names in an answer.

    Attributes:
        model: the model, which may be more exact than what was asked for.
        server: its system fingerprint; None: it gives none.
    """

    model: str
    server: str | None


class ServerIdentityLog:
    """Every identity that one judge's server has named since it last changed.

    Hosted services answer from several machines in turn and name another fingerprint each time: such
    identities, met among each other's answers, are one tenure. An identity that a new process meets and
    the tenure does not know is another judge, and begins the next one. See
    docs/decisions/020-who-judged.md.

    Args:
        store: the verdicts' file; the tenure's rows stand beside it. None: it ends with the process.
        asked: hash of the model's name and the base URL.
    """

    def __init__(self, store: Path | None, asked: str) -> None:
        self._path = None if store is None else store.with_suffix(".served.jsonl")
        self._asked = asked
        self._met: list[ServerIdentity] = []
        self._written = 0

    @property
    def first(self) -> ServerIdentity | None:
        """The identity that names the tenure; None until the server was met."""
        return self._met[0] if self._met else None

    @property
    def identities(self) -> tuple[ServerIdentity, ...]:
        """All identities of it, in the order they were met."""
        return tuple(self._met)

    def remembered(self) -> list[ServerIdentity]:
        """Return the identities of the latest tenure that the file holds."""
        latest: list[ServerIdentity] = []
        if self._path is None or not self._path.exists():
            return latest
        for _, row in read_rows(self._path):
            if row["asked"] == self._asked:
                served = ServerIdentity(model=row["model"], server=row["server"])
                latest = [served] if row["first"] else [*latest, served]
        return latest

    def meet(self, served: ServerIdentity) -> None:
        """Take note of who answered.

        Raises:
            Unavailable: it is another model than the one that this process met first.
        """
        if not self._met:
            known = self.remembered()
            self._met, self._written = (known, len(known)) if served in known else ([served], 0)
        elif served.model != self._met[0].model:
            raise Unavailable(
                f"the judge's server named the model '{self._met[0].model}' and now names '{served.model}'; "
                "verdicts of two models are not mixed: run the same command again"
            )
        elif served not in self._met:
            self._met.append(served)

    def keep(self) -> None:
        """Write what is not yet in the file."""
        if self._path is None or self._written == len(self._met):
            return
        with Appender(self._path) as appender:
            for number in range(self._written, len(self._met)):
                row = {"asked": self._asked, "first": number == 0, **asdict(self._met[number])}
                appender.append(row)
        self._written = len(self._met)
