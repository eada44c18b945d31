"""Faults of this process and this machine: memory, threads, open files, disk, temporary folders."""

from __future__ import annotations

import errno
import re

from echat_eval.errors import SystemFailure

__all__ = ["is_own_fault", "names_own_fault"]

_ERRNOS = frozenset(
    {
        errno.ENOMEM,
        errno.EAGAIN,  # no further process or thread
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EIO,
        errno.ENOBUFS,
        errno.EADDRNOTAVAIL,  # no further port
    }
)
#: Words of libraries and programs for the same faults.
_WORDS = re.compile(
    r"\bMemoryError\b|bad_alloc|out of memory|cannot allocate memory|unable to allocate|not enough memory|"
    r"can'?t start new thread|pthread_create|resource temporarily unavailable|too many open files|"
    r"failed to map segment|no space left on device|disk quota exceeded|file too large|read-only file system|"
    r"no usable temporary directory",
    re.IGNORECASE,
)
#: Links of a chain of causes that are read.
_MAX_CHAIN = 20


def is_own_fault(error: BaseException) -> bool:
    """Return whether an error, or one that led to it, is a fault of this process or machine.

    The words of a `SystemFailure` are the system's own and do not count.

    >>> is_own_fault(RuntimeError("can't start new thread")), is_own_fault(RuntimeError("no model"))
    (True, False)
    """
    link: BaseException | None = error
    for _ in range(_MAX_CHAIN):
        if link is None:
            return False
        if isinstance(link, MemoryError) or (isinstance(link, OSError) and link.errno in _ERRNOS):
            return True
        if not isinstance(link, SystemFailure) and names_own_fault(str(link)):
            return True
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return False


def names_own_fault(text: str) -> bool:
    """Return whether a text, such as the end of a program's stderr, names such a fault.

    >>> names_own_fault("OSError: [Errno 28] No space left on device")
    True
    """
    return _WORDS.search(text) is not None
