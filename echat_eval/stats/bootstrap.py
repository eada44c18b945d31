"""Cluster bootstrap, for statistics without a closed form. Single rows are never resampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData
from echat_eval.stats.factors import as_design

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from echat_eval.stats.factors import Clusters

__all__ = ["cluster_bootstrap"]

#: Draws per block; limits memory to (block x clusters) numbers.
_BLOCK = 1000


def cluster_bootstrap(
    values: ArrayLike,
    clusters: Clusters,
    *,
    draws: int = 10_000,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Return means over samples for whole clusters drawn with replacement.

    Args:
        values: (samples, columns) or (samples,); all columns share each draw. Finite.
        clusters: as in `cluster_mean`; where speakers and sentences cross, both are drawn.
        draws: number of draws.
        seed: seed of the generator; the same seed gives the same draws.
        weights: (samples,) or (samples, columns) for ratios.

    Returns:
        (draws, columns), or (draws,) for one column of values.

    With fewer than about forty clusters its percentiles are too narrow. Use it for ranks and shapes, and
    `cluster_mean` for intervals that decide.

    Raises:
        BadData: shapes do not match, or a value is not finite.
    """
    x = np.asarray(values, dtype=np.float64)
    flat = x.ndim == 1
    x = x[:, None] if flat else x
    w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=np.float64)
    w = np.broadcast_to(w[:, None] if w.ndim == 1 else w, x.shape)
    design = as_design(clusters)
    if len(design) != len(x):
        raise BadData(
            f"got {len(x)} rows of values and {len(design)} clusters; expected the same number, at least one"
        )
    if not np.isfinite(x).all() or not np.isfinite(w).all():
        raise BadData("a value or weight is NaN or infinite; expected finite numbers")
    labels = design.cells if design.crossed else design.components
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    sums = np.add.reduceat((x * w)[order], starts, axis=0)  # (clusters or cells, columns)
    sizes = np.add.reduceat(w[order], starts, axis=0)
    levels = [codes[order][starts] for codes in design.factors]  # of each factor, per cluster or cell
    generator = np.random.default_rng(seed)
    out = np.empty((draws, x.shape[1]))
    for start in range(0, draws, _BLOCK):
        block = min(_BLOCK, draws - start)
        times = np.ones((block, len(starts)))
        for codes in levels:
            groups = int(codes.max()) + 1
            picks = generator.integers(groups, size=(block, groups)) + np.arange(block)[:, None] * groups
            drawn = np.bincount(picks.ravel(), minlength=block * groups).reshape(block, groups)
            times *= drawn[:, codes]
        out[start : start + block] = (times @ sums) / (times @ sizes)
    return out[:, 0] if flat else out
