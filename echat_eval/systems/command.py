"""Any program as a system: JSON lines in and out, or one call per request.

A program whose arguments name no place is started once, gets one JSON line per request on stdin and
writes one JSON line per reply on stdout (`echat_eval.systems.wire`). One with `{audio}` among its
arguments is started per request, and its stdout is the reply's words; a file it writes to `{out}` is
the reply's voice. No shell reads the line, and nothing in the environment that looks like a key is handed on.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echat_eval.errors import BadData, NotApplicable, SystemFailure, Unavailable, UsageError
from echat_eval.io.audio import audio_ref
from echat_eval.io.hashing import digest, sha256_of_file
from echat_eval.io.jsonl import dumps, loads
from echat_eval.records import AudioRef, Reply, Request
from echat_eval.systems.program import Program, scrubbed
from echat_eval.systems.wire import fault_of, reply_from, request_row, sound_of

__all__ = ["Command"]

PLACES = ("{audio}", "{out}", "{language}", "{instruction}")
#: Words of a program that is called per request; a reply somebody listens to is hundreds of characters.
MAX_OUTPUT_BYTES = 4 * 2**20


class Command:
    """Asks a program.

    Args:
        program: the program and its arguments, quoted as for a shell.
        name: as in tables; by default the program's file name.
        timeout: seconds per reply; the first one also waits for `start_timeout`.
        start_timeout: seconds more for the first reply of a process, in which a model may load.
        calls_at_once: processes kept running side by side.
        batch_size: lines sent before the first reply is waited for; replies may come in any order.
        folder: where the program runs; by default here.
        fingerprint_files: files or folders, separated by commas, that decide what it answers (weights,
            sources); without them only the program, its arguments and the files named there are hashed,
            and no reply is kept for other runs.
        keep_env: names of environment variables, separated by commas, handed on although they look secret.
        gpu: each copy on a cluster gets a GPU of its own.
    """

    def __init__(
        self,
        program: str,
        name: str | None = None,
        timeout: float = 120.0,
        start_timeout: float = 600.0,
        calls_at_once: int = 1,
        batch_size: int = 1,
        folder: str | None = None,
        fingerprint_files: str = "",
        keep_env: str = "",
        gpu: bool = False,
    ) -> None:
        self.words = _split(program)
        self.name = name or Path(self.words[0]).stem
        self.folder = Path(folder or ".").resolve()
        if not self.folder.is_dir():
            raise UsageError(f"folder {folder!r} of the program: no such folder")
        self.timeout, self.start_timeout = float(timeout), float(start_timeout)
        self.calls_at_once, self.batch_size = int(calls_at_once), int(batch_size)
        self.watched = tuple(part.strip() for part in fingerprint_files.split(",") if part.strip())
        # Weights that nobody named may change behind the same program.
        self.cached = bool(self.watched)
        self.wants_gpu = bool(gpu)
        self.keep = tuple(part.strip() for part in keep_env.split(",") if part.strip())
        self.per_call = any(place in word for word in self.words for place in PLACES)
        if self.per_call and not any("{audio}" in word for word in self.words):
            raise UsageError("a program that is called per request needs {audio} among its arguments")
        self._idle: list[Program] = []
        self._lock = threading.Lock()
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    # -- what it is -------------------------------------------------------------

    def settings(self) -> Mapping[str, Any]:
        """Return the program as given and how it is used; time-outs are not part of what it answers."""
        return {"program": shlex.join(self.words), "batch_size": self.batch_size}

    def fingerprint(self) -> str:
        """Return the hash of the program's bytes, of files among its arguments, and of `fingerprint_files`.

        It cannot see what the program itself loads: name weights in `fingerprint_files`.
        """
        named = [self._inside(word) for word in self.words[1:] if os.path.isfile(self._inside(word))]
        hashes = [sha256_of_file(path) for path in (self._executable(), *named)]
        for name in self.watched:
            path = self._inside(name)
            files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
            if not files or not files[0].is_file():
                raise UsageError(f"fingerprint_files: '{name}' is no file or folder with files")
            hashes += [f"{file.relative_to(path)} {sha256_of_file(file)}" for file in files]
        return digest("command", [self.words, hashes])

    def _executable(self) -> Path:
        found = shutil.which(str(self._inside(self.words[0])) if "/" in self.words[0] else self.words[0])
        if found is None:
            raise UsageError(
                f"no program '{self.words[0]}'; give a path such as ./infer.sh, executable (chmod +x)"
            )
        return Path(found)

    def _inside(self, word: str) -> Path:
        return self.folder / word

    # -- asking -----------------------------------------------------------------

    def load(self) -> None:
        """Make a folder for reply audio; processes start with their first request."""
        if self._scratch is None:
            self._executable()
            self._scratch = tempfile.TemporaryDirectory(prefix="echat-eval-")

    def close(self) -> None:
        """End every process, and remove what they wrote in our folder."""
        with self._lock:
            idle, self._idle = self._idle, []
        for program in idle:
            program.stop()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def respond(self, request: Request) -> Reply:
        """Ask one request."""
        if self.per_call:
            return self._call_once(request)
        return self.respond_batch([request])[0]

    def respond_batch(self, requests: Sequence[Request]) -> list[Reply]:
        """Ask several requests of one process; it may reply in any order."""
        if self.per_call:
            return [self._call_once(request) for request in requests]
        rows = self._converse([request_row(r) | {"reply_audio": self._place(r, ".wav")} for r in requests])
        voices = [row["audio"] for row in rows if row.get("audio")]
        if len(set(voices)) != len(voices):
            raise SystemFailure("two replies of one batch name the same audio file; write one file a reply")
        return [self._reply(row) for row in rows]

    def _converse(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return one reply row per request row, in their order."""
        self.load()
        program = self._running()
        fresh = program is None
        environment = {**scrubbed(os.environ, self.keep), "PYTHONUNBUFFERED": "1"}
        program = program or Program(self.words, self.folder, environment)
        waiting = {row["id"] for row in rows}
        replies: dict[str, dict[str, Any]] = {}
        limit = self.timeout * len(rows) + (self.start_timeout if fresh else 0.0)
        try:
            end = time.monotonic() + limit
            program.feed([(dumps(row) + "\n").encode() for row in rows])
            while len(replies) < len(rows):
                reply = _parsed(program.read(end, limit))
                if reply is None:
                    continue
                name = reply.get("id")
                if not isinstance(name, str) or name not in waiting or name in replies:
                    raise SystemFailure(
                        f"a reply with id {name!r}, which was not asked; ids come back as sent"
                    )
                replies[name] = reply
        except (SystemFailure, Unavailable, KeyboardInterrupt):
            # Whatever it would still say belongs to no request any more.
            program.kill()
            raise
        with self._lock:
            self._idle.append(program)
        return [replies[row["id"]] for row in rows]

    def _running(self) -> Program | None:
        """Return an idle process; one that died since its last reply is buried."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                program = self._idle.pop()
            if program.alive:
                return program
            program.kill()

    def _reply(self, row: dict[str, Any]) -> Reply:
        if fault := fault_of(row):
            raise SystemFailure(f"the program's reply: {fault}")
        audio: AudioRef | None = None
        if row.get("audio_base64"):
            audio = sound_of(row["audio_base64"], Path(self._scratch_folder()), str(row["id"]))
        elif row.get("audio"):
            audio = self._voice(self.folder / row["audio"])
        return reply_from(row, audio)

    def _voice(self, path: Path) -> AudioRef:
        try:
            return audio_ref(path)
        except BadData as error:
            raise SystemFailure(f"broken reply audio: {error}") from error

    def _scratch_folder(self) -> str:
        self.load()
        assert self._scratch is not None
        return self._scratch.name

    def _place(self, request: Request, suffix: str) -> str:
        return str(Path(self._scratch_folder()) / f"{request.id}{suffix}")

    def _call_once(self, request: Request) -> Reply:
        if request.history:
            raise NotApplicable("a program called per request gets no earlier turns; let it read JSON lines")
        if request.instruction and not any("{instruction}" in word for word in self.words):
            raise NotApplicable("the program has no {instruction} among its arguments to be asked with")
        out = Path(self._place(request, ".wav"))
        out.unlink(missing_ok=True)
        values = (str(request.audio.path.resolve()), str(out), request.language, request.instruction or "")
        words = [_filled(word, dict(zip(PLACES, values, strict=True))) for word in self.words]
        said = _output_of(words, self.folder, scrubbed(os.environ, self.keep), self.timeout)
        voice = self._voice(out) if out.exists() else None
        text = said.decode("utf-8", "replace").strip()
        return Reply(text=text or None, audio=voice)


def _split(program: str) -> list[str]:
    try:
        words = shlex.split(program)
    except ValueError as error:
        raise UsageError(f"program {program!r}: {error}") from error
    if not words:
        raise UsageError("which program? Write command:./infer.sh or command:'python infer.py --fast'")
    return words


def _filled(word: str, values: Mapping[str, str]) -> str:
    """Fill places in one pass, so that no value is read as a place."""
    import re

    return re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], word)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return the reply a line holds; None for a line that is no JSON object, such as a log line."""
    text = line.strip()
    if not text.startswith(b"{"):
        return None
    try:
        row = loads(text)
    except ValueError as error:
        raise SystemFailure(f"a line that begins like JSON and is not: {error}") from error
    return row if isinstance(row, dict) else None


def _output_of(words: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float) -> bytes:
    """Run a program to its end and return its stdout."""
    program = Program(words, folder, environment)
    said = b""
    end = time.monotonic() + timeout
    try:
        program.end_input()
        while (line := program.read_or_end(end, timeout)) is not None:
            said += line
            if len(said) > MAX_OUTPUT_BYTES:
                raise SystemFailure(f"the program wrote more than {MAX_OUTPUT_BYTES:,} bytes to its stdout")
    except (SystemFailure, Unavailable, KeyboardInterrupt):
        program.kill()
        raise
    program.stop()
    return said
