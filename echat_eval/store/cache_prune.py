"""Size of the cache, and removal of its oldest rows."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from echat_eval.store.cache import ROW_KINDS, Cache, audio_paths

if TYPE_CHECKING:
    import sqlite3

__all__ = ["DEFAULT_LIMIT", "Contents", "clear", "contents", "prune", "remove"]

#: Bytes. Limit applied at the end of a run; the rows used longest ago are removed first.
DEFAULT_LIMIT = 10 * 10**9
#: Seconds. A younger audio file without a row may belong to a row that is still being written.
MIN_ORPHAN_AGE = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A summary of a cache's contents.

    Attributes:
        rows: kind -> number of rows.
        bytes: on the disk, audio included.
        oldest, newest: last uses, in seconds since 1970; None if the cache is empty.
    """

    rows: Mapping[str, int]
    bytes: int
    oldest: float | None
    newest: float | None


def contents(cache: Cache) -> Contents:
    """Return a summary of the contents; of a cache that cannot be read, only the size."""
    cache.flush()
    # Measured first, because opening the database creates its file.
    size = _disk_bytes(cache)
    if size:
        with cache.database() as database:
            if database is not None:
                counted = dict(database.execute("SELECT kind, COUNT(*) FROM rows GROUP BY kind"))
                oldest, newest = database.execute("SELECT MIN(used), MAX(used) FROM rows").fetchone()
                rows: dict[str, int] = {kind: int(counted.get(kind, 0)) for kind in ROW_KINDS}
                return Contents(rows=rows, bytes=size, oldest=oldest, newest=newest)
    return Contents(rows=dict.fromkeys(ROW_KINDS, 0), bytes=size, oldest=None, newest=None)


def prune(
    cache: Cache, *, before: float | None = None, limit: int | None = None, compact: bool = True
) -> int:
    """Remove the rows used longest ago and audio without a row; return the number of rows removed.

    Args:
        before: remove rows last used before this time, in seconds since 1970.
        limit: bytes of values and audio to keep. An audio file counts for every row that refers to it.
        compact: return the space to the file system, which is slow.
    """
    cache.flush()
    removed = 0
    with cache.database() as database:
        if database is not None:
            if before is not None:
                removed += database.execute("DELETE FROM rows WHERE used < ?", (before,)).rowcount
            if limit is not None:
                removed += _evict(database, limit)
            if removed:
                _remove_orphans(cache, database, MIN_ORPHAN_AGE)
                if compact:
                    database.execute("VACUUM")
                    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return removed


def remove(cache: Cache, keys: Collection[str]) -> int:
    """Remove rows by their keys, and their audio that no other row has; return the number of rows removed.

    The space is returned to the file system, so that nothing of them stays in the file.
    """
    cache.flush()
    removed = 0
    with cache.database() as database:
        if database is not None and cache.folder is not None:
            wanted = [(key,) for key in keys]
            audio = {
                row[0]
                for key in wanted
                for row in database.execute("SELECT audio FROM rows WHERE key = ? AND audio NOTNULL", key)
            }
            before = database.total_changes
            database.execute("BEGIN IMMEDIATE")
            database.executemany("DELETE FROM rows WHERE key = ?", wanted)
            database.execute("COMMIT")
            removed = database.total_changes - before
            audio -= {row[0] for row in database.execute("SELECT DISTINCT audio FROM rows")}
            for path in audio_paths(cache.folder):
                if path.name in audio:
                    path.unlink(missing_ok=True)
            if removed:
                database.execute("VACUUM")
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return removed


def clear(cache: Cache) -> None:
    """Remove everything, even if the database cannot be read."""
    if cache.folder is None or not cache.folder.exists():
        return
    cache.flush()
    with cache.database() as database:
        if database is not None:
            database.execute("DELETE FROM rows")
            _remove_orphans(cache, database, 0.0)
            database.execute("VACUUM")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return
    for path in [*cache.folder.glob("cache.sqlite3*"), *audio_paths(cache.folder)]:
        path.unlink(missing_ok=True)


def _evict(database: sqlite3.Connection, limit: int) -> int:
    excess = database.execute("SELECT TOTAL(bytes) FROM rows").fetchone()[0] - limit
    evicted = []
    if excess > 0:
        for key, size in database.execute("SELECT key, bytes FROM rows ORDER BY used, key"):
            evicted.append((key,))
            excess -= size
            if excess <= 0:
                break
        database.execute("BEGIN IMMEDIATE")
        database.executemany("DELETE FROM rows WHERE key = ?", evicted)
        database.execute("COMMIT")
    return len(evicted)


def _remove_orphans(cache: Cache, database: sqlite3.Connection, min_age: float) -> None:
    """Remove audio without a row that is at least `min_age` seconds old."""
    assert cache.folder is not None
    referenced = {audio for (audio,) in database.execute("SELECT DISTINCT audio FROM rows")}
    for path in audio_paths(cache.folder):
        if path.name not in referenced and time.time() - path.stat().st_mtime >= min_age:
            path.unlink(missing_ok=True)


def _disk_bytes(cache: Cache) -> int:
    if cache.folder is None:
        return 0
    files = [*cache.folder.glob("cache.sqlite3*"), *audio_paths(cache.folder)]
    return sum(path.stat().st_size for path in files)
