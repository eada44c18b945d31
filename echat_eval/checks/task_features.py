"""Features that may go with a label beside the voice, as numbers for a classifier."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from echat_eval.stats.factors import numbered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Codes = NDArray[np.int64]
    Floats = NDArray[np.float64]

__all__ = ["decibel_features", "indicators", "order_features", "relative", "standardised"]

#: Stretches of the file in which labels may be collected.
_STRETCHES = 10
#: Rows after which a pattern may repeat.
_PERIODS = (2, 3, 4)


def standardised(columns: Sequence[Floats] | Floats) -> Floats:
    """Return (samples, columns) of mean 0 and standard deviation 1, without constant columns."""
    x = np.stack(list(columns), axis=1) if not isinstance(columns, np.ndarray) else columns
    spread = x.std(axis=0)
    varies = spread > 1e-9 * np.maximum(np.abs(x).max(axis=0, initial=0.0), 1e-12)
    return np.asarray((x[:, varies] - x[:, varies].mean(axis=0)) / spread[varies])


def indicators(values: Sequence[str]) -> tuple[csr_matrix, Codes]:
    """Return (samples, values) of 0 and 1, without columns if there is one value, and each one's number."""
    codes = numbered(list(values))
    count = int(codes.max()) + 1
    found = csr_matrix((np.ones(len(codes)), codes, np.arange(len(codes) + 1)), shape=(len(codes), count))
    return (found if count > 1 else csr_matrix((len(codes), 0))), codes


def relative(values: Floats, groups: Codes) -> Floats:
    """Return a number of each sample: alone, beside the others of its group, and the squares of both."""
    counts = np.bincount(groups)
    beside = values - (np.bincount(groups, weights=values) / counts)[groups]
    return standardised([values, beside, (values - values.mean()) ** 2, beside**2])


def order_features(count: int, rows: Codes, groups: Codes) -> Floats:
    """Return what the place of a row in the file may show.

    Args:
        count: number of rows of the file.
        rows: (samples,) places.
        groups: (samples,) numbers of the groups.
    """
    seen = Counter[int]()
    within = np.zeros(len(groups), dtype=np.int64)
    for number, group in enumerate(groups.tolist()):
        within[number] = seen[group]
        seen[group] += 1
    size = max(int(within.max()) + 1, 2)
    parts = [np.eye(size)[within], np.eye(_STRETCHES)[rows * _STRETCHES // max(count, 1)]]
    parts += [np.eye(period)[rows % period] for period in _PERIODS]
    return standardised(np.concatenate(parts, axis=1))


def decibel_features(decibels: Sequence[float | None], groups: Codes) -> Floats:
    """Return levels or peaks of recordings, alone and beside their group; a silent one has the lowest.

    They are in whole dB from the median: people do not notice less, and an event changes a mean by as much.
    """
    known = [value for value in decibels if value is not None]
    lowest, middle = min(known, default=0.0), float(np.median(known)) if known else 0.0
    found = [(lowest if value is None else value) - middle for value in decibels]
    return relative(np.round(np.array(found)), groups)
