"""The entry of a model in a server's list of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.clients.http import get_once, raise_for_status
from echat_eval.clients.network import endpoint
from echat_eval.errors import EChatError
from echat_eval.io.jsonl import loads

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["listed_model"]

#: Seconds for the list, which must not delay a run by the time-out of a reply.
_MAX_SECONDS = 10.0


async def listed_model(
    base_url: str, headers: Mapping[str, str], model: str, *, timeout: float
) -> Mapping[str, Any] | None:
    """Return the entry of a model in the server's list, or None if there is none.

    The entry holds the name and properties such as a creation time, or the date of a planned shutdown. It is
    requested over a connection of its own.
    """
    url = endpoint(base_url, "models")
    try:
        answer = await get_once(url, headers=headers, timeout=min(_MAX_SECONDS, timeout), max_bytes=2**22)
        raise_for_status(answer, base_url)
        entry = next(entry for entry in loads(answer.body)["data"] if entry.get("id") == model)
    except (EChatError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return None
    return entry if isinstance(entry, dict) else None
