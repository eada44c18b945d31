"""A worker: one copy of a system or an annotator, in its own process."""

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
from echat_eval.executors.pickling import RemoteError, RemoteResult, fresh_folder, pack, run_captured, unpack
from echat_eval.plugins.packages import package_of
from echat_eval.ports import Closable, Loadable

__all__ = ["Blueprint", "Worker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """Everything that a worker needs to build its copy.

    Attributes:
        label: "system" or "annotator" and its name, for messages.
        packed: the owner before `load`, packed by `pickling.pack`.
        fingerprint: of the driver's own object; a copy with another fingerprint is rejected.
        folder: working directory of the driver, for relative paths.
        version: of echat_eval in the driver.
    """

    label: str
    packed: bytes
    fingerprint: str | None
    folder: str
    version: str = echat_eval.__version__


class Worker:
    """Owns a copy and runs the calls that the driver sends; each method may run on its own thread."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint = blueprint
        self._owner: Any = None
        self._closed = threading.Event()
        self._folder = fresh_folder()
        self._numbers = count()

    def location(self) -> tuple[str, int]:
        """Return the name of the machine and the process id."""
        return os.uname().nodename, os.getpid()

    def load(self) -> RemoteResult:
        """Build the copy and load it."""
        result = run_captured(self._load)
        if result.error is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        return result

    def call(self, method: str, message: bytes) -> bytes:
        """Call a method of the copy and return its packed `RemoteResult`."""
        with self._numbered_folder() as folder:
            result = run_captured(lambda: unpack(message, folder))
            if result.error is None:
                args, kwargs = result.value
                # Reflection is the point here: the driver sends the name of the method.
                result = run_captured(lambda: event_loop.call(getattr(self._owner, method), *args, **kwargs))
            try:
                # Inside the block: the reply may refer to the audio of the request.
                return pack(result)
            except Exception as error:  # noqa: BLE001  an adapter may return anything
                fault = f"{self._blueprint.label} returned a value that cannot be sent back: {error}"
                return pack(RemoteResult(error=RemoteError.of(TypeError(fault)), seconds=result.seconds))

    def watch(self) -> None:
        """Return once the copy is closed; the pending call reveals at once if the process dies."""
        self._closed.wait()

    def close(self) -> None:
        """Close the copy."""
        if isinstance(self._owner, Closable):
            event_loop.call(self._owner.close)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._closed.set()

    @contextmanager
    def _numbered_folder(self) -> Iterator[Path]:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _load(self) -> None:
        blueprint, machine = self._blueprint, os.uname().nodename
        if blueprint.version != echat_eval.__version__:
            raise UsageError(
                f"{machine} has echat-eval {echat_eval.__version__}, the driver {blueprint.version}; "
                "install the same version everywhere"
            )
        if os.path.isdir(blueprint.folder):
            os.chdir(blueprint.folder)
        try:
            folder = self._folder / str(next(self._numbers))
            folder.mkdir()  # kept until the copy is closed
            owner = unpack(blueprint.packed, folder)
            self._check_fingerprint(owner.fingerprint())
            if isinstance(owner, Loadable):
                event_loop.call(owner.load)
        except ModuleNotFoundError as error:
            raise NotInstalled(
                f"{blueprint.label} needs the package '{package_of(error)}', which is not installed on "
                f"{machine}; install the same packages everywhere"
            ) from error
        self._owner = owner

    def _check_fingerprint(self, fingerprint: str | None) -> None:
        blueprint = self._blueprint
        if fingerprint != blueprint.fingerprint:
            raise UsageError(
                f"{blueprint.label} has fingerprint {fingerprint} on {os.uname().nodename} and "
                f"{blueprint.fingerprint} in the driver; every machine needs the same weights and packages"
            )
