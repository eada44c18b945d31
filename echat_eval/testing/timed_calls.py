"""Calls with a time limit, for conformance checks of code that may hang."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["TimedCalls"]


class TimedCalls:
    """Makes calls that end after a time limit at the latest.

    Args:
        seconds: time limit of a call.

    Attributes:
        hung: a call did not end and stays on its thread, so the part must not be called again.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.hung = False

    def call(self, call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        """Return the result of a call, or None and its error."""
        results: list[tuple[Any, BaseException | None]] = []

        def work() -> None:
            try:
                results.append((call(), None))
            except BaseException as error:  # noqa: BLE001  the error becomes a finding
                results.append((None, error))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(self.seconds)
        if not results:
            self.hung = True
            return None, TimeoutError(f"no reply in {self.seconds:g} s; add a time-out to the adapter")
        return results[0]
