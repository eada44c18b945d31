"""The user's cache, opened for a command."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from echat_eval.store.cache import Cache, cache_folder
from echat_eval.store.cache_prune import DEFAULT_LIMIT, prune

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["open_cache", "shared_cache"]


def open_cache(environ: Mapping[str, str]) -> Cache:
    """Return the user's cache; environment variables set its folder."""
    return Cache(cache_folder(environ))


@contextmanager
def shared_cache(environ: Mapping[str, str], *, enabled: bool = True) -> Iterator[Cache | None]:
    """Open the user's cache for the block, and prune it to its default size at the end if it has grown.

    Args:
        environ: environment variables; they set the folder.
        enabled: if False, yield None.
    """
    if not enabled:
        yield None
        return
    with open_cache(environ) as cache:
        yield cache
        if cache.changed:
            prune(cache, limit=DEFAULT_LIMIT, compact=False)
