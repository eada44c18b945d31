"""Clusters of samples that vary together, and bounds of a mean with missing values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["CAP_FACTOR", "Bounds", "connected_clusters", "linked", "mean_bounds", "missing_cap"]

#: A missing value of a metric without an upper end counts as at most this factor x the largest value seen.
CAP_FACTOR = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of a mean with missing values.

    Attributes:
        low: the mean if every missing value were the metric's lowest; None if the metric has no lowest.
        high: the mean if every missing value were the metric's highest; None if it has no highest.
        n: number of rows, including missing ones.
        missing: number of missing rows.
    """

    low: float | None
    high: float | None
    n: int
    missing: int


def connected_clusters(keys: Sequence[Sequence[Hashable | None]]) -> NDArray[np.int64]:
    """Return the cluster of every sample: connected components over shared keys.

    Args:
        keys: per sample its keys in a fixed order, such as (speaker, transcript, contrast group). Equal
            keys at the same position link two samples; None and NaN link nothing. Pass the samples of all
            tasks together, so that a speaker links tasks.

    Returns:
        (samples,) cluster numbers from 0, in order of first appearance.

    >>> connected_clusters([("ann", "hi"), ("bob", "hi"), ("bob", "bye"), (None, None)]).tolist()
    [0, 0, 0, 1]
    """
    codes = []
    for position in zip(*keys, strict=True):
        numbers: dict[Hashable, int] = {}
        codes.append(
            np.array(
                [
                    # a missing key is one of its own; data frames have NaN for None
                    numbers.setdefault(i if key is None or key != key else (key,), len(numbers))
                    for i, key in enumerate(position)
                ]
            )
        )
    return linked(codes) if codes else np.arange(len(keys))


def linked(codes: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the connected components of samples, linked where any of the arrays has equal numbers for both.

    Args:
        codes: at least one array, (samples,), of numbers from 0.

    Returns:
        (samples,) component numbers from 0, in order of first appearance.
    """
    found = np.arange(len(codes[0]))
    while True:
        now = found
        for levels in codes:  # each sample takes the least number of those it is linked to
            least = np.full(int(levels.max(initial=0)) + 1, len(found))
            np.minimum.at(least, levels, now)
            now = least[levels]
        now = now[now]  # the number is a sample's: a step to that one's number halves a long chain
        if np.array_equal(now, found):
            return np.unique(found, return_inverse=True)[1].astype(np.int64)
        found = now


def missing_cap(values: ArrayLike, low: float) -> float | None:
    """Return the most that a missing value counts as, under a metric that has a lower end but no upper one.

    It is an assumption, `CAP_FACTOR` times the largest distance from the lower end, and must be printed.

    Args:
        values: all values seen, of every system that is compared; NaN is none.
        low: the lower end.

    Returns:
        None if no value is above the lower end: then nothing shows how large values become.

    >>> missing_cap([0.0, 30.0, float("nan")], 0.0)
    60.0
    """
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x)]
    if not x.size or not x.max() > low:
        return None
    return float(low + CAP_FACTOR * (x.max() - low))


def mean_bounds(
    values: Sequence[float | None],
    states: Sequence[str],
    low: float | None,
    high: float | None,
    *,
    weights: Sequence[float] | None = None,
) -> Bounds:
    """Return the mean if every missing value were the metric's lowest, and if its highest.

    Args:
        values: (rows,) a number where the state is "value", or "failed" under a metric with a worst
            value; None otherwise.
        states: (rows,) states of the scores. "not applicable", and "failed" without a value, are in no mean.
        low: the metric's lowest value; None if it has none.
        high: the metric's highest value; None if it has none.
        weights: (rows,) for a ratio metric.

    Raises:
        BadData: no row counts in the mean, or a "value" is not a finite number.
    """
    numbers, shares, missing = [], [], []
    for i, (value, state) in enumerate(zip(values, states, strict=True)):
        weight = 1.0 if weights is None else float(weights[i])
        if state == "missing":
            missing.append(weight)
        elif value is not None and math.isfinite(value) and state in {"value", "failed"}:
            numbers.append(float(value) * weight)
            shares.append(weight)
        elif state == "value":
            raise BadData(f"row {i} has state 'value' and the value {value!r}; expected a finite number")
    total = math.fsum(shares + missing)
    if not total > 0:
        raise BadData("no row has a value and none is missing: there is nothing to average")
    known, gap = math.fsum(numbers), math.fsum(missing)

    def filled(bound: float | None) -> float | None:
        if not missing:
            return known / total
        return None if bound is None else (known + gap * bound) / total

    return Bounds(low=filled(low), high=filled(high), n=len(numbers) + len(missing), missing=len(missing))
