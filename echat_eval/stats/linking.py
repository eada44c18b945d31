"""Scores of one judge on the scale of another: anchors, link, estimates, and where the judges disagree.

Anchors are replies that both judges graded. The link maps the new judge's scores to the old judge's by equal
percentiles of the anchors, at a few knots. A system's mean on the old scale is the mean of its linked scores
plus the weighted mean of what the link leaves on its own anchors (a difference estimator, as in survey
sampling), so a wrong form of the link costs precision, not coverage. Both parts share clusters, and the
variance has their covariance. Measured by bench/judges/link.py.

Sources: Kolen and Brennan (2014), Test Equating, Scaling, and Linking; Särndal, Swensson and Wretman (1992),
Model Assisted Survey Sampling, chapter 6; Schuirmann (1987) for agreement within a tolerance.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from echat_eval.errors import BadData
from echat_eval.stats.factors import as_design
from echat_eval.stats.families import holm
from echat_eval.stats.means import Estimate, cluster_mean, macro_mean
from echat_eval.stats.quantiles import student_quantile, student_tail
from echat_eval.stats.spread import Spread, crossed_spread

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from echat_eval.stats.factors import Clusters, Design

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

__all__ = [
    "MIN_ANCHORS",
    "TOLERANCE",
    "Link",
    "SliceShift",
    "anchor_weights",
    "draw_anchors",
    "fit_link",
    "linked_mean",
    "slice_shifts",
]

#: Points on a scale of 0 to 100: half a grade of 0 to 5. Judges that differ by less in a slice agree there.
TOLERANCE = 10.0
#: Anchors, and clusters of them, below which a mean or a slice has no estimate.
MIN_ANCHORS, MIN_CLUSTERS = 10, 5
#: Share of the anchors below which a slice is not tested: it moves a mean by a tenth of its shift at most.
MIN_SHARE = 0.1
#: Percentiles of the anchors at which the link is fixed.
PERCENTILES = (10.0, 30.0, 50.0, 70.0, 90.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A map from the new judge's scale to the old one's: straight lines between knots.

    Attributes:
        new, old: scores of the same percentiles; both rise from knot to knot.
        low, high: the range of both scales, which the link keeps.
    """

    new: tuple[float, ...]
    old: tuple[float, ...]
    low: float
    high: float

    def old_scale(self, scores: ArrayLike) -> Floats:
        """Return scores of the new judge on the old scale, of the same shape.

        >>> fit_link([20, 40, 60, 80], [10, 30, 50, 70], low=0, high=100).old_scale([50.0]).round(6).tolist()
        [40.0]
        """
        x = np.asarray(scores, dtype=np.float64)
        new, old = np.asarray(self.new), np.asarray(self.old)
        inside = np.interp(x, new, old)
        # Beyond the knots the scores move one for one: anchors are too few there for a slope of their own.
        beyond = np.minimum(x - new[0], 0.0) + np.maximum(x - new[-1], 0.0)
        return np.asarray(np.clip(inside + beyond, self.low, self.high))


def fit_link(new: ArrayLike, old: ArrayLike, *, low: float, high: float) -> Link:
    """Return the link of the anchors' scores by both judges.

    Args:
        new, old: (anchors,) scores of the same replies.
        low, high: the range of the scores.
    """
    x, y = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or not x.size:
        raise BadData(f"got {x.size} scores of the new judge and {y.size} of the old; expected one of each")
    knots = np.percentile(x, PERCENTILES), np.percentile(y, PERCENTILES)
    # Ordinal scores repeat, and several percentiles may be one score: its old scores are averaged.
    values = np.unique(knots[0])
    means = [float(knots[1][knots[0] == value].mean()) for value in values]
    return Link(new=tuple(float(v) for v in values), old=tuple(means), low=low, high=high)


