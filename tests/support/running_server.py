"""The server in a thread of the test, on a free port of this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from echat_eval.serve.answerer import Answerer
from echat_eval.serve.limits import Limits
from echat_eval.serve.server import EvalServer, listen


class RunningServer:
    """A running server.

    Attributes:
        url: "http://127.0.0.1:PORT/v1".
    """

    def __init__(self, answerer: Answerer, **limits: Any) -> None:
        key = limits.pop("key", None)
        self.answerer = answerer
        self.server = EvalServer(answerer, Limits(**limits), listen("127.0.0.1", 0), key=key)
        self.thread = threading.Thread(target=self.server.run)
        self.root = f"http://127.0.0.1:{self.server.address[1]}"
        self.url, self.live = f"{self.root}/v1", f"ws{self.root[4:]}/v1/realtime"

    def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "the condition did not come true"
            time.sleep(0.01)


@contextmanager
def served(answerer: Answerer, **limits: Any) -> Iterator[RunningServer]:
    """Yield a running server; afterwards nothing may be in progress."""
    running = RunningServer(answerer, **limits)
    running.thread.start()
    try:
        running.until(lambda: running.server.started)
        yield running
        running.until(lambda: running.server.service.active == 0)
        running.until(lambda: (answerer.load().running, answerer.load().waiting) == (0, 0))
    finally:
        running.server.end()
        running.server.end()
        running.thread.join(20)
    assert not running.thread.is_alive()
