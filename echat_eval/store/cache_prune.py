"""How large the cache is, and how it becomes smaller."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from echat_eval.store.cache import ROW_KINDS, Cache
from echat_eval.store.cache_audio import sound_paths

if TYPE_CHECKING:
    import sqlite3

__all__ = ["DEFAULT_LIMIT", "Contents", "clear", "contents", "prune"]

#: Bytes that the end of a run leaves; what was used longest ago goes first.
DEFAULT_LIMIT = 10 * 10**9
#: Seconds. A younger sound that no row needs may belong to a row that is just being written.
YOUNG = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a cache holds.

    Attributes:
        rows: kind -> number of rows.
        bytes: on the disk, audio included.
        oldest, newest: last uses, in seconds since 1970; None if it is empty.
    """

    rows: Mapping[str, int]
    bytes: int
    oldest: float | None
    newest: float | None


def contents(cache: Cache) -> Contents:
    """Return what is kept; a cache that cannot be read is told by its size alone."""
    cache.flush()
    # Looked at first: opening a database makes its file.
    size = _disk_bytes(cache)
    if size:
        with cache.held() as database:
            if database is not None:
                counted = dict(database.execute("SELECT kind, COUNT(*) FROM rows GROUP BY kind"))
                oldest, newest = database.execute("SELECT MIN(used), MAX(used) FROM rows").fetchone()
                rows: dict[str, int] = {kind: int(counted.get(kind, 0)) for kind in ROW_KINDS}
                return Contents(rows=rows, bytes=size, oldest=oldest, newest=newest)
    return Contents(rows=dict.fromkeys(ROW_KINDS, 0), bytes=size, oldest=None, newest=None)


def prune(
    cache: Cache, *, before: float | None = None, limit: int | None = None, compact: bool = True
) -> int:
    """Remove rows used longest ago, and sounds that no row needs any more; return how many rows went.

    Args:
        before: rows last used before this time, in seconds since 1970.
        limit: bytes of values and sounds that may stay. A sound counts for every row that needs it.
        compact: give the space back to the disk, which takes a while.
    """
    cache.flush()
    gone = 0
    with cache.held() as database:
        if database is not None:
            if before is not None:
                gone += database.execute("DELETE FROM rows WHERE used < ?", (before,)).rowcount
            if limit is not None:
                gone += _evict(database, limit)
            if gone:
                _sweep(cache, database, YOUNG)
                if compact:
                    database.execute("VACUUM")
                    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return gone


def clear(cache: Cache) -> None:
    """Remove everything, also what cannot be read any more."""
    if cache.folder is None or not cache.folder.exists():
        return
    cache.flush()
    with cache.held() as database:
        if database is not None:
            database.execute("DELETE FROM rows")
            _sweep(cache, database, 0.0)
            database.execute("VACUUM")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return
    for path in [*cache.folder.glob("cache.sqlite3*"), *sound_paths(cache.folder)]:
        path.unlink(missing_ok=True)


def _evict(database: sqlite3.Connection, limit: int) -> int:
    over = database.execute("SELECT TOTAL(bytes) FROM rows").fetchone()[0] - limit
    doomed = []
    if over > 0:
        for key, size in database.execute("SELECT key, bytes FROM rows ORDER BY used, key"):
            doomed.append((key,))
            over -= size
            if over <= 0:
                break
        database.execute("BEGIN IMMEDIATE")
        database.executemany("DELETE FROM rows WHERE key = ?", doomed)
        database.execute("COMMIT")
    return len(doomed)


def _sweep(cache: Cache, database: sqlite3.Connection, age: float) -> None:
    """Remove sounds that no row needs and that are at least so many seconds old."""
    assert cache.folder is not None
    needed = {audio for (audio,) in database.execute("SELECT DISTINCT audio FROM rows")}
    for path in sound_paths(cache.folder):
        if path.name not in needed and time.time() - path.stat().st_mtime >= age:
            path.unlink(missing_ok=True)


def _disk_bytes(cache: Cache) -> int:
    if cache.folder is None:
        return 0
    files = [*cache.folder.glob("cache.sqlite3*"), *sound_paths(cache.folder)]
    return sum(path.stat().st_size for path in files)