def draw_anchors(
    cells: Sequence[Hashable], clusters: Sequence[Hashable], limit: int, *, seed: int = 0
) -> list[int]:
    """Return the numbers of the replies to use as anchors, at most `limit`.

    Cells take turns. In a cell, clusters are visited in random order and give one reply each before any gives
    a second.

    Args:
        cells: (replies,) what the anchors are balanced over, such as system and label.
        clusters: (replies,) of the replies.
        limit: number of anchors.
        seed: of the random order.
    """
    rng = np.random.default_rng(seed)
    queues: dict[Hashable, list[tuple[float, int]]] = {}
    order = {cell: rng.random() for cell in dict.fromkeys(cells)}
    members: dict[tuple[Hashable, Hashable], list[int]] = {}
    for number, key in enumerate(zip(cells, clusters, strict=True)):
        members.setdefault(key, []).append(number)
    for (cell, _), numbers in members.items():
        first = rng.random()
        shuffled = rng.permutation(numbers).tolist()
        queues.setdefault(cell, []).extend((turn + first, n) for turn, n in enumerate(shuffled))
    waiting = {cell: [n for _, n in sorted(queue)] for cell, queue in queues.items()}
    turns = sorted(waiting, key=lambda cell: order[cell])
    selected: list[int] = []
    for turn in range(max(map(len, waiting.values()), default=0)):
        selected += [waiting[cell][turn] for cell in turns if turn < len(waiting[cell])]
    return sorted(selected[:limit])


def anchor_weights(cells: Sequence[Hashable], clusters: Sequence[Hashable], anchors: Sequence[int]) -> Floats:
    """Return the weights of anchors, (anchors,), that make their mean one over all replies of a system.

    An anchor stands for its cell's replies, and in its cell for those of its cluster.

    Args:
        cells: (replies,) of the system's replies.
        clusters: (replies,) likewise.
        anchors: numbers of those that are anchors.
    """
    keys = list(zip(cells, clusters, strict=True))
    of_cluster = Counter(keys)
    of_cell = Counter(cells)
    drawn = Counter(keys[n] for n in anchors)
    raw = np.array([of_cluster[keys[n]] / drawn[keys[n]] for n in anchors], dtype=np.float64)
    totals: Counter[Hashable] = Counter()
    for n, weight in zip(anchors, raw.tolist(), strict=True):
        totals[cells[n]] += weight
    found: Floats = raw * np.array([of_cell[cells[n]] / totals[cells[n]] for n in anchors])
    return found


def linked_mean(
    linked: ArrayLike,
    clusters: Clusters,
    *,
    anchors: Sequence[int],
    left: ArrayLike,
    weights: ArrayLike,
    low: float,
    high: float,
    share: float = 1.0,
    level: float = 0.95,
) -> Estimate:
    """Return a system's mean on the old scale, estimated; without an interval if its anchors are too few.

    Args:
        linked: (replies,) scores on the old scale by the link, the anchors' included; of failed replies, the
            score that both judges give them.
        clusters: of the replies, as in `cluster_mean`.
        anchors: numbers of the replies that both judges graded.
        left: (anchors,) the old judge's scores minus the linked ones.
        weights: (anchors,) as from `anchor_weights`.
        low, high: the range of the scores.
        share: of the replies, that the anchors stand for; the others did not fail.
        level: coverage.
    """
    design, selected = as_design(clusters), np.asarray(anchors, dtype=np.int64)
    if not selected.size:
        raise BadData("no anchor; expected replies that both judges graded")
    x, rest, w = (np.asarray(given, dtype=np.float64) for given in (linked, left, weights))
    rest = share * rest
    value = float(x.mean() + np.average(rest, weights=w))
    anchored = design.take(selected).clusters
    known = Estimate(
        value=float(np.clip(value, low, high)),
        low=None,
        high=None,
        se=None,
        df=None,
        n=len(x),
        clusters=anchored,
        level=level,
    )
    if anchored < MIN_CLUSTERS or len(rest) < MIN_ANCHORS:
        return known
    spreads = [_spread_of(x, rest, w, codes, selected) for codes in design.partitions]
    found = crossed_spread(*spreads) if design.crossed else spreads[0]
    if not np.isfinite(found.se):
        return known
    half = student_quantile(float(found.df), 0.5 + level / 2) * float(found.se)
    bounds = [float(np.clip(value + side * half, low, high)) for side in (-1.0, 1.0)]
    return replace(known, low=bounds[0], high=bounds[1], se=float(found.se), df=float(found.df))


