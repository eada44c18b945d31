"""Samples that vary together: two factors, speaker and sentence, nested or crossed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

from echat_eval.errors import BadData, UsageError
from echat_eval.stats.clusters import connected_clusters, linked

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import ArrayLike, NDArray

    from echat_eval.records import Sample

    Codes = NDArray[np.int64]
    #: Clusters of samples: a design, (samples,) labels or `Unit`s, or (samples, 2) numbers of both factors.
    Clusters: TypeAlias = "Design | ArrayLike | Sequence[Hashable]"

__all__ = ["SENTENCES", "STATED", "Design", "Sentences", "Unit", "as_design", "unit_codes", "units_of"]

#: "random": other sentences could have been drawn; results hold for sentences like these. "fixed": results
#: hold for exactly these sentences, and only speakers are a source of uncertainty.
Sentences = Literal["random", "fixed"]
SENTENCES: tuple[Sentences, ...] = ("random", "fixed")

#: Number of the sentence where a table states the clusters itself.
STATED = -1


class Unit(NamedTuple):
    """The speaker and the sentence of one sample, as numbers. Samples that share one vary together."""

    speaker: int
    sentence: int


@dataclass(frozen=True, eq=False)
class Design:
    """The levels of both factors for a list of samples.

    Attributes:
        speakers: (samples,) numbers from 0; equal numbers are one level.
        sentences: (samples,) numbers from 0.
        names: what the levels are called.
        fixed: factors that link nothing because they have too few levels to generalise over, such as
            "4 sentences"; a result holds for these levels only.
    """

    speakers: Codes
    sentences: Codes
    names: tuple[str, str] = ("speakers", "sentences")
    fixed: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.speakers)

    def take(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Design:
        """Return the design of some of the samples; a part of crossed data may be nested."""
        return replace(
            self, speakers=_renumbered(self.speakers[keep]), sentences=_renumbered(self.sentences[keep])
        )

    def fixing(self, fewest: int, *, coupled: bool = False) -> Design:
        """Return the design in which a factor with fewer than `fewest` levels is fixed.

        A few levels are no sample of others and show nothing about those, whatever the interval. Given these
        levels, the other factor's are the independent units, or samples if that has few levels, too.
        Clusters that a table states stay as they are.

        Args:
            fewest: number of levels from which a result generalises over a factor.
            coupled: samples of one sentence are scored against each other, so they stay linked unless
                enough speakers are left to be the units.
        """
        if self.names[0] == "clusters":
            return self
        speakers, sentences = _levels(self.speakers), _levels(self.sentences)
        few = [count < min(fewest, len(self)) for count in (speakers, sentences)]
        if coupled and not fewest <= speakers < len(self):
            few[1] = False
        counts = zip(few, (speakers, sentences), self.names, strict=True)
        own = np.arange(len(self))
        return replace(
            self,
            speakers=own if few[0] else self.speakers,
            sentences=own if few[1] else self.sentences,
            fixed=tuple(_counted(count, name) for small, count, name in counts if small),
        )

    @cached_property
    def components(self) -> Codes:
        """Return the connected components over both factors, (samples,), in order of first appearance."""
        return linked([self.speakers, self.sentences])

    @cached_property
    def crossed(self) -> bool:
        """Return whether neither factor is nested in the other.

        Data are nested if each component has one speaker or one sentence: then components are independent
        clusters, and the one-way variance over them is right.
        """
        if self.components.max() + 1 in (self.speakers.max() + 1, self.sentences.max() + 1):
            return False  # as many components as levels of a factor: one level in each
        counts = []
        for levels in (self.speakers, self.sentences):
            first = np.unique(levels, return_index=True)[1]
            counts.append(np.bincount(self.components[first]))
        return bool(((counts[0] > 1) & (counts[1] > 1)).any())

    @property
    def cells(self) -> Codes:
        """Return the number of each sample's pair of speaker and sentence, (samples,)."""
        return _renumbered(self.speakers * _levels(self.sentences) + self.sentences)

    @property
    def partitions(self) -> tuple[Codes, ...]:
        """Return the clusters of the one-way variances: (components,) or (speakers, sentences, cells)."""
        return (self.speakers, self.sentences, self.cells) if self.crossed else (self.components,)

    @property
    def factors(self) -> tuple[Codes, ...]:
        """Return the clusters that a result generalises over: (components,) or (speakers, sentences)."""
        return self.partitions[:2]

    @property
    def clusters(self) -> int:
        """Return the number of independent units: components, or levels of the smaller factor if crossed."""
        return min(_levels(codes) for codes in self.factors)

    def __str__(self) -> str:
        """Return the design in words, such as "30 speakers x 10 sentences, crossed"."""
        speakers, sentences = _levels(self.speakers), _levels(self.sentences)
        first, second = self.names
        if self.crossed:
            return f"{_counted(speakers, first)} x {_counted(sentences, second)}, crossed"
        groups = _levels(self.components)
        if groups == len(self) and first != "clusters":
            return _counted(groups, "independent samples")
        if groups == speakers:
            return _counted(groups, first)
        return _counted(groups, second) if groups == sentences else _counted(groups, "clusters")

    @property
    def remedy(self) -> str:
        """Return which data would narrow the intervals most."""
        if not self.crossed:
            name = str(self).split(" ", 1)[1]
            return f"more {name if name.endswith('s') else name + 's'} would help"
        speakers, sentences = _levels(self.speakers), _levels(self.sentences)
        if speakers <= sentences:
            return f"more {self.names[0]} would help"
        return (
            f"more {self.names[1]} would help, or `sentences: fixed` if the result need hold for these "
            f"{self.names[1]} only"
        )


