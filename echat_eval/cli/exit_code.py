"""The exit code, whatever libraries do at the end of the process.

Where the address space is limited (`ulimit -v`), libraries such as OpenBLAS end the process with code 1 when
they get no memory. Here, 1 means "regress".
"""

from __future__ import annotations

import atexit
import ctypes
import os
import resource
import signal
import sys
from typing import NoReturn

from echat_eval.cli.terminal import flush
from echat_eval.errors import Exit

__all__ = ["end_now", "guard_exit_code", "leave"]

_guarded = False


def guard_exit_code() -> None:
    """Let a library that ends the process do so with `Exit.CANNOT_TELL`, if the address space is limited."""
    global _guarded
    if _guarded or resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        return
    libc = ctypes.CDLL(None)
    # C's exit() calls _exit(3); only `leave` ends the process in another way.
    _guarded = libc["__cxa_atexit"](libc["_exit"], ctypes.c_void_p(int(Exit.CANNOT_TELL)), None) == 0


def leave(code: int) -> NoReturn:
    """End the process with a code."""
    if _guarded or code == Exit.INTERRUPTED:
        end_now(code)
    sys.exit(code)


def end_now(code: int) -> NoReturn:
    """End the process and wait for no thread: some libraries abort it while a call of theirs is abandoned."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # once more cannot end it with another code
    atexit._run_exitfuncs()  # as the interpreter does when it ends
    flush()
    os._exit(code)
