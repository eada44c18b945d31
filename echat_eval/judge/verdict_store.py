"""Rulings: verdicts with their provenance, stored beside a run and shared between runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.jsonl import Appender, mend, read_rows
from echat_eval.io.schema import STRING, Rule, Schema, is_whole, mapping_of, whole
from echat_eval.judge.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from echat_eval.store.cache import Cache

__all__ = ["Ruling", "VerdictStore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A verdict and its provenance.

    Attributes:
        key: hash of model, server, base URL, rubric, everything shown except the ticket, and
            the number of the repeat.
        prompt_sha256: of the prompt without its ticket.
        model, server: as the server reported itself in its answer.
        tokens: prompt and completion.
    """

    key: str
    verdict: Verdict
    prompt_sha256: str
    model: str
    server: str | None
    tokens: tuple[int, int]


class VerdictStore:
    """The rulings of one judge: in memory, in a file of the run, and in the cache of the user.

    A ruling is paid for. It is in memory before it is written, so that one that could not be written, such as
    on a full disk, is written later and never requested again.

    Args:
        path: JSONL file; None: memory only.
        cache: verdicts shared between runs; None: no cache.
        owner: name of the judge in the cache's counts.
    """

    def __init__(self, path: Path | None, cache: Cache | None, *, owner: str) -> None:
        self._path, self._cache, self._owner = path, cache, owner
        self._rulings: dict[str, Ruling] | None = None
        self._unwritten: dict[str, Ruling] = {}
        self._appender: Appender | None = None

    @property
    def has_earlier(self) -> bool:
        """Return whether there may be rulings of earlier processes."""
        return self._cache is not None or (self._path is not None and self._path.exists())

    def rulings(self) -> dict[str, Ruling]:
        """Return key -> ruling of the file, and of this process.

        Raises:
            BadData: a row is not a ruling; the message names file and line.
        """
        if self._rulings is None:
            rulings: dict[str, Ruling] = {}
            if self._path is not None and self._path.exists():
                mend(self._path)
                for line, row in read_rows(self._path):
                    ruling = _ruling_from(row)
                    if ruling is None:
                        raise BadData(
                            f"{self._path}:{line}: not a verdict: {str(row)[:80]}; "
                            "remove the line to ask its question again"
                        )
                    rulings[ruling.key] = ruling
            self._rulings = rulings
        return self._rulings

    def find(self, keys: Iterable[str]) -> Ruling | None:
        """Return the first ruling under one of the keys; one from the cache is copied to the file."""
        for key in keys:
            if (ruling := self.rulings().get(key)) is not None:
                return ruling
            if (ruling := self._from_cache(key)) is not None:
                self._remember(ruling)
                return ruling
        return None

    def add(self, ruling: Ruling) -> None:
        """Store a new ruling.

        Raises:
            OSError: it could not be written; `write` tries again.
        """
        if self._cache is not None and ruling.server is not None:
            self._cache.put("verdict", ruling.key, asdict(ruling), owner=self._owner)
        self._remember(ruling)

    def _remember(self, ruling: Ruling) -> None:
        self.rulings()[ruling.key] = self._unwritten[ruling.key] = ruling
        self.write()

    def write(self) -> None:
        """Write the rulings that are not in the file yet; raises as `add`."""
        for key in list(self._unwritten):
            if self._path is not None:
                self._appender = self._appender or Appender(self._path)
                self._appender.append(asdict(self._unwritten[key]))
            del self._unwritten[key]

    def close(self) -> None:
        """Flush the file to the disk and close it."""
        try:
            self.write()
        finally:
            appender, self._appender = self._appender, None
            if appender is not None:
                appender.close()

    def _from_cache(self, key: str) -> Ruling | None:
        row = self._cache.get("verdict", key, owner=self._owner) if self._cache is not None else None
        if row is None or self._cache is None:
            return None
        ruling = _ruling_from(row)
        if ruling is None or ruling.key != key:
            self._cache.forget("verdict", key, owner=self._owner)
            return None
        return ruling


_VERDICT = Schema({"grades": mapping_of(whole(0), ""), "reason": STRING, "voice": whole(0).optional()})
_RULING = Schema(
    {
        "key": STRING,
        "verdict": Rule(_VERDICT.holds, "a verdict"),
        "prompt_sha256": STRING,
        "model": STRING,
        "server": STRING.optional(),
        "tokens": Rule(
            lambda v: isinstance(v, list | tuple) and len(v) == 2 and all(is_whole(n, low=0) for n in v),
            "counts",
        ),
    }
)


def _ruling_from(row: dict[str, Any]) -> Ruling | None:
    """Return the ruling in a stored row; None if the row is none."""
    if not _RULING.holds(row):
        return None
    return Ruling(**{**row, "verdict": Verdict(**row["verdict"]), "tokens": tuple(row["tokens"])})
