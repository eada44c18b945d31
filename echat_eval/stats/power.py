"""Power of a run before it is made: what a layout of speakers and sentences can show.

A value of one sample is modelled as an effect of its speaker, of its sentence, and a rest, part of which is
the judge's and shrinks with repeats. The estimated variance of a mean varies as a chi-square variable (nested
data), or as that of `crossed_spread` with the larger one-way variance as its lower limit; bounds lie farther
away for the skewness that chance shows (`tails`). The power is the mean over a grid of these variables. For
crossed data a noncentral t would promise up to 9 points too much where neither factor matters
(bench/gate/plan.py).

Source of the variances of crossed data: Henderson's method 1, as in Searle, Casella and McCulloch (1992),
Variance Components, chapter 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincinv, ndtr, ndtri, stdtrit

from echat_eval.errors import BadData
from echat_eval.stats.spread import satterthwaite, spread, working_variances
from echat_eval.stats.tails import skew_factor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from echat_eval.stats.factors import Design

    Floats = NDArray[np.float64]

__all__ = [
    "Layout",
    "Variances",
    "bound_factors",
    "fitted_variances",
    "layout_of",
    "power_of",
    "standard_error",
]

#: Points of the grid over the chi-square variables: of speakers and of sentences, of the rest, of clusters.
_GRID, _COARSE, _FINE = 24, 6, 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Variances:
    """Variances of one sample's value, or of one sample's paired difference.

    Attributes:
        by_speaker: of the speakers' effects; of the clusters' if data are nested.
        by_sentence: of the sentences' effects; 0 if data are nested.
        rest: of the samples within them.
        judge: part of `rest` that is the judge's, with one repeat.
    """

    by_speaker: float
    by_sentence: float
    rest: float
    judge: float = 0.0

    @property
    def total(self) -> float:
        """Return the variance of one sample."""
        return self.by_speaker + self.by_sentence + self.rest

    def times(self, factor: float) -> Variances:
        """Return all variances multiplied."""
        return Variances(
            by_speaker=factor * self.by_speaker,
            by_sentence=factor * self.by_sentence,
            rest=factor * self.rest,
            judge=factor * self.judge,
        )

    def with_repeats(self, repeats: int) -> Variances:
        """Return the variances of the mean of several verdicts on each reply."""
        return replace(self, rest=self.rest - self.judge * (1 - 1 / repeats), judge=self.judge / repeats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Numbers of samples, speakers and sentences; not whole numbers while a plan is searched.

    Attributes:
        samples: number of samples.
        speakers: number of speakers; of clusters if data are nested.
        sentences: number of sentences; 0 if data are nested.
        unequal: (speakers or clusters, sentences) by which uneven numbers of samples lower the effective
            numbers, 1 if they are even.
        name: what the clusters of nested data are.
        df_share: degrees of freedom of nested data, over the number of clusters less one, that the interval
            of such a run has on average.
        spread_share: likewise, that describe how its standard error varies.
    """

    samples: float
    speakers: float
    sentences: float = 0.0
    unequal: tuple[float, float] = (1.0, 1.0)
    df_share: float = 1.0
    spread_share: float = 1.0
    name: str = "clusters"

    @property
    def crossed(self) -> bool:
        """Return whether speakers and sentences cross."""
        return self.sentences > 0

    def __str__(self) -> str:
        """Return the layout in words."""
        samples = f"{math.ceil(self.samples):,} samples"
        if self.crossed:
            return f"{math.ceil(self.speakers)} speakers x {math.ceil(self.sentences)} sentences, {samples}"
        return f"{math.ceil(self.speakers)} {self.name}, {samples}"

    def scaled(self, speakers: float, sentences: float = 1.0) -> Layout:
        """Return the layout with more speakers or sentences that are like these."""
        return replace(
            self,
            samples=self.samples * speakers * sentences,
            speakers=self.speakers * speakers,
            sentences=self.sentences * sentences,
        )


