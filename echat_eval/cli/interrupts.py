"""TERM and HUP act as Ctrl-C: a scheduler, a container or a closing terminal interrupts as a user does.

Ctrl-C lets the calls in flight finish, and a second one abandons them. Senders of TERM and HUP do not send
them twice, but KILL after a while, so that the second one comes by itself.
"""

from __future__ import annotations

import _thread
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["GRACE", "interruptible"]

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
#: Seconds for calls in flight after TERM or HUP; docker sends KILL after 10, Slurm after 30.
GRACE = 5.0


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread at TERM and HUP, unless they are ignored, as under nohup."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    again: list[threading.Timer] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not again:
            again.append(threading.Timer(GRACE, _thread.interrupt_main, [number]))
            again[0].daemon = True
            again[0].start()
        signal.default_int_handler(number, frame)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for timer in again:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
