"""Candidates that are as good as a baseline, drawn from its scores at any size of the test set.

Each speaker and sentence of a test set of another size is one of those at hand, drawn at random. In a drawn
candidate some clusters keep their scores, and the others have those of any cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis.differences import difference
from echat_eval.analysis.pairs import UNIT
from echat_eval.gate.plan import Outlook
from echat_eval.stats import as_design
from echat_eval.stats.quantiles import student_quantile

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from echat_eval.gate.policy import Policy
    from echat_eval.stats import Design, Estimate
    from echat_eval.stats.power import Layout

    Codes = NDArray[np.int64]

__all__ = ["DRAWS", "Draws"]

#: Number of candidates drawn: the share that passes has a standard error of at most 4 points.
DRAWS = 160
#: Columns of `Pairs.frame` that a candidate brings along.
_OWN = ("value", "weight")


class Draws:
    """Decisions on equal candidates.

    Attributes:
        members: per cluster (sentence, if data are crossed) its rows.
    """

    def __init__(self, rows: pd.DataFrame, design: Design, policy: Policy, *, tests: int, correlation: float):
        """Take the rows of one run beside itself, its design, and the policy (see `plan_of_scores`)."""
        self._columns = {str(name): rows[name].to_numpy() for name in rows.columns}
        self._design, self._policy, self._correlation = design, policy, correlation
        self._family = 1 - 2 * policy.family_error / max(tests, 1)
        self._levels = [_members(codes) for codes in design.factors]
        self.members = self._levels[-1]

    def outlook(self, layout: Layout, *, at_least: float = 0.0) -> Outlook:
        """Return the chances of a run with this layout.

        Args:
            layout: at hand, whose rows are taken as they are, or with more or fewer speakers or sentences.
            at_least: share of passes that is of interest: drawing stops once it is out of reach.
        """
        rng, shown, failed = np.random.default_rng(0), np.zeros(3), 0
        counts = [round(layout.speakers), round(layout.sentences)][: len(self._levels)]
        for _ in range(DRAWS):
            outcome = self._shown(self._difference(rng, counts))
            shown, failed = shown + outcome, failed + (not outcome[0])
            if failed > (1 - at_least) * DRAWS:
                break
        passes, drop, twice = (float(share) for share in shown / DRAWS)
        return Outlook(layout=layout, repeats=1, equal_passes=passes, drop_shown=drop, twice_shown=twice)

    def _shown(self, found: Estimate | None) -> tuple[bool, bool, bool]:
        """Return whether a candidate passes, and a drop of the margin, and of twice it, would show."""
        if found is None or found.low is None or found.df is None or found.se_high is None:
            return False, False, False
        margin = self._policy.margin
        high = found.value + student_quantile(found.df, 0.5 + self._family / 2) * found.se_high
        return found.low > -margin, high < margin, high < 2 * margin

    def _difference(self, rng: np.random.Generator, counts: list[int]) -> Estimate | None:
        """Return the difference of a drawn candidate and a baseline with these numbers of levels."""
        index, design = self._baseline(rng, counts)
        taken = index.copy()
        for own in _members(design.factors[-1]):
            if rng.random() >= self._correlation:
                taken[own] = np.resize(self.members[rng.integers(len(self.members))], len(own))
        rows = {name: column[index] for name, column in self._columns.items()}
        rows |= {name: self._columns[name][taken] for name in _OWN if name in rows}
        rows |= {"same_reply": np.zeros(len(index), bool)} | dict.fromkeys(UNIT, np.arange(len(index)))
        policy = self._policy
        return difference(
            rows,
            policy.metrics[policy.primary],
            coverage=policy.level,
            min_clusters=2,
            design_of=lambda _: design,
        ).observed

    def _baseline(self, rng: np.random.Generator, counts: list[int]) -> tuple[Codes, Design]:
        """Return rows at hand, some of them repeatedly, and the design that they have in the drawn run."""
        index = np.arange(len(self._design))
        if counts == [len(levels) for levels in self._levels]:
            return index, self._design
        codes: list[Codes] = []
        for factor, count in zip(self._design.factors, counts, strict=True):
            found = _members(factor[index], int(factor.max()) + 1)
            selected = [found[level] for level in rng.integers(len(found), size=count)]
            place = np.concatenate(selected)
            codes = [other[place] for other in codes]
            codes.append(np.repeat(np.arange(count), [len(own) for own in selected]))
            index = index[place]
        second = codes[1] if len(codes) > 1 else np.arange(len(index))
        return index, as_design(np.stack([codes[0], second], axis=1))


def _members(codes: Codes, levels: int | None = None) -> list[Codes]:
    """Return the places of each level, of which there are as many as seen unless stated."""
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=levels or 0))
    return [np.asarray(own, dtype=np.int64) for own in np.split(order, ends[:-1])]
