"""Reuse of responses and annotations of earlier runs through the cache.

Only rows with state "value" are stored: errors are not results, and "not applicable" costs nothing to
determine again. Times of another run are dropped, so a reused reply has no `seconds`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from echat_eval.records import AudioRef
from echat_eval.store import serialize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.records import Annotation, Response
    from echat_eval.store.cache import Cache
    from echat_eval.store.run_folder import RunFolder

__all__ = ["ReuseIndex", "add_tally", "is_reusable"]


def is_reusable(system: Any, fingerprint: str | None) -> bool:
    """Return whether another run may reuse a system's replies.

    A system without a fingerprint may have changed under the same name. A system sets `cached = False` if its
    fingerprint does not cover everything that determines its replies, or if it is faster than a look-up.
    """
    return fingerprint is not None and bool(getattr(system, "cached", True))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseIndex:
    """The rows that one run can reuse from the cache, and stores for other runs.

    Attributes:
        cache: None: no row is found and none is stored.
        run: receives the reused rows and their audio.
    """

    cache: Cache | None
    run: RunFolder

    def contains(self, pending: Response) -> bool:
        """Return whether there is a row for a pending response, without counting a hit."""
        return self.cache is not None and self.cache.has("response", pending.key)

    def response(self, pending: Response) -> Response | None:
        """Return the response with the key of a pending one, its audio copied to the run folder, or None."""
        if self.cache is None:
            return None
        row = self.cache.get("response", pending.key, owner=pending.system)
        if row is None:
            return None
        try:
            response = serialize.response_from(
                {
                    **row,
                    "key": pending.key,
                    "system": pending.system,
                    "task": pending.task,
                    "sample_id": pending.sample_id,
                    "state": "value",
                    "cached": True,
                },
                self.run.path,
            )
        except (TypeError, KeyError, ValueError):
            self.cache.forget("response", pending.key, owner=pending.system)
            return None
        audio = response.reply.audio if response.reply is not None else None
        if isinstance(audio, AudioRef) and not self.cache.take_audio(audio.sha256, audio.path):
            self.cache.forget("response", pending.key, owner=pending.system)
            return None
        return response

    def store_response(self, response: Response) -> None:
        """Store a response if it has a reply of this run."""
        if self.cache is None or response.state != "value" or response.cached or response.reply is None:
            return
        row = serialize.row_of_response(response, self.run.path)
        for name in ("key", "system", "task", "sample_id", "state", "seconds", "reason"):
            row.pop(name, None)
        row["reply"].pop("first_audio_seconds", None)
        audio = response.reply.audio
        if isinstance(audio, AudioRef):
            self.cache.put_audio(audio.path, audio.sha256)
            self.cache.put("response", response.key, row, owner=response.system, audio=audio.sha256)
        else:
            self.cache.put("response", response.key, row, owner=response.system)

    def annotation(self, pending: Annotation) -> Annotation | None:
        """Return the annotation with the key of a pending one, or None."""
        if self.cache is None or not pending.key:
            return None
        values = self.cache.get("annotation", pending.key, owner=pending.annotator)
        return None if values is None else replace(pending, state="value", reason=None, values=values)

    def store_annotation(self, annotation: Annotation) -> None:
        """Store an annotation if it has values."""
        if self.cache is not None and annotation.state == "value":
            self.cache.put("annotation", annotation.key, dict(annotation.values), owner=annotation.annotator)


def add_tally(manifest: dict[str, Any], tally: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    """Add the hits and stored rows of one command to the totals in the manifest."""
    for kind, owners in tally.items():
        for owner, counts in owners.items():
            totals = manifest.setdefault("cache", {}).setdefault(kind, {}).setdefault(owner, {})
            for event, count in counts.items():
                totals[event] = totals.get(event, 0) + count
