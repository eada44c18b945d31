"""What earlier runs found out, kept under content keys in the user's cache folder.

<folder>/cache.sqlite3            key -> kind, value, size, last use
         audio/ab/<sha256>        reply audio, named by its bytes

A cache saves work and decides nothing: whatever is wrong with it, a run goes on without it.
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

from echat_eval.io.files import write_whole
from echat_eval.io.jsonl import dumps, loads
from echat_eval.store.cache_audio import read_sound, sound_path

__all__ = ["ROW_KINDS", "Cache", "Kind", "cache_folder"]

logger = logging.getLogger(__name__)

Kind = Literal["response", "annotation", "verdict"]
ROW_KINDS: tuple[Kind, ...] = ("response", "annotation", "verdict")
#: Of the file's layout. What a key means is versioned in `keys`.
LAYOUT = 1
#: Milliseconds to wait for another process that is writing.
BUSY = 5_000
#: Rows and uses that are written together. A killed process loses at most these from the cache, and
#: nothing from its run folder.
AT_ONCE = 64
#: Seconds within which a further use is not noted: a hit should cost a read, not a write.
USE_NOTED = 3600.0

_TABLE = """
CREATE TABLE IF NOT EXISTS rows (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, sum TEXT NOT NULL, audio TEXT,
    bytes INTEGER NOT NULL, used REAL NOT NULL
)
"""


def cache_folder(environ: Mapping[str, str]) -> Path | None:
    """Return where the cache lies; None where there is no home to keep it in.

    >>> cache_folder({"XDG_CACHE_HOME": "/var/cache/me"})
    PosixPath('/var/cache/me/echat-eval')
    """
    if own := environ.get("ECHAT_EVAL_CACHE"):
        return Path(own)
    if base := environ.get("XDG_CACHE_HOME"):
        return Path(base) / "echat-eval"
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return Path(home) / ".cache" / "echat-eval" if home else None


class Cache:
    """One cache folder; threads may share it, and processes may share the folder.

    Whatever goes wrong is said once and switches this object off: nothing is found and nothing is kept.

    Args:
        folder: made when first needed; None: there is none, which is said once.

    Attributes:
        grew: something was kept.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as tmp:
    ...     cache = Cache(Path(tmp))
    ...     cache.put("verdict", "k", {"grade": 4}, of="judge")
    ...     (cache.get("verdict", "k", of="judge"), cache.get("verdict", "other", of="judge"))
    ({'grade': 4}, None)
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._open: sqlite3.Connection | None = None
        self._off = False
        self.grew = False
        self._used: set[str] = set()
        self._waiting: dict[str, tuple[str, str, str, str, str | None, int, float]] = {}
        self._counts: Counter[tuple[str, str, str]] = Counter()
        if folder is None:
            self._give_up("there is no home folder; set ECHAT_EVAL_CACHE")

    # -- rows ---------------------------------------------------------------

    def get(self, kind: Kind, key: str, *, of: str) -> dict[str, Any] | None:
        """Return the value under a key, or None.

        Args:
            of: the system, annotator or judge it is looked up for; hits are counted by it.
        """
        value = None
        with self.held() as database:
            if database is not None and (value := self._look_up(database, kind, key)) is not None:
                self._counts[kind, of, "hits"] += 1
        return value

    def has(self, kind: Kind, key: str) -> bool:
        """Return whether there is a row, without counting it as a hit."""
        found = False
        with self.held() as database:
            if database is not None:
                found = self._look_up(database, kind, key) is not None
        return found

    def _look_up(self, database: sqlite3.Connection, kind: Kind, key: str) -> dict[str, Any] | None:
        row = self._waiting.get(key)
        if row is None:
            columns = "key, kind, value, sum, audio, bytes, used"
            row = database.execute(f"SELECT {columns} FROM rows WHERE key = ?", (key,)).fetchone()
        if row is None or row[1] != kind:
            return None
        if _sum(row[2]) != row[3]:
            logger.warning("a row of the cache is damaged, and removed from it")
            database.execute("DELETE FROM rows WHERE key = ?", (key,))
            return None
        if time.time() - row[6] > USE_NOTED:
            self._used.add(key)
        if len(self._used) >= AT_ONCE:
            self._write_waiting(database)
        found: dict[str, Any] = loads(row[2])
        return found

    def put(
        self, kind: Kind, key: str, value: Mapping[str, Any], *, of: str, audio: str | None = None
    ) -> None:
        """Keep a value; one that is there already is replaced.

        Args:
            audio: sha256 of a sound that `put_audio` kept and the value needs.
        """
        with self.held() as database:
            if database is None or self.folder is None:
                return
            text = dumps(value)
            size = len(text.encode()) + (sound_path(self.folder, audio).stat().st_size if audio else 0)
            self._waiting[key] = (key, kind, text, _sum(text), audio, size, time.time())
            self._counts[kind, of, "stored"] += 1
            self.grew = True
            if len(self._waiting) >= AT_ONCE:
                self._write_waiting(database)

    def forget(self, kind: Kind, key: str, *, of: str) -> None:
        """Remove a row that was found and turned out to be of no use; it was no hit."""
        with self.held() as database:
            if database is not None:
                database.execute("DELETE FROM rows WHERE key = ?", (key,))
                self._used.discard(key)
                self._waiting.pop(key, None)
                self._counts[kind, of, "hits"] -= 1

    # -- audio --------------------------------------------------------------

    def put_audio(self, path: Path, sha256: str) -> None:
        """Keep the bytes of a sound under their hash."""
        with self.held() as database:
            if database is not None and self.folder is not None:
                target = sound_path(self.folder, sha256)
                if not target.exists():
                    write_whole(target, path.read_bytes())

    def take_audio(self, sha256: str, target: Path) -> bool:
        """Write a kept sound to `target`; False, and gone from here, if it is missing or damaged.

        It is copied, never linked: a byte changed in one run must not change it in another.
        """
        if len(sha256) != 64 or not sha256.isalnum():
            return False
        content = None
        with self.held() as database:
            if database is not None and self.folder is not None:
                content = read_sound(self.folder, sha256)
        if content is None:
            return False
        # Outside: a run folder that cannot be written is the run's own trouble.
        if not target.exists():
            write_whole(target, content)
        return True

    # -- keeping up -------------------------------------------------------------

    def tally(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return kind -> name -> hits and stored, of this object since it was last asked."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        with self._lock:
            for (kind, name, what), count in sorted(self._counts.items()):
                found.setdefault(kind, {}).setdefault(name, {"hits": 0, "stored": 0})[what] = count
            self._counts.clear()
        return found

    def flush(self) -> None:
        """Write what waits to be written."""
        with self.held(opening=bool(self._waiting)) as database:
            if database is not None:
                self._write_waiting(database)

    def close(self) -> None:
        """Write what waits and let go."""
        self.flush()
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_waiting(self, database: sqlite3.Connection) -> None:
        if not self._waiting and not self._used:
            return
        now = time.time()
        database.execute("BEGIN IMMEDIATE")
        database.executemany(
            "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", self._waiting.values()
        )
        database.executemany("UPDATE rows SET used = ? WHERE key = ?", [(now, k) for k in self._used])
        database.execute("COMMIT")
        self._waiting.clear()
        self._used.clear()

    # -- trouble ------------------------------------------------------------

    @contextmanager
    def held(self, *, opening: bool = True) -> Iterator[sqlite3.Connection | None]:
        """Hold the database for one piece of work, or None where the cache is off.

        Whatever is wrong with it is said once and switches it off.
        """
        with self._lock:
            database = None if self._off else self._opened() if opening else self._open
            try:
                yield database
            except (sqlite3.Error, OSError, ValueError) as error:
                self._give_up(f"{type(error).__name__}: {error}")

    def _opened(self) -> sqlite3.Connection | None:
        if self._open is None:
            assert self.folder is not None
            made = None
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                made = sqlite3.connect(
                    self.folder / "cache.sqlite3",
                    timeout=BUSY / 1000,
                    isolation_level=None,
                    check_same_thread=False,
                )
                _prepare(made)
            except (sqlite3.Error, OSError, ValueError) as error:
                if made is not None:
                    made.close()
                self._give_up(f"{type(error).__name__}: {error}")
                return None
            self._open = made
        return self._open

    def _give_up(self, reason: str) -> None:
        if not self._off:
            self._off = True
            logger.warning(
                "the cache at %s is not used: %s; the run goes on without it (`echat-eval cache clear` "
                "makes a new one, --no-cache says nothing)",
                self.folder or "?",
                reason,
            )
        if self._open is not None:
            self._open.close()
            self._open = None


def _prepare(database: sqlite3.Connection) -> None:
    # Readers and a writer side by side; a power cut may lose the last rows, never the file.
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    layout = database.execute("PRAGMA user_version").fetchone()[0]
    if layout == 0:
        database.execute(_TABLE)
        database.execute(f"PRAGMA user_version = {LAYOUT}")
    elif layout != LAYOUT:
        raise ValueError(f"it has layout {layout}, this is layout {LAYOUT}")


def _sum(text: str) -> str:
    """Return a check sum of a value: SQLite keeps none, and a changed number would look like a result."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
