"""A cache of responses, annotations and verdicts of earlier runs, in the user's cache folder.

<folder>/cache.sqlite3            content key -> kind, value, size, last use
         audio/ab/<sha256>        reply audio, named by its hash

The cache only saves work: if anything is wrong with it, a run continues without it.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from echat_eval.io.files import copy_atomically, write_atomically
from echat_eval.io.hashing import sha256_of
from echat_eval.io.jsonl import dumps, loads
from echat_eval.store.manifest import CacheCounts, CacheTally

__all__ = ["ROW_KINDS", "Cache", "Kind", "audio_paths", "cache_folder"]

logger = logging.getLogger(__name__)

Kind = Literal["response", "annotation", "verdict"]
ROW_KINDS: tuple[Kind, ...] = ("response", "annotation", "verdict")
#: Version of the database's layout. The meaning of a key has its own version; see `io.hashing`.
LAYOUT = 1
#: Milliseconds to wait while another process is writing.
BUSY = 5_000
#: Rows and uses per write. A killed process loses at most these from the cache, and none from its run folder.
WRITE_BATCH = 64
#: Seconds. A further use within this time is not recorded, so that a hit costs a read and no write.
USE_RESOLUTION = 3600.0

_TABLE = """
CREATE TABLE IF NOT EXISTS rows (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, sum TEXT NOT NULL, audio TEXT,
    bytes INTEGER NOT NULL, used REAL NOT NULL
)
"""


def cache_folder(environ: Mapping[str, str]) -> Path | None:
    """Return the cache folder of a user; None if there is no home folder.

    >>> cache_folder({"XDG_CACHE_HOME": "/var/cache/me"})
    PosixPath('/var/cache/me/echat-eval')
    """
    if folder := environ.get("ECHAT_EVAL_CACHE"):
        return Path(folder)
    if base := environ.get("XDG_CACHE_HOME"):
        return Path(base) / "echat-eval"
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return Path(home) / ".cache" / "echat-eval" if home else None


def audio_paths(folder: Path) -> list[Path]:
    """Return the paths of all audio files in a cache folder."""
    return list(folder.glob("audio/??/*"))


class Cache:
    """One cache folder; threads may share the object, and processes the folder.

    The first error is logged as a warning and disables the object: it then finds and stores nothing.

    Args:
        folder: created when first needed; None disables the cache, with a warning.

    Attributes:
        changed: a row was stored.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as tmp, Cache(Path(tmp)) as cache:
    ...     cache.put("verdict", "k", {"grade": 4}, owner="judge")
    ...     (cache.get("verdict", "k", owner="judge"), cache.get("verdict", "other", owner="judge"))
    ({'grade': 4}, None)
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._disabled = False
        self.changed = False
        self._used: set[str] = set()
        self._unwritten: dict[str, tuple[str, str, str, str, str | None, int, float]] = {}
        self._counts: Counter[tuple[str, str, str]] = Counter()
        if folder is None:
            self._disable("there is no home folder; set ECHAT_EVAL_CACHE")

    # -- rows ---------------------------------------------------------------

    def get(self, kind: Kind, key: str, *, owner: str) -> dict[str, Any] | None:
        """Return the value under a key, or None.

        Args:
            owner: name of the system, annotator or judge that the hit is counted for.
        """
        value = None
        with self.database() as database:
            if database is not None and (value := self._look_up(database, kind, key)) is not None:
                self._counts[kind, owner, "hits"] += 1
        return value

    def has(self, kind: Kind, key: str) -> bool:
        """Return whether there is a row, without counting a hit."""
        found = False
        with self.database() as database:
            if database is not None:
                found = self._look_up(database, kind, key) is not None
        return found

    def _look_up(self, database: sqlite3.Connection, kind: Kind, key: str) -> dict[str, Any] | None:
        row = self._unwritten.get(key)
        if row is None:
            columns = "key, kind, value, sum, audio, bytes, used"
            row = database.execute(f"SELECT {columns} FROM rows WHERE key = ?", (key,)).fetchone()
        if row is None or row[1] != kind:
            return None
        if _checksum(row[2]) != row[3]:
            logger.warning("a row of the cache is damaged and was removed")
            database.execute("DELETE FROM rows WHERE key = ?", (key,))
            return None
        if time.time() - row[6] > USE_RESOLUTION:
            self._used.add(key)
        if len(self._used) >= WRITE_BATCH:
            self._write(database)
        value: dict[str, Any] = loads(row[2])
        return value

    def put(
        self, kind: Kind, key: str, value: Mapping[str, Any], *, owner: str, audio: str | None = None
    ) -> None:
        """Store a value, replacing one with the same key.

        Args:
            owner: name of the system, annotator or judge that the row is counted for.
            audio: sha256 of audio that the value refers to, stored before with `put_audio`.
        """
        with self.database() as database:
            if database is None or self.folder is None:
                return
            text = dumps(value)
            size = len(text.encode()) + (_audio_path(self.folder, audio).stat().st_size if audio else 0)
            self._unwritten[key] = (key, kind, text, _checksum(text), audio, size, time.time())
            self._counts[kind, owner, "stored"] += 1
            self.changed = True
            if len(self._unwritten) >= WRITE_BATCH:
                self._write(database)

    def forget(self, kind: Kind, key: str, *, owner: str) -> None:
        """Remove a row that `get` returned and that proved unusable; the hit is not counted."""
        with self.database() as database:
            if database is not None:
                database.execute("DELETE FROM rows WHERE key = ?", (key,))
                self._used.discard(key)
                self._unwritten.pop(key, None)
                self._counts[kind, owner, "hits"] -= 1

    # -- audio --------------------------------------------------------------

    def put_audio(self, path: Path, sha256: str) -> None:
        """Store an audio file under the hash of its bytes."""
        with self.database() as database:
            if database is not None and self.folder is not None:
                target = _audio_path(self.folder, sha256)
                if not target.exists():
                    copy_atomically(path, target)

    def take_audio(self, sha256: str, target: Path) -> bool:
        """Copy stored audio to `target`; return False if it is missing or damaged.

        Damaged audio is removed. The file is copied and never linked, so that a change in one run does not
        reach another.
        """
        if len(sha256) != 64 or not sha256.isalnum():
            return False
        content = None
        with self.database() as database:
            if database is not None and self.folder is not None:
                content = _read_audio(self.folder, sha256)
        if content is None:
            return False
        # Outside the block: a run folder that cannot be written is not the cache's fault.
        if not target.exists():
            write_atomically(target, content, durable=False)
        return True

    # -- counting and writing -------------------------------------------------

    def tally(self) -> CacheTally:
        """Return kind -> owner -> hits and stored rows of this object, and reset the counts."""
        tally: dict[str, dict[str, CacheCounts]] = {}
        with self._lock:
            for kind, owner in sorted({(kind, owner) for kind, owner, _ in self._counts}):
                tally.setdefault(kind, {})[owner] = CacheCounts(
                    hits=self._counts[kind, owner, "hits"], stored=self._counts[kind, owner, "stored"]
                )
            self._counts.clear()
        return tally

    def flush(self) -> None:
        """Write all stored rows and uses to the database."""
        with self.database(connect=bool(self._unwritten)) as database:
            if database is not None:
                self._write(database)

    def close(self) -> None:
        """Write all stored rows and close the database."""
        self.flush()
        self._disconnect()

    def _disconnect(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, database: sqlite3.Connection) -> None:
        if not self._unwritten and not self._used:
            return
        now = time.time()
        database.execute("BEGIN IMMEDIATE")
        database.executemany(
            "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", self._unwritten.values()
        )
        database.executemany("UPDATE rows SET used = ? WHERE key = ?", [(now, k) for k in self._used])
        database.execute("COMMIT")
        self._unwritten.clear()
        self._used.clear()

    # -- database and errors ----------------------------------------------------

    @contextmanager
    def database(self, *, connect: bool = True) -> Iterator[sqlite3.Connection | None]:
        """Lock the database for the block; yield None if the cache is disabled.

        An error in the block is logged as a warning and disables the cache.

        Args:
            connect: open the database if it is not open yet; otherwise yield None in that case.
        """
        with self._lock:
            database = None
            if not self._disabled:
                database = self._connect() if connect else self._connection
            try:
                yield database
            except (sqlite3.Error, OSError, ValueError) as error:
                self._disable(f"{type(error).__name__}: {error}")

    def _connect(self) -> sqlite3.Connection | None:
        if self._connection is None:
            assert self.folder is not None
            connection = None
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(
                    self.folder / "cache.sqlite3",
                    timeout=BUSY / 1000,
                    isolation_level=None,
                    check_same_thread=False,
                )
                _prepare(connection)
            except (sqlite3.Error, OSError, ValueError) as error:
                if connection is not None:
                    connection.close()
                self._disable(f"{type(error).__name__}: {error}")
                return None
            self._connection = connection
        return self._connection

    def _disable(self, reason: str) -> None:
        if not self._disabled:
            self._disabled = True
            logger.warning(
                "the cache at %s is not used: %s; the run continues without it (`echat-eval doctor cache "
                "clear` creates a new one, --no-cache suppresses this warning)",
                self.folder or "?",
                reason,
            )
        self._disconnect()


def _audio_path(folder: Path, sha256: str) -> Path:
    return folder / "audio" / sha256[:2] / sha256


def _read_audio(folder: Path, sha256: str) -> bytes | None:
    """Return stored audio; None if it is missing, or damaged and therefore removed."""
    path = _audio_path(folder, sha256)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if sha256_of(content) != sha256:
        logger.warning("%s: damaged, and removed from the cache", path)
        path.unlink(missing_ok=True)
        return None
    return content


def _prepare(database: sqlite3.Connection) -> None:
    # WAL allows readers beside a writer; a power failure may lose the last rows, never the file.
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    layout = database.execute("PRAGMA user_version").fetchone()[0]
    if layout == 0:
        database.execute(_TABLE)
        database.execute(f"PRAGMA user_version = {LAYOUT}")
    elif layout != LAYOUT:
        raise ValueError(f"it has layout {layout}, expected layout {LAYOUT}")


def _checksum(text: str) -> str:
    """Return a checksum of a value: SQLite has none, and a corrupted number would pass as a result."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