def layout_of(design: Design, *, correlation: float = 0.0) -> Layout:
    """Return the layout of the samples of a design.

    Args:
        design: of the samples.
        correlation: within clusters of nested data; with clusters of unequal size it lowers the degrees of
            freedom (see `spread`).
    """
    n = len(design)
    shares = [np.bincount(codes) / n for codes in design.factors]
    uneven = [1 / (len(h) * float((h**2).sum())) for h in shares]
    if design.crossed:
        counts = [float(len(h)) for h in shares]
        return Layout(samples=n, speakers=counts[0], sentences=counts[1], unequal=(uneven[0], uneven[1]))
    name = str(design).split(" ", 1)[1]
    name = name if name.endswith("s") else f"{name}s"
    rest = np.maximum(1 - shares[0], 1e-9)
    independent, correlated = (
        float(satterthwaite(shares[0], working_variances(n * shares[0], np.asarray(rho)), rest))
        for rho in (0.0, correlation)
    )
    most = max(len(shares[0]) - 1, 1e-3)
    return Layout(
        samples=n,
        speakers=float(len(shares[0])),
        unequal=(uneven[0], 1.0),
        df_share=2 / (1 / independent + 1 / correlated) / most,
        spread_share=correlated / most,
        name=name,
    )


def fitted_variances(values: ArrayLike, design: Design) -> Variances:
    """Return the variances behind the values of samples; none is below 0.

    Args:
        values: (samples,) finite.
        design: of these samples.

    Raises:
        BadData: fewer than two clusters.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.shape != (len(design),) or design.clusters < 2:
        raise BadData(
            f"got values of shape {x.shape} in {design}; expected one per sample, two clusters or more"
        )
    x, n = x - x.mean(), float(len(x))
    if not design.crossed:
        sums = np.bincount(design.components, weights=x).astype(np.float64)
        shares = np.bincount(design.components) / n
        rho = float(spread(sums, shares, squares=np.asarray((x**2).sum()), n=len(x)).correlation)
        # The squares are sum over clusters of size x the variance that their own mean takes away.
        sizes = n * shares
        total = float((x**2).sum() / (n - working_variances(sizes, np.asarray(rho)).sum() / n))
        return Variances(by_speaker=rho * total, by_sentence=0.0, rest=(1 - rho) * total)
    return _crossed_variances(x, design)


def _crossed_variances(x: Floats, design: Design) -> Variances:
    """Return the variances of crossed data by Henderson's method 1, without components that are below 0."""
    n, cells = float(len(x)), np.bincount(design.cells).astype(float)
    first = np.unique(design.cells, return_index=True)[1]
    counts = [np.bincount(codes).astype(float) for codes in design.factors]
    squares = [
        float((np.bincount(c, weights=x) ** 2 / k).sum()) for c, k in zip(design.factors, counts, strict=True)
    ]
    within = [
        float((np.bincount(codes[first], weights=cells**2) / k).sum())
        for codes, k in zip(design.factors, counts, strict=True)
    ]
    own = [float((k**2).sum()) / n for k in counts]
    # Rows: the sums of squares of all samples, of speakers and of sentences, less that of the mean.
    matrix = np.array(
        [
            [n - own[0], n - own[1], n - 1],
            [n - own[0], within[0] - own[1], len(counts[0]) - 1],
            [within[1] - own[0], n - own[1], len(counts[1]) - 1],
        ]
    )
    right = np.array([float((x**2).sum()), *squares])
    keep = [0, 1, 2]
    found = np.zeros(3)
    while keep:
        rows = [0, *(k + 1 for k in keep if k < 2)]
        solved = np.linalg.lstsq(matrix[np.ix_(rows, keep)], right[rows], rcond=None)[0]
        low = [k for k, value in zip(keep, solved, strict=True) if value < 0 and k < 2]
        if not low:
            found[keep] = np.maximum(solved, 0.0)
            break
        keep = [k for k in keep if k != low[0]]
    return Variances(by_speaker=float(found[0]), by_sentence=float(found[1]), rest=float(found[2]))


