"""The base of all scripted parts: identity, delays, failures, a script, and records of calls."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from echat_eval.errors import UsageError

__all__ = ["Delay", "ScriptedPart"]

#: Seconds that a call takes, also as a function of the request, the recording or the cases.
Delay = float | Callable[[Any], float]


class ScriptedPart:
    """A part that records its calls, and can be slow, concurrent or faulty.

    Attributes:
        calls_at_once: maximum number of concurrent calls.
        fingerprint_value, settings_value: returned by `fingerprint` and `settings`; a test may replace them.
        call_sizes: number of items of each call; 1 for a single call.
        max_busy: the most calls that were in progress at once.
        loads, closes: number of calls of `load` and `close`.
        events: "load NAME", "respond NAME", "annotate NAME", "score NAME" and "close NAME", in order; parts
            with the same list share one order.
    """

    #: The name of a call in `events`; what the part returns, and for what, in messages.
    verb, results, item = "call", "results", "item"

    def __init__(
        self,
        name: str,
        *,
        fingerprint: Any,
        settings: Mapping[str, Any] | None,
        calls_at_once: int = 1,
        seconds: Delay = 0.0,
        failures: Sequence[BaseException] = (),
        events: list[str] | None = None,
    ) -> None:
        self.name = name
        self.calls_at_once = calls_at_once
        self.fingerprint_value = fingerprint
        self.settings_value: Mapping[str, Any] = dict(settings or {})
        self.call_sizes: list[int] = []
        self.max_busy = self.loads = self.closes = 0
        self.events: list[str] = [] if events is None else events
        self._seconds = seconds
        self._failures = list(failures)
        self._busy = self._position = 0
        self._lock = threading.Lock()

    def load(self) -> Any:
        """Count the call."""
        self.loads += 1
        self.events.append(f"load {self.name}")

    def close(self) -> Any:
        """Count the call."""
        self.closes += 1
        self.events.append(f"close {self.name}")

    def settings(self) -> Mapping[str, Any]:
        """Return the settings that the test gave."""
        return self.settings_value

    def fingerprint(self) -> Any:
        """Return the fingerprint that the test gave."""
        return self.fingerprint_value

    @contextmanager
    def _called(self, record: list[Any], items: Sequence[Any], delay_of: Any = None) -> Iterator[None]:
        """Record a call while it is in progress; raise the failure that the script has for it, and wait.

        Args:
            delay_of: in place of the items, what the delay is a function of.
        """
        with self._recorded(record, items):
            time.sleep(self._delay(items if delay_of is None else [delay_of]))
            self.events.append(f"{self.verb} {self.name}")
            yield

    @asynccontextmanager
    async def _called_async(
        self, record: list[Any], items: Sequence[Any], delay_of: Any = None
    ) -> AsyncIterator[None]:
        """As `_called`, in a coroutine."""
        with self._recorded(record, items):
            await asyncio.sleep(self._delay(items if delay_of is None else [delay_of]))
            self.events.append(f"{self.verb} {self.name}")
            yield

    @contextmanager
    def _recorded(self, record: list[Any], items: Sequence[Any]) -> Iterator[None]:
        with self._lock:
            self.call_sizes.append(len(items))
            record.extend(items)
            self._busy += 1
            self.max_busy = max(self.max_busy, self._busy)
            failure = self._failures.pop(0) if self._failures else None
        try:
            if failure is not None:
                raise failure
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def _delay(self, items: Sequence[Any]) -> float:
        seconds = self._seconds
        return max(map(seconds, items), default=0.0) if callable(seconds) else seconds

    def _in_order(self, script: Sequence[Any]) -> Any:
        """Return the next entry of a script.

        Raises:
            UsageError: it is used up, which stops the run.
        """
        with self._lock:
            position, self._position = self._position, self._position + 1
        if position >= len(script):
            raise UsageError(f"{self.name} has {len(script)} {self.results} and received another {self.item}")
        return script[position]

    def _offer(self, **members: Any) -> None:
        """Set members of optional abilities, except those that a subclass defines."""
        own = dir(type(self))
        self.__dict__.update({name: member for name, member in members.items() if name not in own})
