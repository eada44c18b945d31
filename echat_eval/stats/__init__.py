"""Means over samples with uncertainty over clusters, on plain arrays.

means       estimates and their intervals             families    adjustment for several tests
spread      standard errors, degrees of freedom       design      detectable differences, sample sizes
clusters    connected samples, bounds of means        bootstrap   resampling of clusters
factors     speakers and sentences, nested or crossed  tails     skewed and sparse differences
levels      means inside the metric's range           shares      shares of samples
rank_sets   confidence sets of ranks, equivalence
strata      labels that a macro mean averages over    macro_spread  spread of a mean of strata means
rated       means of ratings over replies and raters   ppi    the same with a judge's scores of all replies
"""

from __future__ import annotations

from echat_eval.stats.bootstrap import cluster_bootstrap
from echat_eval.stats.clusters import CAP_FACTOR, Bounds, connected_clusters, mean_bounds, missing_cap
from echat_eval.stats.design import (
    Detectable,
    detectable_difference,
    detection_probability,
    samples_needed,
    working_spread,
)
from echat_eval.stats.factors import (
    SENTENCES,
    STATED,
    Design,
    Sentences,
    Unit,
    as_design,
    unit_codes,
    units_of,
)
from echat_eval.stats.families import holm
from echat_eval.stats.levels import level_mean
from echat_eval.stats.means import Estimate, cluster_mean, macro_mean, ratio_difference
from echat_eval.stats.ppi import PoweredMean, powered_mean
from echat_eval.stats.rank_sets import RankSet, equivalent, rank_sets
from echat_eval.stats.rated import RatedMean, rated_mean
from echat_eval.stats.spread import Spread, crossed_spread, spread
from echat_eval.stats.strata import label_strata, stratum_weights

__all__ = [
    "CAP_FACTOR",
    "SENTENCES",
    "STATED",
    "Bounds",
    "Design",
    "Detectable",
    "Estimate",
    "PoweredMean",
    "RankSet",
    "RatedMean",
    "Sentences",
    "Spread",
    "Unit",
    "as_design",
    "cluster_bootstrap",
    "cluster_mean",
    "connected_clusters",
    "crossed_spread",
    "detectable_difference",
    "detection_probability",
    "equivalent",
    "holm",
    "label_strata",
    "level_mean",
    "macro_mean",
    "mean_bounds",
    "missing_cap",
    "powered_mean",
    "rank_sets",
    "rated_mean",
    "ratio_difference",
    "samples_needed",
    "spread",
    "stratum_weights",
    "unit_codes",
    "units_of",
    "working_spread",
]