def standard_error(variances: Variances, layout: Layout) -> float:
    """Return the standard error of the mean."""
    levels = [max(layout.speakers * layout.unequal[0], 1e-9), max(layout.sentences * layout.unequal[1], 1e-9)]
    found = variances.by_speaker / levels[0] + variances.rest / layout.samples
    return math.sqrt(found + (variances.by_sentence / levels[1] if layout.crossed else 0.0))


def power_of(
    distance: float,
    variances: Variances,
    layout: Layout,
    *,
    level: float = 0.95,
    error_level: float | None = None,
) -> float:
    """Return the probability that one bound of the interval excludes a number at this distance.

    Args:
        distance: from the true mean to the excluded number, in the units of the values.
        variances: of one sample.
        layout: of the run.
        level: coverage of the two-sided interval.
        error_level: coverage at which `one_sided_errors` was computed; None: `level`.
    """
    tail = 0.5 + (level if error_level is None else error_level) / 2
    se = standard_error(variances, layout)
    if se == 0:
        return float(distance > 0)
    degrees = [max(layout.speakers - 1, 1e-3), max(layout.sentences - 1, 1e-3)]
    if not layout.crossed:
        df = degrees[0] * layout.df_share
        squares = _mean_squares(degrees[0] * layout.spread_share, _FINE)
        bound = float(stdtrit(df, 0.5 + level / 2)) * np.sqrt(squares)[:, None]
        return float(ndtr(distance / se - bound * bound_factors(layout, float(stdtrit(df, tail)))).mean())
    cells = layout.speakers * layout.sentences
    rest = max(min(layout.samples, cells) - layout.speakers - layout.sentences + 1, 1.0)
    a, b, c = np.meshgrid(
        _mean_squares(degrees[0], _GRID),
        _mean_squares(degrees[1], _GRID),
        _mean_squares(rest, _COARSE),
        indexing="ij",
        sparse=True,
    )
    within = variances.rest / layout.samples
    speakers = a * (variances.by_speaker / (layout.speakers * layout.unequal[0]) + within)
    sentences = b * (variances.by_sentence / (layout.sentences * layout.unequal[1]) + within)
    both = (speakers * degrees[0] + sentences * degrees[1]) / cells + within * c * rest / min(
        layout.samples, cells
    )
    squares = np.maximum(speakers + sentences - both, np.maximum(speakers, sentences))
    q = float(stdtrit(min(degrees), 0.5 + level / 2))
    bound = q * np.sqrt(squares)[..., None] * bound_factors(layout, float(stdtrit(min(degrees), tail)))
    return float(ndtr((distance - bound) / se).mean())


def bound_factors(layout: Layout, q: float) -> Floats:
    """Return equally likely factors by which a bound lies farther away for the skewness that chance shows.

    Args:
        layout: of the run.
        q: quantile of Student's t.
    """
    middle = ndtri((np.arange(_COARSE) + 0.5) / _COARSE)
    factors = []
    levels = zip((layout.speakers, layout.sentences), layout.unequal, strict=True)
    for groups, share in list(levels)[: 1 + layout.crossed]:
        g = max(groups * share, 3.0)  # as few as carry the skewness if sizes are unequal
        sd = math.sqrt(6 * (g - 2) / ((g + 1) * (g + 3)) / min(share, 1.0))  # of g normal values
        factors.append(skew_factor(sd * middle, max(groups, 3.0), np.asarray(q)))
    if len(factors) == 1:
        return factors[0]
    larger = np.sort(np.maximum(factors[0][:, None], factors[1][None]).ravel())
    return np.asarray(larger.reshape(_COARSE, -1).mean(axis=1))


def _mean_squares(df: float, points: int) -> Floats:
    """Return equally likely values of a chi-square variable over its degrees of freedom."""
    middle = (np.arange(points) + 0.5) / points
    return np.asarray(2 * gammaincinv(df / 2, middle) / df)
