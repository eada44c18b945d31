"""What travels between the driver and a copy: configurations, calls, answers and errors, as bytes.

Sound travels by its bytes, because the machines need not share a disk. Who unpacks a parcel is the
driver or one of its own workers; nothing from outside is ever unpickled.
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

__all__ = ["Caught", "RemoteResult", "answer_of", "fresh_folder", "pack", "unpack"]

#: What pickle cannot take and what it becomes: a lock nobody holds is as good as a new one.
_REDUCED: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    type(threading.Lock()): lambda _: (threading.Lock, ()),
    type(threading.RLock()): lambda _: (threading.RLock, ()),
    MappingProxyType: lambda mapping: (MappingProxyType, (dict(mapping),)),
}


def pack(value: Any) -> bytes:
    """Return a value as bytes; the files of its AudioRefs go with it.

    A file that cannot be read stays a reference, to be complained of where it is looked at.

    Raises:
        whatever pickle says of what it cannot take.
    """
    from ray import cloudpickle

    class Packer(cloudpickle.CloudPickler):  # type: ignore[misc]
        dispatch_table: ClassVar[dict[Any, Any]] = {**cloudpickle.CloudPickler.dispatch_table, **_REDUCED}

        def persistent_id(self, found: Any) -> Any:
            if isinstance(found, AudioRef) and found.path.is_file():
                with suppress(OSError):
                    return found.sha256, found.seconds, found.path.name, found.path.read_bytes()
            return None

    buffer = io.BytesIO()
    Packer(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def unpack(parcel: bytes, folder: Path) -> Any:
    """Return what was packed; its files are put into the folder, each under the name it had.

    A query's name is its hash.
    """
    numbers = count()

    class Unpacker(pickle.Unpickler):
        def persistent_load(self, enclosed: Any) -> AudioRef:
            sha256, seconds, name, content = enclosed
            # Two replies of one batch may be named alike.
            path = folder / str(next(numbers)) / Path(name).name
            path.parent.mkdir()
            path.write_bytes(content)
            return AudioRef(path=path, sha256=sha256, seconds=seconds)

    return Unpacker(io.BytesIO(parcel)).load()


def fresh_folder() -> Path:
    """Make a folder that differs from every other one's in digits alone.

    An error may name a file in it, and must be known for the same error on the next try, which may be
    another worker's (see `attempts`).
    """
    folder = Path(tempfile.gettempdir()) / f"echat-eval-{os.getpid()}{time.monotonic_ns()}"
    folder.mkdir(mode=0o700)
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """An error as it is told to another process.

    Attributes:
        name: of its class.
        base: the nearest class that every process knows, one of `echat_eval.errors` or of Python's own.
        message: what it says.
        facts: its plain attributes, such as `retry_after`.
    """

    name: str
    base: type[BaseException]
    message: str
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, error: BaseException) -> Caught:
        """Return an error without its trace, and without anything that cannot travel.

        >>> Caught.of(errors.Unavailable("busy", retry_after=3.0)).again().retry_after
        3.0
        """
        known = (kind for kind in type(error).__mro__ if kind.__module__ in (errors.__name__, "builtins"))
        facts = {k: v for k, v in vars(error).items() if v is None or isinstance(v, bool | int | float | str)}
        return cls(name=type(error).__name__, base=next(known), message=str(error), facts=facts)

    def again(self) -> BaseException:
        """Return an error of the same class, or else of a class of the same name and the nearest base.

        >>> late = Caught.of(TimeoutError("late")).again()
        >>> type(late).__name__, isinstance(late, TimeoutError), str(late)
        ('TimeoutError', True, 'late')
        """
        kind, message = self.base, self.message
        if self.name != kind.__name__ or kind.__module__ == builtins.__name__:
            # Python's own classes make their text of other arguments than one message.
            kind = type(self.name, (self.base,), {"__str__": lambda _: message})
        # Past the constructor, which may want to be called otherwise.
        error = kind.__new__(kind)
        error.args = (message,)
        vars(error).update(self.facts)
        return error


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteResult:
    """What came of a call, and the seconds it took where it was made."""

    value: Any = None
    error: Caught | None = None
    seconds: float = 0.0

    def result(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error.again()
        return self.value


def answer_of(call: Callable[[], Any]) -> RemoteResult:
    """Call, and return what came of it, whatever that is."""
    begun = time.monotonic()
    try:
        value = call()
    except StopIteration:  # which no coroutine can raise
        return RemoteResult(error=Caught.of(RuntimeError("StopIteration")), seconds=time.monotonic() - begun)
    except BaseException as error:  # noqa: BLE001  it is raised again where the call was asked for
        return RemoteResult(error=Caught.of(error), seconds=time.monotonic() - begun)
    return RemoteResult(value=value, seconds=time.monotonic() - begun)
