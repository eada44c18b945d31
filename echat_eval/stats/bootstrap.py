"""Resampling clusters, for numbers that have no closed form. Rows are never resampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["cluster_bootstrap"]

#: Draws worked on at once; bounds the memory to (block x clusters) numbers.
_BLOCK = 1000


def cluster_bootstrap(
    values: ArrayLike,
    clusters: ArrayLike,
    *,
    draws: int = 10_000,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Return means over samples when whole clusters are drawn with replacement.

    Args:
        values: (samples, columns) or (samples,); all columns share each draw. Finite.
        clusters: (samples,) any labels.
        draws: how many.
        seed: of the generator; the same seed gives the same draws.
        weights: (samples,) or (samples, columns) for ratios.

    Returns:
        (draws, columns), or (draws,) for one column of values.

    With fewer than some forty clusters its percentiles are too narrow; intervals that decide come from
    `cluster_mean`. This serves ranks and shapes.

    Raises:
        BadData: shapes that do not fit, or a value that is not finite.
    """
    x = np.asarray(values, dtype=np.float64)
    flat = x.ndim == 1
    x = x[:, None] if flat else x
    w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=np.float64)
    w = np.broadcast_to(w[:, None] if w.ndim == 1 else w, x.shape)
    labels = np.unique(np.asarray(clusters), return_inverse=True)[1]
    if labels.shape != (len(x),) or len(x) == 0:
        raise BadData(
            f"got {len(x)} rows of values and {labels.size} clusters; expected as many, at least one"
        )
    if not np.isfinite(x).all() or not np.isfinite(w).all():
        raise BadData("a value or weight is NaN or infinite; expected finite numbers")
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    sums = np.add.reduceat((x * w)[order], starts, axis=0)  # (clusters, columns)
    sizes = np.add.reduceat(w[order], starts, axis=0)
    groups, generator = len(starts), np.random.default_rng(seed)
    out = np.empty((draws, x.shape[1]))
    for start in range(0, draws, _BLOCK):
        block = min(_BLOCK, draws - start)
        picks = generator.integers(groups, size=(block, groups)) + np.arange(block)[:, None] * groups
        times = np.bincount(picks.ravel(), minlength=block * groups).reshape(block, groups).astype(float)
        out[start : start + block] = (times @ sums) / (times @ sizes)
    return out[:, 0] if flat else out
