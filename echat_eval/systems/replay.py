"""Replays what somebody's own script answered: a JSONL file, or a folder of wav and txt files.

A row is `{"id": ..., "text": ..., "audio": ...}`; `audio` is a path beside the file, and `think`,
`perceived`, `error` and what else `echat_eval.systems.wire` names may be given too. Rows come in any
order. In a folder, `<id>.wav` (or any format libsndfile reads) and `<id>.txt` are the reply to request
`<id>`. An id is the request's id, or the query file's name without its ending.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from echat_eval.errors import BadData, SystemFailure, Unavailable
from echat_eval.io.audio import audio_ref
from echat_eval.io.hashing import sha256_of_file
from echat_eval.io.jsonl import read_rows
from echat_eval.records import Reply, Request
from echat_eval.systems.wire import fault_of, reply_from

__all__ = ["Replay"]

_SOUNDS = {".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".au"}
#: A reply longer than this is not read into memory; the runner refuses far shorter ones.
_MAX_TEXT_BYTES = 4 * 2**20


class Replay:
    """Answers from a file or folder of replies.

    Args:
        replies: the JSONL file or the folder.
        name: as in tables; by default the file's or folder's name.
    """

    #: Quicker than looking it up.
    cached = False
    #: The replies lie here; no executor asks for them elsewhere.
    runs_here = True

    def __init__(self, replies: str, name: str | None = None) -> None:
        self.path = Path(replies)
        if not self.path.exists():
            raise BadData(
                f"{self.path}: no such file or folder; "
                "replay needs a .jsonl of replies or a folder of wav and txt files"
            )
        self.name = name or self.path.stem
        self._rows: dict[str, dict[str, Any]] | None = None

    def load(self) -> None:
        """Read the replies, once."""
        if self._rows is None:
            self._rows = self._read_folder() if self.path.is_dir() else self._read_file()

    def _read_file(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for number, row in read_rows(self.path):
            where = f"{self.path}:{number}"
            if fault := fault_of(row):
                raise BadData(f"{where}: {fault}")
            if row.get("audio_base64"):
                raise BadData(
                    f"{where}: 'audio_base64' is for servers; write the sound to a file, as 'audio'"
                )
            name = row.get("id")
            if not isinstance(name, str) or not name:
                raise BadData(f"{where}: expected a non-empty text as 'id', got {name!r}")
            if name in found:
                raise BadData(f"{where}: a second reply for id '{name}'; one reply a request")
            found[name] = row
        return found

    def _read_folder(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self.path.iterdir()):
            row = found.setdefault(path.stem, {"id": path.stem})
            if path.suffix.lower() in _SOUNDS:
                if "audio" in row:
                    raise BadData(f"{path}: a second audio reply for id '{path.stem}'; one reply a request")
                row["audio"] = path.name
            elif path.suffix.lower() == ".txt":
                if path.stat().st_size > _MAX_TEXT_BYTES:
                    raise BadData(
                        f"{path}: {path.stat().st_size:,} bytes; "
                        f"a reply's words are at most {_MAX_TEXT_BYTES:,}"
                    )
                row["text"] = path.read_text(encoding="utf-8", errors="replace").strip()
        found = {name: row for name, row in found.items() if len(row) > 1}
        if not found:
            raise BadData(
                f"{self.path}: no replies; expected files such as <request id>.wav or <request id>.txt"
            )
        return found

    def respond(self, request: Request) -> Reply:
        """Return the reply that was made for this request.

        Raises:
            Unavailable: there is none, or its sound is not there: the row is missing, and tried again.
            SystemFailure: the row says that the system failed.
        """
        self.load()
        rows = self._rows or {}
        name = next(
            (n for n in (request.id, request.audio.path.stem, request.audio.sha256) if n in rows), None
        )
        if name is None:
            raise Unavailable(
                f"no reply for request '{request.id}' (query {request.audio.path.name}) in {self.path}"
            )
        row = rows[name]
        audio = None
        if row.get("audio") and not row.get("error"):
            try:
                path = self._inside(row["audio"])
                if not path.exists():
                    raise Unavailable(f"reply audio {row['audio']!r} of '{name}' is not beside {self.path}")
                audio = audio_ref(path)
            except BadData as error:
                raise SystemFailure(f"broken reply audio: {error}") from error
        return reply_from(row, audio)

    def _inside(self, name: str) -> Path:
        root = (self.path if self.path.is_dir() else self.path.parent).resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise BadData(f"audio path {name!r} leaves the folder of {self.path}")
        return path

    def unclaimed(self, requests: Iterable[Request]) -> list[str]:
        """Return the ids that none of the requests has."""
        self.load()
        names = {name for r in requests for name in (r.id, r.audio.path.stem, r.audio.sha256)}
        return sorted(set(self._rows or {}) - names)

    def fingerprint(self) -> str:
        """Return the hash of every reply, words and audio bytes."""
        self.load()
        whole = hashlib.sha256()
        for name, row in sorted((self._rows or {}).items()):
            whole.update(repr(sorted(row.items())).encode(errors="surrogatepass"))
            if not row.get("audio"):
                continue
            with suppress(BadData):  # a path that leaves the folder is not read here, and fails its row later
                audio = self._inside(row["audio"])
                whole.update(f"{name} {sha256_of_file(audio) if audio.is_file() else None}".encode())
        return whole.hexdigest()

    def settings(self) -> Mapping[str, Any]:
        """Return no settings: what was replied is the fingerprint."""
        return {}
