"""One copy of a system or an annotator, in a process of its own."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import echat_eval
from echat_eval.concurrency import event_loop
from echat_eval.errors import NotInstalled, UsageError
from echat_eval.executors.pickling import Caught, RemoteResult, answer_of, fresh_folder, pack, unpack

__all__ = ["Blueprint", "Worker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """All that makes a copy.

    Attributes:
        what: "system" or "annotator" and its name, for messages.
        packed: the owner, not loaded, as `parcel.pack` packs it.
        fingerprint: what the driver's own says; a copy of other weights must not answer in its name.
        folder: where the driver runs, and what relative paths are relative to.
        version: of the driver's echat_eval.
    """

    what: str
    packed: bytes
    fingerprint: str | None
    folder: str
    version: str = echat_eval.__version__


class Worker:
    """Holds the copy and makes the calls that the driver sends; every method may run on its own thread."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint = blueprint
        self._owner: Any = None
        self._over = threading.Event()
        self._folder = fresh_folder()
        self._numbers = count()

    def where(self) -> tuple[str, int]:
        """Return the machine's name and the process's id."""
        return os.uname().nodename, os.getpid()

    def load(self) -> RemoteResult:
        """Build the copy and load it."""
        answer = answer_of(self._load)
        if answer.error is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        return answer

    def call(self, method: str, parcel: bytes) -> bytes:
        """Make one call of the copy and return its packed `RemoteResult`."""
        with self._numbered() as folder:
            answer = answer_of(lambda: unpack(parcel, folder))
            if answer.error is None:
                given, named = answer.value
                answer = answer_of(lambda: event_loop.call(getattr(self._owner, method), *given, **named))
            try:
                # Before the folder goes: a reply may be the very sound that was asked with.
                return pack(answer)
            except Exception as error:  # noqa: BLE001  what an adapter returns may be anything
                what = f"{self._blueprint.what} returned what cannot be sent back: {error}"
                return pack(RemoteResult(error=Caught.of(TypeError(what)), seconds=answer.seconds))

    def watch(self) -> None:
        """Return once the copy is closed: whoever waits for it learns at once if the process dies."""
        self._over.wait()

    def close(self) -> None:
        """Close the copy."""
        if self._owner is not None and hasattr(self._owner, "close"):
            event_loop.call(self._owner.close)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._over.set()

    @contextmanager
    def _numbered(self) -> Iterator[Path]:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _load(self) -> None:
        plan = self._blueprint
        if plan.version != echat_eval.__version__:
            raise UsageError(
                f"{os.uname().nodename} has echat-eval {echat_eval.__version__}, the driver {plan.version}; "
                "install the same everywhere"
            )
        if os.path.isdir(plan.folder):
            os.chdir(plan.folder)
        try:
            with_files = self._folder / str(next(self._numbers))
            with_files.mkdir()  # for as long as the copy lives
            owner = unpack(plan.packed, with_files)
            self._check(owner.fingerprint())
            if hasattr(owner, "load"):
                event_loop.call(owner.load)
        except ModuleNotFoundError as error:
            raise NotInstalled(
                f"{plan.what} needs the package '{error.name}', which {os.uname().nodename} lacks; "
                "install the same everywhere"
            ) from error
        self._owner = owner

    def _check(self, found: str | None) -> None:
        plan = self._blueprint
        if found != plan.fingerprint:
            raise UsageError(
                f"{plan.what} has another fingerprint on {os.uname().nodename} ({found}) than for the driver "
                f"({plan.fingerprint}); every machine needs the same weights and packages"
            )
