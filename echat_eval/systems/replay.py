"""Replays existing replies from a JSONL file, or from a folder of wav and txt files.

A row is `{"id": ..., "text": ..., "audio": ...}`. `audio` is a path relative to the file's folder; the other
keys of `echat_eval.systems.wire`, such as `think`, `perceived` and `error`, are optional. A row with
`not_applicable` and a reason states that there is no reply and will be none. Rows may have any order.

In a folder, `<id>.wav` (or any format that libsndfile reads) and `<id>.txt` are the reply to request `<id>`.
An id is the request's id, the stem of the query's file name, or the sha256 of the query's audio.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from echat_eval.errors import BadData, NotApplicable, SystemFailure, Unavailable
from echat_eval.io.audio import audio_ref
from echat_eval.io.hashing import file_sha256, sha256_of
from echat_eval.io.inside import Folder
from echat_eval.io.jsonl import RowFault, scan_rows
from echat_eval.io.schema import is_text, shorten
from echat_eval.io.text import read_text
from echat_eval.records import Reply, Request
from echat_eval.systems.wire import MAX_TEXT_BYTES, fault_of, reply_from

__all__ = ["Replay"]

#: Key of a row that states why there is no reply and will be none.
_NOT_APPLICABLE = "not_applicable"
_SOUNDS = {".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".au"}


class Replay:
    """Answers from a file or folder of replies.

    Args:
        replies: the JSONL file or the folder.
        name: the system's name in tables; by default the name of the file or folder.
    """

    #: Answering is faster than a cache lookup.
    cached = False
    #: The replies are on this machine, so no executor runs the system elsewhere.
    runs_here = True

    def __init__(self, replies: str, name: str | None = None) -> None:
        self.path = Path(replies)
        if not self.path.exists():
            raise BadData(
                f"{self.path}: no such file or folder; "
                "replay needs a .jsonl of replies or a folder of wav and txt files"
            )
        self.name = name or self.path.stem
        self._files = Folder(
            self.path if self.path.is_dir() else self.path.parent, f"the folder of {self.path}"
        )
        self._rows: dict[str, dict[str, Any]] | None = None

    def load(self) -> None:
        """Read the replies, once."""
        if self._rows is None:
            self._rows = self._read_folder() if self.path.is_dir() else self._read_file()

    def _read_file(self) -> dict[str, dict[str, Any]]:
        replies: dict[str, dict[str, Any]] = {}
        for number, row in self._scanned():
            location = f"{self.path}:{number}"
            if isinstance(row, RowFault):
                row = _failed_row(row, location)
            elif fault := _not_applicable_fault(row) if _NOT_APPLICABLE in row else fault_of(row):
                raise BadData(f"{location}: {fault}")
            if row.get("audio_base64"):
                raise BadData(
                    f"{location}: 'audio_base64' is for servers; give the path of an audio file as 'audio'"
                )
            name = row.get("id")
            if not isinstance(name, str) or not name:
                raise BadData(f"{location}: expected non-empty text as 'id', got {name!r}")
            if name in replies:
                raise BadData(f"{location}: a second reply for id '{name}'; expected one reply per request")
            replies[name] = row
        return replies

    def _scanned(self) -> Iterator[tuple[int, dict[str, Any] | RowFault]]:
        try:
            yield from scan_rows(self.path)
        except OSError as error:
            raise BadData(f"{self.path}: cannot be read: {error.strerror or error}") from error

    def _read_folder(self) -> dict[str, dict[str, Any]]:
        replies: dict[str, dict[str, Any]] = {}
        for path in sorted(self.path.iterdir()):
            row = replies.setdefault(path.stem, {"id": path.stem})
            if path.suffix.lower() in _SOUNDS:
                if "audio" in row:
                    raise BadData(
                        f"{path}: a second audio reply for id '{path.stem}'; expected one reply per request"
                    )
                row["audio"] = path.name
            elif path.suffix.lower() == ".txt":
                if path.is_file() and path.stat().st_size > MAX_TEXT_BYTES:
                    raise BadData(
                        f"{path}: {path.stat().st_size:,} bytes; "
                        f"the limit of a reply's text is {MAX_TEXT_BYTES:,}"
                    )
                row |= self._text_of(path)
        replies = {name: row for name, row in replies.items() if len(row) > 1}
        if not replies:
            raise BadData(
                f"{self.path}: no replies; expected files such as <request id>.wav or <request id>.txt"
            )
        return replies

    def _text_of(self, path: Path) -> dict[str, str]:
        """Return a file's text, or the fault of its row: one bad file costs no other reply its value."""
        try:
            return {"text": read_text(self._files.file(path.name)).strip()}
        except BadData as error:
            return {"fault": str(error) if str(path) in str(error) else f"{path}: {error}"}

    def respond(self, request: Request) -> Reply:
        """Return the stored reply to this request.

        Raises:
            Unavailable: there is no reply, or its audio file is absent; the row is missing and tried again.
            SystemFailure: the row reports an error of the system, or its audio is broken.
            NotApplicable: the row states that there will be no reply.
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
        if _NOT_APPLICABLE in row:
            raise NotApplicable(row[_NOT_APPLICABLE])
        if "fault" in row:
            raise SystemFailure(row["fault"])
        audio = None
        if row.get("audio") and not row.get("error"):
            try:
                path = self._files.file(row["audio"])
                if not path.exists():
                    raise Unavailable(
                        f"reply audio {row['audio']!r} of '{name}' is not in the folder of {self.path}"
                    )
                audio = audio_ref(path)
            except BadData as error:
                raise SystemFailure(f"broken reply audio {shorten(row['audio'])}: {error}") from error
        return reply_from(row, audio)

    def dialogue_fault(self) -> str | None:
        """Return that stored replies were made before the dialogue."""
        return "replies in files cannot answer in a live dialogue, whose later turns hold the earlier replies"

    def unclaimed(self, requests: Iterable[Request]) -> list[str]:
        """Return the ids of replies that match no request."""
        self.load()
        names = {name for r in requests for name in (r.id, r.audio.path.stem, r.audio.sha256)}
        return sorted(set(self._rows or {}) - names)

    def fingerprint(self) -> str:
        """Return the hash of all replies, text and audio bytes."""
        self.load()
        return sha256_of(self._content())

    def _content(self) -> Iterator[bytes]:
        for name, row in sorted((self._rows or {}).items()):
            yield repr(sorted(row.items())).encode(errors="surrogatepass")
            if not row.get("audio"):
                continue
            with suppress(BadData):  # a path that leaves the folder is not read; its row fails later
                audio = self._files.file(row["audio"])
                yield f"{name} {file_sha256(audio) if audio.is_file() else None}".encode()

    def settings(self) -> Mapping[str, Any]:
        """Return an empty mapping: the replies determine the fingerprint."""
        return {}


def _not_applicable_fault(row: Mapping[str, Any]) -> str | None:
    if set(row) == {"id", _NOT_APPLICABLE} and is_text(row[_NOT_APPLICABLE]):
        return None
    return f"'{_NOT_APPLICABLE}' needs a reason, and the row an id and nothing else"


def _failed_row(fault: RowFault, location: str) -> dict[str, Any]:
    """Return the row of a reply whose line has a value that strict JSON does not have: only that reply fails.

    Raises:
        BadData: the line has no id.
    """
    try:
        row = json.loads(fault.line)
    except (ValueError, RecursionError):
        row = None
    name = row.get("id") if isinstance(row, dict) else None
    if not isinstance(name, str) or not is_text(name):
        raise BadData(f"{location}: {fault}")
    return {"id": name, "fault": f"{location}: {fault}"}
