"""Limits on memory: work is refused while the process can still report it."""

from __future__ import annotations

import os

try:
    import resource
except ImportError:  # Windows has no such limits
    _LIMITED = False
else:
    _LIMITED = True

__all__ = ["RESERVE", "demand_memory"]

#: Bytes of address space that must be left before a call or a thread starts. Without memory, native libraries
#: crash, a new thread ends before its first step, and an event loop loses the callback that would end a wait.
RESERVE = 64 * 2**20
_STATM = "/proc/self/statm"


def demand_memory(needed: int = RESERVE) -> None:
    """Refuse further work if a limit on the address space (`ulimit -v`) leaves fewer bytes than it needs.

    Costs a microsecond without such a limit, and a read of /proc with one. A limit that the system enforces
    by killing the process (a container's) cannot be foreseen; what is finished then stays.

    Raises:
        MemoryError: less than `needed` is left; the message has both numbers.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0] if _LIMITED else -1
    if limit < 0:
        return
    left = limit - _address_space()
    if left < needed:
        raise MemoryError(
            f"out of memory: {max(left, 0) // 2**20} MiB are left of the limit of {limit // 2**20} MiB "
            f"(ulimit -v), work needs at least {needed // 2**20}"
        )


def _address_space() -> int:
    """Return the bytes of address space in use, or 0 where the system does not tell."""
    try:
        with open(_STATM, "rb") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
