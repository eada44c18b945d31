"""A task as the checks see it: its samples, their sentences and speakers, and its labels as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.labels.declared import cues_of
from echat_eval.scorers.normalize import normalised
from echat_eval.stats import as_design, units_of
from echat_eval.stats.clusters import linked
from echat_eval.stats.factors import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from echat_eval.records import Cue, Sample
    from echat_eval.stats import Design

    Codes = NDArray[np.int64]

__all__ = ["FEWEST_GROUPS", "Labelled", "TaskData", "text_of"]

#: Fewer groups show nothing about others.
FEWEST_GROUPS = 6


def text_of(sample: Sample) -> str:
    """Return all words that come with a sample: the earlier turns and the transcript."""
    turns = [turn.text or "" for turn in (*sample.history, *(sample.turns or ()))]
    return " ".join([*turns, sample.transcript])


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """The samples that have one cue.

    Attributes:
        cue: the cue.
        rows: (samples,) their positions in the task.
        labels: labels that occur, in the order of the cue.
        codes: (samples,) positions in `labels`.
        groups: (samples,) numbers from 0 of the contrast groups, sentences and near-duplicates they are in.
    """

    cue: Cue
    rows: Codes
    labels: tuple[str, ...]
    codes: Codes
    groups: Codes

    @property
    def chance(self) -> float:
        """Return the macro recall, in percent, of a guess that does not depend on the sample."""
        return 100.0 / len(self.labels)

    def testable(self) -> Labelled:
        """Return the samples with labels that enough groups have to show more than chance.

        A label of two groups would make the interval of a macro recall cover everything.
        """
        for fewest in (FEWEST_GROUPS, 2):
            counts = [len(np.unique(self.groups[self.codes == code])) for code in range(len(self.labels))]
            kept = [code for code, count in enumerate(counts) if count >= fewest]
            if len(kept) > 1:
                break
        keep = np.isin(self.codes, kept)
        return replace(
            self,
            rows=self.rows[keep],
            labels=tuple(self.labels[code] for code in kept),
            codes=np.searchsorted(kept, self.codes[keep]).astype(np.int64),
            groups=numbered(self.groups[keep]) if keep.any() else self.groups[keep],
        )

    @property
    def group_count(self) -> int:
        """Return the number of groups."""
        return int(self.groups.max(initial=-1)) + 1


class TaskData:
    """A task folder's samples for the checks.

    Args:
        samples: of one task, in the order of the file.
        cues: names of the task's cues.
        alike: (samples,) numbers from 0, equal for near-duplicate words. None: no words are.
    """

    def __init__(self, samples: Sequence[Sample], cues: Sequence[str], alike: Codes | None = None) -> None:
        self.samples = tuple(samples)
        self.cues = tuple(cues)
        self._alike = alike

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def design(self) -> Design:
        """Return the speakers and sentences of the samples."""
        return as_design(list(units_of(self.samples).values()))

    @cached_property
    def groups(self) -> Codes:
        """Return the group of every sample, (samples,): linked by contrast group, equal or similar words."""
        words = numbered([normalised(text_of(sample)) or sample.id for sample in self.samples])
        return linked([self.design.sentences, words, *([] if self._alike is None else [self._alike])])

    @cached_property
    def known_cues(self) -> Mapping[str, Cue]:
        """Return name -> definition of every cue of the samples."""
        return cues_of(self.samples)

    @cached_property
    def has_speakers(self) -> bool:
        """Return whether every sample states its speaker."""
        return all(sample.speaker is not None for sample in self.samples)

    def labelled(self, name: str) -> Labelled:
        """Return the samples that have a cue."""
        cue = self.known_cues[name]
        rows = [i for i, sample in enumerate(self.samples) if name in sample.cues]
        found = [self.samples[i].cues[name] for i in rows]
        labels = tuple(label for label in cue.labels if label in found)
        place = {label: number for number, label in enumerate(labels)}
        kept = np.array(rows, dtype=np.int64)
        return Labelled(
            cue=cue,
            rows=kept,
            labels=labels,
            codes=np.array([place[label] for label in found], dtype=np.int64),
            groups=numbered(self.groups[kept]) if rows else kept,
        )
