"""Stands for a system or an annotator whose copies answer elsewhere; the stages see no difference."""

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

if TYPE_CHECKING:
    from echat_eval.executors.pool import Pool

__all__ = ["RemoteProxy"]


class RemoteProxy:
    """Has the name, settings, fingerprint and whatever else its owner has, so that rows have the same keys.

    Args:
        owner: a system or annotator as it would run here; it is never loaded.
        pool: of its copies.
        calls_at_once: of all copies together.
    """

    def __init__(self, owner: Any, *, pool: Pool, calls_at_once: int) -> None:
        self._owner, self._pool = owner, pool
        self.calls_at_once = calls_at_once
        self._numbers = count()
        # Only what the owner offers, for the stages look whether it is there.
        for method in ("respond", "respond_batch", "annotate", "annotate_batch"):
            if hasattr(owner, method):
                setattr(self, method, partial(self._ask, method))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._owner, name)

    async def load(self) -> None:
        """Have the copies built and loaded."""
        self._folder = fresh_folder()
        await self._pool.load()

    async def close(self) -> None:
        """Let the copies go."""
        await self._pool.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _ask(self, method: str, *given: Any, **named: Any) -> Any:
        """Have a copy make a call, and return or raise what came of it.

        Sound in a reply lies in a folder that goes when the task that asks is done: by then the stage
        has stored it.
        """
        begun = time.monotonic()
        answer: RemoteResult = unpack(await self._pool.call(method, pack((given, named))), self._place())
        # The way there and the wait for a free copy are no latency of the system's.
        exclude_from_latency(time.monotonic() - begun - answer.seconds)
        return answer.result()

    def _place(self) -> Path:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: shutil.rmtree(folder, ignore_errors=True))
        return folder
