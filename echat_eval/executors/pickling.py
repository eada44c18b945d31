"""Serialisation of messages between the driver and its workers: configurations, calls, results and errors.

A message contains the bytes of audio files, because the machines need not share a disk. Only the driver and
its own workers unpack messages; data from elsewhere is never unpickled.
"""

from __future__ import annotations

import builtins
import io
import os
import pickle
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from echat_eval import errors
from echat_eval.records import AudioRef

__all__ = ["RemoteError", "RemoteResult", "fresh_folder", "pack", "run_captured", "unpack"]

#: Types that pickle does not support, and how to rebuild them. A free lock is equivalent to a new one.
_REDUCERS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    type(threading.Lock()): lambda _: (threading.Lock, ()),
    type(threading.RLock()): lambda _: (threading.RLock, ()),
    MappingProxyType: lambda mapping: (MappingProxyType, (dict(mapping),)),
}


def pack(value: Any) -> bytes:
    """Return a value as bytes, including the files of its AudioRefs.

    A file that cannot be read stays a reference, so that the code that reads it reports the error.

    Raises:
        Exception: any error of pickle, or of the value's own pickling hooks.
    """
    from ray import cloudpickle

    class Packer(cloudpickle.CloudPickler):  # type: ignore[misc]
        dispatch_table: ClassVar[dict[Any, Any]] = {**cloudpickle.CloudPickler.dispatch_table, **_REDUCERS}

        def persistent_id(self, item: Any) -> Any:
            if isinstance(item, AudioRef) and item.path.is_file():
                with suppress(OSError):
                    return item.sha256, item.seconds, item.path.name, item.path.read_bytes()
            return None

    buffer = io.BytesIO()
    Packer(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def unpack(message: bytes, folder: Path) -> Any:
    """Return the packed value; write its files into the folder, under their original names."""
    numbers = count()

    class Unpacker(pickle.Unpickler):
        def persistent_load(self, packed: Any) -> AudioRef:
            sha256, seconds, name, content = packed
            # Files of two replies of a batch may have the same name.
            path = folder / str(next(numbers)) / Path(name).name
            path.parent.mkdir()
            path.write_bytes(content)
            return AudioRef(path=path, sha256=sha256, seconds=seconds)

    return Unpacker(io.BytesIO(message)).load()


def fresh_folder() -> Path:
    """Create a temporary folder whose name differs from that of any other only in digits.

    Error messages may contain its path. They must compare equal between tries, which may run on different
    workers; `concurrency.retry` ignores digits.
    """
    folder = Path(tempfile.gettempdir()) / f"echat-eval-{os.getpid()}{time.monotonic_ns()}"
    folder.mkdir(mode=0o700)
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteError:
    """An error in a form that can be sent to another process.

    Attributes:
        name: name of its class.
        base: nearest base class from `echat_eval.errors` or Python's builtins, which every process has.
        message: text of the error.
        attributes: plain attributes, such as `retry_after`.
    """

    name: str
    base: type[BaseException]
    message: str
    attributes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, error: BaseException) -> RemoteError:
        """Return an error without its traceback and without attributes that cannot be pickled.

        >>> RemoteError.of(errors.Unavailable("busy", retry_after=3.0)).rebuild().retry_after
        3.0
        """
        shared = (kind for kind in type(error).__mro__ if kind.__module__ in (errors.__name__, "builtins"))
        plain = {k: v for k, v in vars(error).items() if v is None or isinstance(v, bool | int | float | str)}
        return cls(name=type(error).__name__, base=next(shared), message=str(error), attributes=plain)

    def rebuild(self) -> BaseException:
        """Return an error of the same class, or of a new class with the same name and the nearest base.

        >>> late = RemoteError.of(TimeoutError("late")).rebuild()
        >>> type(late).__name__, isinstance(late, TimeoutError), str(late)
        ('TimeoutError', True, 'late')
        """
        kind, message = self.base, self.message
        if self.name != kind.__name__ or kind.__module__ == builtins.__name__:
            # Python's own classes build their text from other arguments than one message.
            kind = type(self.name, (self.base,), {"__str__": lambda _: message})
        # Bypass the constructor, which may require other arguments.
        error = kind.__new__(kind)
        error.args = (message,)
        vars(error).update(self.attributes)
        return error


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteResult:
    """The result or the error of a call, and its duration in seconds in the worker."""

    value: Any = None
    error: RemoteError | None = None
    seconds: float = 0.0

    def result(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error.rebuild()
        return self.value


def run_captured(call: Callable[[], Any]) -> RemoteResult:
    """Call a function and return its result or its error."""
    started = time.monotonic()
    try:
        value = call()
    except StopIteration:  # a coroutine cannot raise it
        error: BaseException = RuntimeError("StopIteration")
        return RemoteResult(error=RemoteError.of(error), seconds=time.monotonic() - started)
    except BaseException as error:  # noqa: BLE001  raised again in the driver
        return RemoteResult(error=RemoteError.of(error), seconds=time.monotonic() - started)
    return RemoteResult(value=value, seconds=time.monotonic() - started)
