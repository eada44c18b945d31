"""Checks of every clip and group by instruments; a group that fails one is dropped with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.annotators.select import select_annotators
from echat_eval.concurrency import event_loop
from echat_eval.errors import NotApplicable
from echat_eval.io.audio import write_wav
from echat_eval.languages import supports
from echat_eval.ports import Closable, LanguageLimited
from echat_eval.records import Waveform
from echat_eval.scorers.error_rate import count_edits
from echat_eval.scorers.normalize import words
from echat_eval.testset.measures import measure, normal, unreadable_cues
from echat_eval.testset.plan import CHECKS
from echat_eval.testset.sentences import Dropped
from echat_eval.testset.vocoder import RATE

if TYPE_CHECKING:
    from echat_eval.records import AudioRef
    from echat_eval.testset.groups import Group
    from echat_eval.testset.plan import Plan

__all__ = ["ClipChecks"]


class ClipChecks:
    """The checks of a plan.

    Args:
        plan: names the checks with their limits, and the annotators that measure.
    """

    def __init__(self, plan: Plan) -> None:
        self.limits = dict(plan.checks)
        given = [{"use": _beside(plan, name), **settings} for name, settings in plan.annotators.items()]
        self.annotators = select_annotators(given, lambda note: None) if given else []
        self.numbers: dict[str, list[float]] = {name: [] for name in CHECKS}

    def facts(self) -> Mapping[str, object]:
        """Return what determines the outcome: limits, and the annotators with their settings."""
        annotators = {one.name: [one.version, one.fingerprint()] for one in self.annotators}
        return {"limits": self.limits, "annotators": annotators}

    def close(self) -> None:
        """Free the annotators."""
        for annotator in self.annotators:
            if isinstance(annotator, Closable):
                annotator.close()

    def fault_of(self, group: Group) -> Dropped | None:
        """Return the first check that a group fails; None if it passes all."""
        found = next(self._faults(group), None)
        return found and Dropped(stage="checks", id=group.id, reason=found[0], detail=found[1])

    def _faults(self, group: Group) -> Iterator[tuple[str, str]]:
        members = group.sentence.members
        if "measurable" in self.limits:
            measured = [measure(normal(clip)) for clip in group.clips]
            for a, b in combinations(range(len(members)), 2):
                for fault in unreadable_cues(measured[a], measured[b], members[a].cues, members[b].cues):
                    yield "not-measurable", fault
        if self.annotators:
            with TemporaryDirectory() as folder:
                for member, clip in zip(members, group.clips, strict=True):
                    samples = (clip / 32767).astype(np.float32)  # scaled as by `write_wav`
                    audio = write_wav(Waveform(samples=samples, sample_rate=RATE), Path(folder))
                    values = self._annotated(audio, group.sentence.language)
                    yield from self._transcribed(values, group)
                    yield from self._tagged(values, member.cues.get("event"))

    def _annotated(self, audio: AudioRef, language: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for annotator in self.annotators:
            if isinstance(annotator, LanguageLimited) and not supports(annotator.languages, language):
                continue
            try:
                values.update(event_loop.call(annotator.annotate, audio, language=language))
            except NotApplicable:
                continue
        return values

    def _transcribed(self, values: Mapping[str, Any], group: Group) -> Iterator[tuple[str, str]]:
        limit, hypothesis = self.limits.get("error_rate"), values.get("hypothesis")
        if limit is None or hypothesis is None:
            return
        language = group.sentence.language
        edits = count_edits(words(group.sentence.transcript, language), words(str(hypothesis), language))
        self.numbers["error_rate"].append(edits.percent)
        if edits.percent > limit:
            yield "not-understood", f"{edits.percent:.0f} % errors: {hypothesis!r}"

    def _tagged(self, values: Mapping[str, Any], event: str | None) -> Iterator[tuple[str, str]]:
        limit, tagged = self.limits.get("event_rank"), values.get("events")
        if limit is None or tagged is None or event in (None, "none"):
            return
        own = float(tagged.get(event, float("-inf")))
        higher = {label: float(v) for label, v in tagged.items() if float(v) > own}
        self.numbers["event_rank"].append(1 + len(higher))
        if len(higher) >= limit:
            first = max(higher, key=higher.__getitem__)
            yield "event-not-recognised", f"'{event}' has rank {1 + len(higher)}; {first} is first"


def _beside(plan: Plan, name: str) -> str:
    """Return an annotator's name; a file is relative to the plan."""
    return str(plan.path(name)) if ".py:" in name else name
