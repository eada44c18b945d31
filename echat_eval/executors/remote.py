"""A proxy for a system or an annotator whose copies run on workers; the stages need not distinguish them."""

from __future__ import annotations

import asyncio
import shutil
import time
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.concurrency.limiter import exclude_from_latency
from echat_eval.executors.pickling import RemoteResult, fresh_folder, pack, unpack
from echat_eval.plugins import present_members
from echat_eval.ports import (
    Annotator,
    BatchAnnotator,
    BatchSystem,
    CachedReplies,
    DialogueLimited,
    LanguageLimited,
    Licensed,
    RoleMarked,
    System,
)

if TYPE_CHECKING:
    from echat_eval.executors.pool import Pool

__all__ = ["RemoteProxy"]


#: Protocols that a proxy can have; the other abilities are its own or concern the driver.
_PORTS = (
    System,
    Annotator,
    BatchSystem,
    BatchAnnotator,
    CachedReplies,
    DialogueLimited,
    LanguageLimited,
    Licensed,
    RoleMarked,
)
#: Methods that a copy carries out.
_REMOTE = ("respond", "respond_batch", "annotate", "annotate_batch")


class RemoteProxy:
    """A proxy with the name, settings, fingerprint and other attributes of its owner.

    Rows therefore have the same keys as in a local run.

    Args:
        owner: the local system or annotator; never loaded.
        pool: the workers of its copies.
        calls_at_once: limit for all copies together.
    """

    def __init__(self, owner: Any, *, pool: Pool, calls_at_once: int) -> None:
        self._owner, self._pool = owner, pool
        self.calls_at_once = calls_at_once
        self._numbers = count()
        # A session would have to stay with one copy; each turn carries its history instead.
        self.holds_sessions = False
        # The proxy has exactly the abilities of its owner, because the stages test for them. Instance
        # attributes, because a test for a protocol need not call `__getattr__`.
        for name, member in present_members(owner, *_PORTS).items():
            self.__dict__[name] = partial(self._call, name) if name in _REMOTE else member

    def __getattr__(self, name: str) -> Any:
        return getattr(self._owner, name)

    async def load(self) -> None:
        """Build and load the copies."""
        self._folder = fresh_folder()
        await self._pool.load()

    async def close(self) -> None:
        """Close the copies."""
        await self._pool.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of a copy, and return its result or raise its error.

        The audio of a reply is in a folder that is removed when the calling task ends; by then the stage has
        stored it.
        """
        started = time.monotonic()
        message = await self._pool.call(method, pack((args, kwargs)))
        result: RemoteResult = unpack(message, self._temporary_folder())
        # Transfer and waiting for a free copy are not part of the system's latency.
        exclude_from_latency(time.monotonic() - started - result.seconds)
        return result.result()

    def _temporary_folder(self) -> Path:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: shutil.rmtree(folder, ignore_errors=True))
        return folder