def _spread_of(linked: Floats, left: Floats, weights: Floats, codes: Codes, anchors: Codes) -> Spread:
    """Return the spread of the sum of both means, over one partition's clusters."""
    groups = int(codes.max()) + 1
    own = codes[anchors]
    parts = (
        (cluster_mean(linked, codes), (linked - linked.mean()) / len(linked), codes),
        (
            cluster_mean(left, own, weights=weights),
            weights * (left - np.average(left, weights=weights)) / weights.sum(),
            own,
        ),
    )
    sums, variances, dfs = np.zeros(groups), [], []
    for found, residual, location in parts:
        if found.se is None or found.df is None:
            return Spread(se=np.asarray(np.nan), df=np.asarray(np.nan), correlation=np.asarray(0.0))
        raw = np.bincount(location, weights=residual, minlength=groups)
        size = float(np.sqrt((raw**2).sum()))
        # CR2's correction of each part, kept where the parts add up within a cluster.
        sums += raw * (found.se / size if size > 0 else 0.0)
        variances.append(found.se**2)
        dfs.append(found.df)
    whole = sum(v**2 / df for v, df in zip(variances, dfs, strict=True))
    df = sum(variances) ** 2 / whole if whole > 0 else min(dfs)
    # Where the parts cancel by chance, what the anchors leave is still uncertain.
    variance = max(float((sums**2).sum()), variances[1])
    return Spread(se=np.asarray(np.sqrt(variance)), df=np.asarray(df), correlation=np.asarray(0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceShift:
    """How much higher the old judge graded a slice than the link, beyond how it graded the rest.

    Attributes:
        kind, value: such as "language" and "zh".
        shift: mean of the slice minus that of the rest, with its 95 % interval.
        state: "agrees" (the interval lies within the tolerance), "differs" (significant over all slices),
            or "open".
        anchors: in the slice.
    """

    kind: str
    value: str
    shift: Estimate
    state: Literal["agrees", "differs", "open"]
    anchors: int


def slice_shifts(
    left: ArrayLike,
    slices: Mapping[str, Sequence[str]],
    clusters: Clusters,
    *,
    tolerance: float = TOLERANCE,
    family_error: float = 0.05,
) -> list[SliceShift]:
    """Return the shift of every slice with enough anchors, the clearest disagreement first.

    A slice agrees only if the 95 % interval of its shift lies within the tolerance. A shift of the tolerance
    or more is then taken for agreement in nominally 2.5 %, however many slices there are; measured are at
    most 3 % over all kinds of slices (bench/judges/link.py). A slice differs if its shift is significant
    after Holm's adjustment over the slices.

    Args:
        left: (anchors,) old judge's scores minus linked scores.
        slices: kind -> (anchors,) value of each anchor.
        clusters: of the anchors, as in `cluster_mean`.
        tolerance: points.
        family_error: of calling any slice different.
    """
    x, design = np.asarray(left, dtype=np.float64), as_design(clusters)
    found = []
    for kind, values in slices.items():
        sizes = Counter(values)
        for value in sorted(sizes) if len(sizes) > 1 else ():
            inside = np.array([other == value for other in values])
            if value == max(sizes) and len(sizes) == 2:
                continue  # the negative of the shift of the other value
            if not _is_large_enough(inside, design):
                continue
            shift = macro_mean(np.where(inside, 2.0, -2.0) * x, inside.astype(np.int64), design)
            found.append((kind, value, shift, int(inside.sum())))
    p = holm([_p_value(shift) for _, _, shift, _ in found]) if found else np.empty(0)
    rows = [
        SliceShift(
            kind=kind,
            value=value,
            shift=shift,
            anchors=count,
            state=_state(shift, tolerance, differs=bool(p[i] <= family_error)),
        )
        for i, (kind, value, shift, count) in enumerate(found)
    ]
    order = {"differs": 0, "open": 1, "agrees": 2}
    return sorted(rows, key=lambda row: (order[row.state], -abs(row.shift.value)))


def _is_large_enough(inside: NDArray[np.bool_], design: Design) -> bool:
    for part in (inside, ~inside):
        if part.sum() < max(MIN_ANCHORS, MIN_SHARE * len(part)):
            return False
        if design.take(part).clusters < MIN_CLUSTERS:
            return False
    return True


def _p_value(shift: Estimate) -> float:
    if shift.se is None or shift.df is None:
        return 1.0
    if shift.se == 0:
        return 0.0 if shift.value else 1.0
    return 2 * student_tail(shift.df, -abs(shift.value) / shift.se)


def _state(shift: Estimate, tolerance: float, *, differs: bool) -> Literal["agrees", "differs", "open"]:
    if shift.se == 0 and abs(shift.value) < tolerance:
        return "agrees"
    if shift.low is not None and shift.high is not None and max(-shift.low, shift.high) < tolerance:
        return "agrees"
    return "differs" if differs else "open"
