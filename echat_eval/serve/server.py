"""Listening, and ending in order: what is in progress is finished, and nothing new is taken."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from echat_eval.errors import UsageError
from echat_eval.serve.app import build_app
from echat_eval.serve.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from echat_eval.serve.answerer import Answerer
    from echat_eval.serve.limits import Limits

__all__ = ["EvalServer", "listen"]

logger = logging.getLogger(__name__)

#: Connections above the limit that still get an answer, such as of a health check.
_SPARE_CONNECTIONS = 64
#: Seconds between two looks at what is in progress.
_POLL = 0.05
#: Seconds for closing frames and last bytes after everything has ended.
_CLOSE_SECONDS = 2
#: Beginnings of uvicorn's lines that say nothing true, or nothing new.
_DROPPED = ("ASGI callable returned without completing handshake", "Cancel %s running task(s)")


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket, before a model is loaded for nothing.

    Args:
        port: 0 for any free port.

    Raises:
        UsageError: the address is taken, or not one of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        with contextlib.ExitStack() as stack:
            bound = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
            stack.pop_all()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot listen on {host}:{port}: {reason}; set --host or --port") from error
    return bound


class EvalServer:
    """The server around a model.

    Args:
        bound: as `listen` returns it.
        key: that clients must present; None for none.
        loopback: see `build_app`.

    Attributes:
        service: the state, on the server's event loop.
        is_cut: replies were given up at the end, or cut by their time limit.
    """

    def __init__(
        self,
        answerer: Answerer,
        limits: Limits,
        bound: socket.socket,
        *,
        key: str | None = None,
        loopback: bool = True,
    ) -> None:
        self._bound, self._limits = bound, limits
        self.service = Service(answerer, limits)
        self.is_cut = False
        config = uvicorn.Config(
            build_app(self.service, key=key, loopback=loopback),
            ws="websockets-sansio",
            http="h11",
            lifespan="off",
            log_config=None,
            log_level=logging.ERROR,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limits.connections + _SPARE_CONNECTIONS,
            ws_max_size=limits.body_bytes,
            timeout_graceful_shutdown=_CLOSE_SECONDS,
        )
        logging.getLogger("uvicorn.error").addFilter(_OWN_WORDS)
        self._server = _Server(config, self.end)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = 0

    @property
    def started(self) -> bool:
        """Return whether connections are accepted."""
        return self._server.started

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port."""
        host, port = self._bound.getsockname()[:2]
        return host, port

    def run(self) -> None:
        """Serve until `end` is called, or the process gets SIGINT, SIGTERM or SIGHUP in its main thread."""
        hangs_up = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGHUP)
        if hangs_up and before is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._server.handle_exit)
        try:
            asyncio.run(self._run())
        finally:
            if hangs_up:
                signal.signal(signal.SIGHUP, before)

    def end(self) -> None:
        """Finish what is in progress and end; the second call gives it up. Callable from any thread."""
        self._asked += 1
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self.service.drain)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        serving = asyncio.ensure_future(self._server.serve([self._bound]))
        try:
            while not serving.done() and not self._asked:
                await asyncio.wait({serving}, timeout=_POLL)
            self.service.drain()
            await self._finish()
        finally:
            self._server.should_exit = True
            await serving
            self.service.close()

    async def _finish(self) -> None:
        """Wait for what is in progress, until the time is over or a second signal arrives."""
        end = asyncio.get_running_loop().time() + self._limits.grace_seconds
        while self.service.active and self._asked < 2 and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(_POLL)
        self.is_cut = self.service.active > 0 or self.service.has_cut
        if self.service.active:
            self.service.give_up()
            end = asyncio.get_running_loop().time() + _CLOSE_SECONDS
            while self.service.active and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(_POLL)


class _OwnWords(logging.Filter):
    """Drops uvicorn's lines on what this server does on purpose: refuse a handshake, give up replies."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is kept."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, asyncio.CancelledError) and not str(record.msg).startswith(_DROPPED)


_OWN_WORDS = _OwnWords()


class _Server(uvicorn.Server):
    """Hands signals to its owner; uvicorn itself would close the port at once."""

    def __init__(self, config: uvicorn.Config, on_signal: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_signal = on_signal

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end."""
        logger.info("signal %s", signal.Signals(sig).name)
        self._on_signal()
