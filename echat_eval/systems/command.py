"""Any program as a system: JSON lines in and out, or one call per request.

A program without placeholders in its arguments is started once. It reads one JSON line per request from stdin
and writes one JSON line per reply to stdout (see `echat_eval.systems.wire`). A program with `{audio}` among
its arguments is started for every request; its stdout is the reply's text, and the file that it writes to
`{out}` is the reply's audio. No shell is used. The program gets few environment variables; see
`echat_eval.systems.program_environment`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echat_eval.errors import BadData, NotApplicable, SystemFailure, UsageError
from echat_eval.io.audio import audio_ref
from echat_eval.io.hashing import digest, file_sha256
from echat_eval.io.jsonl import dumps, loads
from echat_eval.io.text import decoded
from echat_eval.records import AudioRef, Reply, Request
from echat_eval.systems.guardian import guardian
from echat_eval.systems.program import Program
from echat_eval.systems.program_environment import ProgramEnvironment, kept_values, program_environment
from echat_eval.systems.wire import MAX_TEXT_BYTES, ReplyFolder, fault_of, reply_from, request_row, sound_of

__all__ = ["Command"]

#: A dict or set as Python prints it: keys in single quotes, numbers or tuples.
_PYTHON_DICT = re.compile(rb"\{\s*(?:b?'|[-\d(\[}]|None\b|True\b|False\b)")
#: Keys of which every reply has one.
_REPLY_KEYS = frozenset({"id", "text", "audio", "audio_base64", "error"})

_NO_TURNS = "a program called per request gets no earlier turns; use JSON lines instead"

PLACEHOLDERS = ("{audio}", "{out}", "{language}", "{instruction}")


class Command:
    """A program that answers requests.

    Args:
        program: the program and its arguments, quoted as for a shell.
        name: the system's name in tables; by default the program's file name.
        timeout: seconds per reply; the first reply of a process may also take `start_timeout`.
        start_timeout: additional seconds for the first reply of a process, to load a model.
        calls_at_once: number of processes that run at the same time.
        batch_size: number of lines sent before the first reply is awaited; replies may have any order.
        folder: working directory of the program; by default the current one.
        fingerprint_files: comma-separated files or folders that determine the replies (weights, sources).
            Without them, only the program, its arguments and the files among these are hashed, and no reply
            is cached for other runs.
        keep_env: comma-separated names of further environment variables to pass on; `AWS_*` names all
            that begin with AWS_. Their values are part of the fingerprint, unless a name looks like that of
            a secret.
        gpu: each copy on a cluster gets its own GPU.
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
            raise UsageError(f"folder={folder!r}: no such folder; give the program's working directory")
        self.timeout, self.start_timeout = float(timeout), float(start_timeout)
        self.calls_at_once, self.batch_size = int(calls_at_once), int(batch_size)
        self.watched = tuple(part.strip() for part in fingerprint_files.split(",") if part.strip())
        # Weights that are not listed may change while the program stays the same.
        self.cached = bool(self.watched)
        self.wants_gpu = bool(gpu)
        self.keep = tuple(part.strip() for part in keep_env.split(",") if part.strip())
        self.per_call = any(placeholder in word for word in self.words for placeholder in PLACEHOLDERS)
        if self.per_call and not any("{audio}" in word for word in self.words):
            raise UsageError(
                "a program with placeholders is called per request and needs {audio} among its arguments"
            )
        self._idle: list[Program] = []
        self._lock = threading.Lock()
        self._replies = ReplyFolder()

    # -- identity ---------------------------------------------------------------

    def settings(self) -> Mapping[str, Any]:
        """Return the program and the batch size; time-outs do not affect the replies."""
        return {"program": shlex.join(self.words), "batch_size": self.batch_size}

    def fingerprint(self) -> str:
        """Return the hash of the program, files among its arguments, `fingerprint_files` and `keep_env`.

        Files that the program itself loads are not covered: list weights in `fingerprint_files`.
        """
        argument_files = [self._inside(word) for word in self.words[1:] if os.path.isfile(self._inside(word))]
        hashes = [file_sha256(path) for path in (self._executable(), *argument_files)]
        for name in self.watched:
            path = self._inside(name)
            files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
            if not files or not files[0].is_file():
                raise UsageError(f"fingerprint_files: '{name}' is not a file or a folder with files")
            hashes += [f"{file.relative_to(path)} {file_sha256(file)}" for file in files]
        kept = kept_values(os.environ, self.keep)
        return digest("command", [self.words, hashes, *([kept] if kept else [])])

    def _executable(self) -> Path:
        path = shutil.which(str(self._inside(self.words[0])) if "/" in self.words[0] else self.words[0])
        if path is None:
            raise UsageError(
                f"no program '{self.words[0]}'; give a path such as ./infer.sh, executable (chmod +x)"
            )
        return Path(path)

    def _inside(self, word: str) -> Path:
        return self.folder / word

    # -- requests ---------------------------------------------------------------

    def load(self) -> None:
        """Create a folder for reply audio; a process starts with its first request."""
        if not self._replies.is_open:
            self._executable()
            self._replies.open()
            guardian.add(self._replies.path)

    def close(self) -> None:
        """Stop every process and delete the folder for reply audio."""
        with self._lock:
            idle, self._idle = self._idle, []
        for program in idle:
            program.stop()
        if self._replies.is_open:
            guardian.remove(self._replies.path)
            self._replies.close()

    def dialogue_fault(self) -> str | None:
        """Return that a program called per request gets no earlier turns."""
        return _NO_TURNS if self.per_call else None

    def respond(self, request: Request) -> Reply:
        """Return the reply to one request."""
        if self.per_call:
            return self._call_once(request)
        return self.respond_batch([request])[0]

    def respond_batch(self, requests: Sequence[Request]) -> list[Reply]:
        """Return the replies of one process to several requests; it may reply in any order."""
        if self.per_call:
            return [self._call_once(request) for request in requests]
        rows = self._converse(
            [request_row(r) | {"reply_audio": str(self._replies.path_for(r.id))} for r in requests]
        )
        files = [row["audio"] for row in rows if row.get("audio")]
        if len(set(files)) != len(files):
            raise SystemFailure("two replies of a batch name the same audio file; write one file per reply")
        return [self._reply(row) for row in rows]

    def _converse(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return one reply row per request row, in their order."""
        self.load()
        program = self._idle_program()
        is_new = program is None
        if program is None:
            environment = program_environment(os.environ, self.keep)
            program = Program(self.words, self.folder, environment, more={"PYTHONUNBUFFERED": "1"})
        waiting = {row["id"] for row in rows}
        replies: dict[str, dict[str, Any]] = {}
        limit = self.timeout * len(rows) + (self.start_timeout if is_new else 0.0)
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
                        f"a reply with id {name!r}, which matches no request; return ids as they were sent"
                    )
                replies[name] = reply
        except BaseException:
            # Later output of this process would belong to no request.
            program.kill()
            raise
        with self._lock:
            self._idle.append(program)
        return [replies[row["id"]] for row in rows]

    def _idle_program(self) -> Program | None:
        """Return an idle process, or None; discard those that died since their last reply."""
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
            audio = sound_of(row["audio_base64"], self._replies.path, str(row["id"]))
        elif row.get("audio"):
            audio = self._audio(self.folder / row["audio"])
        return reply_from(row, audio)

    def _audio(self, path: Path) -> AudioRef:
        try:
            return audio_ref(path)
        except BadData as error:
            raise SystemFailure(f"broken reply audio: {error}") from error

    def _call_once(self, request: Request) -> Reply:
        if request.history:
            raise NotApplicable(_NO_TURNS)
        if request.instruction and not any("{instruction}" in word for word in self.words):
            raise NotApplicable("the sample has an instruction; add {instruction} to the program's arguments")
        out = self._replies.path_for(request.id)
        values = (str(request.audio.path.resolve()), str(out), request.language, request.instruction or "")
        words = [_filled(word, dict(zip(PLACEHOLDERS, values, strict=True))) for word in self.words]
        stdout = _output_of(words, self.folder, program_environment(os.environ, self.keep), self.timeout)
        audio = self._audio(out) if out.exists() else None
        try:
            text = decoded(stdout, "the program's stdout").strip()
        except BadData as error:
            raise SystemFailure(str(error)) from error
        return Reply(text=text or None, audio=audio)


def _split(program: str) -> list[str]:
    try:
        words = shlex.split(program)
    except ValueError as error:
        raise UsageError(f"program {program!r}: {error}") from error
    if not words:
        raise UsageError("no program; write command:./infer.sh or command:'python infer.py --fast'")
    return words


def _filled(word: str, values: Mapping[str, str]) -> str:
    """Fill the placeholders in one pass, so that no value is read as a placeholder."""
    return re.sub("|".join(map(re.escape, values)), lambda match: values[match[0]], word)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return the reply in a line, or None if the line is not a reply, such as a log line.

    A printed dict in Python's syntax and a JSON object without any key of a reply are log lines. Other lines
    that start with "{" are broken replies: waiting for another one would end in a time-out.

    Raises:
        SystemFailure: the line is a broken reply, or a reply in Python's syntax.
    """
    text = line.strip()
    if not text.startswith(b"{"):
        return None
    try:
        row = loads(text)
    except ValueError as error:
        if _PYTHON_DICT.match(text):
            if b"'id'" in text and (b"'text'" in text or b"'audio'" in text):
                raise SystemFailure("a reply in Python's syntax; print json.dumps(reply)") from error
            return None
        raise SystemFailure(f"a line starts with '{{' but is not JSON: {error}") from error
    return row if isinstance(row, dict) and not _REPLY_KEYS.isdisjoint(row) else None


def _output_of(words: Sequence[str], folder: Path, environment: ProgramEnvironment, timeout: float) -> bytes:
    """Run a program to its end and return its stdout."""
    program = Program(words, folder, environment)
    output = b""
    end = time.monotonic() + timeout
    try:
        program.end_input()
        while (line := program.read_or_end(end, timeout)) is not None:
            output += line
            if len(output) > MAX_TEXT_BYTES:
                raise SystemFailure(f"the program wrote more than {MAX_TEXT_BYTES:,} bytes to its stdout")
    except BaseException:
        program.kill()
        raise
    program.stop()
    return output
