"""What can be said of a mean over samples whose uncertainty is over clusters. Arrays only.

`means` estimates, `spread` says how uncertainly, `clusters` says what varies together, `families` keeps
several tests honest, `design` says what a run of some size can see, `bootstrap` resamples clusters. Frames
are `tables`' business.
"""

from __future__ import annotations

from echat_eval.stats.bootstrap import cluster_bootstrap
from echat_eval.stats.clusters import Bounds, connected_clusters, mean_bounds
from echat_eval.stats.design import Detectable, detectable_difference, samples_needed, working_spread
from echat_eval.stats.families import holm
from echat_eval.stats.means import (
    Estimate,
    cluster_mean,
    macro_mean,
    ratio_difference,
)
from echat_eval.stats.spread import Spread, spread

__all__ = [
    "Bounds",
    "Detectable",
    "Estimate",
    "Spread",
    "cluster_bootstrap",
    "cluster_mean",
    "connected_clusters",
    "detectable_difference",
    "holm",
    "macro_mean",
    "mean_bounds",
    "ratio_difference",
    "samples_needed",
    "spread",
    "working_spread",
]