def as_design(clusters: Clusters) -> Design:
    """Return the design behind (samples,) cluster labels, (samples, 2) units, or a design itself.

    Raises:
        BadData: no sample, or an array of another shape.
    """
    if isinstance(clusters, Design):
        if not len(clusters):
            raise BadData("got a design of no samples; expected at least one sample")
        return clusters
    if isinstance(clusters, list | tuple) and any(isinstance(label, tuple) for label in clusters):
        units = all(isinstance(label, Unit) for label in clusters)
        array = np.asarray(clusters) if units else numbered(clusters)
    else:
        array = np.asarray(clusters)
    if array.ndim == 2 and array.shape[1] == 2 and array.size and array.dtype != object:
        if (array[:, 1] == STATED).all():
            return as_design(_renumbered(array[:, 0]))
        return Design(_renumbered(array[:, 0]), _renumbered(array[:, 1]))
    if array.ndim != 1 or array.size == 0:
        raise BadData(f"got labels of shape {array.shape}; expected one per sample, at least one sample")
    codes = numbered(array)
    return Design(codes, np.arange(len(codes)), ("clusters", "samples"))


def unit_codes(
    speakers: Sequence[Hashable | None],
    sentences: Sequence[Sequence[Hashable | None]],
    *,
    kind: Sentences = "random",
) -> Codes:
    """Return the units of samples, (samples, 2); a missing key (None, NaN) links nothing.

    Args:
        speakers: (samples,) keys.
        sentences: per sample its keys in a fixed order, such as (transcript, contrast group); samples that
            share one have the same sentence.
        kind: "fixed" gives every sample a sentence of its own, so that speakers alone are clusters.

    Raises:
        UsageError: another kind.
    """
    if kind not in SENTENCES:
        raise UsageError(f"sentences is {kind!r}; expected {' or '.join(SENTENCES)}")
    first = connected_clusters([(speaker,) for speaker in speakers])
    second = connected_clusters(sentences) if kind == "random" else np.arange(len(speakers))
    return np.stack([first, second], axis=1).astype(np.int64).reshape(-1, 2)


def units_of(samples: Sequence[Sample], *, sentences: Sentences = "random") -> dict[tuple[str, str], Unit]:
    """Return (task, id) -> speaker and sentence of samples, across tasks.

    Samples have the same sentence if they share a transcript or, within a task, a contrast group.
    """
    codes = unit_codes(
        [s.speaker for s in samples],
        [
            (s.transcript or None, (s.task, s.contrast_group) if s.contrast_group is not None else None)
            for s in samples
        ],
        kind=sentences,
    )
    return {(s.task, s.id): Unit(int(a), int(b)) for s, (a, b) in zip(samples, codes, strict=True)}


def numbered(labels: ArrayLike | Sequence[Hashable]) -> Codes:
    """Return labels of any kind as numbers from 0, (samples,)."""
    tuples = isinstance(labels, list | tuple) and any(isinstance(label, tuple) for label in labels)
    array = np.empty(0, dtype=object) if tuples else np.asarray(labels)
    if array.dtype != object:
        return np.unique(array, return_inverse=True)[1].astype(np.int64)
    seen: dict[object, int] = {}
    found = labels if isinstance(labels, list | tuple) else array
    return np.array([seen.setdefault(label, len(seen)) for label in found], dtype=np.int64)


def _renumbered(codes: NDArray[np.int64]) -> Codes:
    """Return codes numbered from 0 in order of first appearance."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _levels(codes: Codes) -> int:
    return int(codes.max()) + 1


def _counted(n: int, name: str) -> str:
    return f"{n} {name if n != 1 else name.removesuffix('s')}"
