"""Reuse of responses and annotations of earlier runs through the cache.

Only rows with state "value" are stored: errors are not results, and "not applicable" costs nothing to
determine again. Times of another run are dropped, so a reused reply has no `seconds`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from echat_eval.ports import has_cached_replies
from echat_eval.records import AudioRef
from echat_eval.store import serialize

if TYPE_CHECKING:
    from echat_eval.ports import Oracle, System
    from echat_eval.records import Annotation, Response
    from echat_eval.store.cache import Cache
    from echat_eval.store.run_folder import RunFolder

__all__ = ["ReuseIndex", "is_reusable"]


def is_reusable(system: System | Oracle, fingerprint: str | None) -> bool:
    """Return whether another run may reuse a system's replies.

    A system without a fingerprint may have changed under the same name.
    """
    return fingerprint is not None and has_cached_replies(system)


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
        for name in ("key", "system", "task", "sample_id", "repeat", "state", "seconds", "reason"):
            row.pop(name, None)
        for timing in ("first_audio_seconds", "first_audible_seconds", "round_trip_seconds"):
            row["reply"].pop(timing, None)
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
