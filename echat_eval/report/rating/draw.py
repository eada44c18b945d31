"""Which samples of a task people rate: a random draw over clusters, with the labels' shares of the task."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.stats import Design
from echat_eval.stats.factors import as_design, units_of

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable, Sequence

    from echat_eval.records import Sample

__all__ = ["draw_samples"]


def draw_samples(samples: Sequence[Sample], limit: int, rng: random.Random) -> list[Sample]:
    """Return at most `limit` samples of one task, in random order.

    Each sample has nearly the same chance, so that a mean of ratings is that of the task: samples are taken
    in random order, no cluster gives a second one before the others gave one, and each label has its share of
    the task. As many clusters as possible are rated, because clusters are what intervals count.
    """
    if not samples:
        return []
    units = units_of(samples)
    codes = _clusters(as_design([units[s.task, s.id] for s in samples]))
    cluster = {s.id: code for s, code in zip(samples, codes, strict=True)}
    order = rng.sample(list(samples), len(samples))
    left = Counter(_shares([_labels(s) for s in order], min(limit, len(order))))
    taken: dict[str, Sample] = {}
    from_cluster: Counter[int] = Counter()
    per_cluster = 1
    while left.total():
        for sample in order:
            own, label = cluster[sample.id], _labels(sample)
            if from_cluster[own] < per_cluster and left[label] and sample.id not in taken:
                taken[sample.id] = sample
                from_cluster[own] += 1
                left[label] -= 1
        per_cluster += 1
    return list(taken.values())


def _clusters(design: Design) -> list[int]:
    """Return the cluster of each sample; of crossed data, the level of the factor that has more."""
    codes: list[int] = max(design.factors, key=lambda found: int(np.max(found))).tolist()
    return codes


def _labels(sample: Sample) -> Hashable:
    return tuple(sorted(sample.cues.items()))


def _shares(labels: Sequence[Hashable], limit: int) -> dict[Hashable, int]:
    """Return label -> number of samples to draw, by largest remainders; ties in the order of the labels."""
    counts = Counter(labels)
    exact = {label: limit * n / len(labels) for label, n in counts.items()}
    found = {label: int(share) for label, share in exact.items()}
    largest = sorted(exact, key=lambda label: found[label] - exact[label])
    for label in largest[: limit - sum(found.values())]:
        found[label] += 1
    return found
