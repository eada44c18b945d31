"""Rows that need not be made again, because another run made them: taken from the cache, and given to it.

Only values are kept. An error is no result, and what is not applicable is found out again at no cost.
What was measured elsewhere is not measured here: a reply from the cache has no seconds.
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

__all__ = ["ReuseIndex", "add_tally", "may_be_kept"]


def may_be_kept(system: Any, fingerprint: str | None) -> bool:
    """Return whether a system's replies may answer another run.

    A system without a fingerprint may have changed behind its name. One says `cached = False` where its
    fingerprint does not see all that it answers by, or where it is quicker than looking it up.
    """
    return fingerprint is not None and bool(getattr(system, "cached", True))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseIndex:
    """What one run may take from a cache, and gives to it.

    Attributes:
        cache: None: nothing is found and nothing is kept.
        run: whose rows and audio they become.
    """

    cache: Cache | None
    run: RunFolder

    def knows(self, blank: Response) -> bool:
        """Return whether a row is there, without taking it or counting it as a hit."""
        return self.cache is not None and self.cache.has("response", blank.key)

    def response(self, blank: Response) -> Response | None:
        """Return the row of `blank.key`, its audio stored in the run folder; None if it is not known."""
        if self.cache is None or (found := self.cache.get("response", blank.key, of=blank.system)) is None:
            return None
        try:
            row = {
                **found,
                "key": blank.key,
                "system": blank.system,
                "task": blank.task,
                "sample_id": blank.sample_id,
                "state": "value",
                "cached": True,
            }
            made = serialize.response_from(row, self.run.path)
        except (TypeError, KeyError, ValueError):
            self.cache.forget("response", blank.key, of=blank.system)
            return None
        audio = made.reply.audio if made.reply is not None else None
        if isinstance(audio, AudioRef) and not self.cache.take_audio(audio.sha256, audio.path):
            self.cache.forget("response", blank.key, of=blank.system)
            return None
        return made

    def keep_response(self, response: Response) -> None:
        """Keep a reply, if it is one."""
        if self.cache is None or response.state != "value" or response.cached or response.reply is None:
            return
        row = serialize.row_of_response(response, self.run.path)
        for own in ("key", "system", "task", "sample_id", "state", "seconds", "reason"):
            row.pop(own, None)
        row["reply"].pop("first_audio_seconds", None)
        audio = response.reply.audio
        if isinstance(audio, AudioRef):
            self.cache.put_audio(audio.path, audio.sha256)
            self.cache.put("response", response.key, row, of=response.system, audio=audio.sha256)
        else:
            self.cache.put("response", response.key, row, of=response.system)

    def annotation(self, blank: Annotation) -> Annotation | None:
        """Return what an annotator heard in these bytes before; None if it is not known."""
        if self.cache is None or not blank.key:
            return None
        found = self.cache.get("annotation", blank.key, of=blank.annotator)
        return None if found is None else replace(blank, state="value", reason=None, values=found)

    def keep_annotation(self, annotation: Annotation) -> None:
        """Keep what was heard, if something was."""
        if self.cache is not None and annotation.state == "value":
            self.cache.put("annotation", annotation.key, dict(annotation.values), of=annotation.annotator)


def add_tally(manifest: dict[str, Any], tally: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    """Add one command's hits and stored rows to those of the commands before it."""
    for kind, names in tally.items():
        for name, counts in names.items():
            known = manifest.setdefault("cache", {}).setdefault(kind, {}).setdefault(name, {})
            for what, count in counts.items():
                known[what] = known.get(what, 0) + count
