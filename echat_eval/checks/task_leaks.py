"""Can a label be predicted without the voice? One test for words, lengths, order, speakers and all else.

A classifier is fitted to some groups of samples (contrast groups, equal or similar words) and predicts the
labels of the others. Its macro recall is compared with chance, 100 % / number of labels: a guess that does
not depend on the sample has exactly that, however unequal the labels are. The interval is over groups, by the
function behind every macro recall of the project. The task is refused if the lower bound is more than 5
points above chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis.metric_rule import MetricRule
from echat_eval.checks.softmax import held_out_predictions
from echat_eval.checks.task_data import FEWEST_GROUPS
from echat_eval.gate.plan import plan_for
from echat_eval.gate.policy import Policy
from echat_eval.stats import as_design, level_mean
from echat_eval.stats.power import Variances, fitted_variances, layout_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from echat_eval.checks.softmax import Features
    from echat_eval.checks.task_data import Labelled
    from echat_eval.stats import Estimate

    Codes = NDArray[np.int64]

__all__ = ["ALLOWED", "POWER", "SEEN", "Leak", "best_possible", "groups_needed", "leak_of"]

#: Points above chance from which a leak is refused, and the leak for which the number of groups is printed.
ALLOWED, SEEN = 5.0, 10.0
POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """How well a cue's label is predicted from something other than the voice.

    Attributes:
        recall: macro recall in percent, with its interval over groups; None: not measured, because no
            function of the features can exceed `best`, or there is one group.
        chance: macro recall without the features, in percent.
        best: largest macro recall that any function of the features can have; 100 if it is not known.
        per_label: label -> percent of its samples that were predicted.
        groups: number of groups.
        needed: groups with which a leak of `SEEN` points is refused in `POWER` of such tasks; None: no
            number is enough.
    """

    recall: Estimate | None
    chance: float
    best: float
    per_label: dict[str, float]
    groups: int
    needed: int | None

    @property
    def refused(self) -> bool:
        """Return whether the lower bound is above what is allowed."""
        return (
            self.recall is not None
            and self.recall.low is not None
            and self.groups >= FEWEST_GROUPS
            and self.recall.low > self.chance + ALLOWED
        )

    @property
    def excluded(self) -> bool:
        """Return whether a leak of `SEEN` points is excluded."""
        if self.recall is None:
            return self.best <= self.chance + ALLOWED
        return self.recall.high is not None and self.recall.high < self.chance + SEEN


def leak_of(
    labelled: Labelled, features: Features, *, values: Codes | None = None, strength: float = 1.0
) -> Leak:
    """Return how well a cue's label is predicted from features.

    Args:
        labelled: the samples that have the cue, with two labels or more.
        features: (samples, columns) of these samples.
        values: (samples,) numbers; samples with equal numbers have equal features. With them, the best that
            any function of the features can reach is known.
        strength: as in `fit_softmax`.
    """
    best = 100.0 if values is None else best_possible(labelled, values)
    if best <= labelled.chance + ALLOWED or labelled.group_count < 2:
        return Leak(
            recall=None,
            chance=labelled.chance,
            best=best,
            per_label={},
            groups=labelled.group_count,
            needed=None,
        )
    predicted = held_out_predictions(features, labelled.codes, labelled.groups, strength=strength)
    right = 100.0 * (predicted == labelled.codes)
    recall = level_mean(right, labelled.groups, low=0.0, high=100.0, strata=labelled.codes)
    return Leak(
        recall=recall,
        chance=labelled.chance,
        best=best,
        per_label={
            label: float(right[labelled.codes == code].mean()) for code, label in enumerate(labelled.labels)
        },
        groups=labelled.group_count,
        needed=groups_needed(labelled, right),
    )


def best_possible(labelled: Labelled, values: Codes) -> float:
    """Return the macro recall, in percent, of the best function of values that are equal or not.

    Args:
        labelled: the samples.
        values: (samples,) numbers from 0.
    """
    counts = np.zeros((int(values.max()) + 1, len(labelled.labels)))
    np.add.at(counts, (values, labelled.codes), 1.0)
    return float((counts / counts.sum(axis=0)).max(axis=1).sum() * labelled.chance)


def groups_needed(labelled: Labelled, right: NDArray[np.float64]) -> int | None:
    """Return the number of groups with which a leak of `SEEN` points is refused in `POWER` of tasks.

    The groups are like these: as many samples each, and right answers that vary together as much as here. A
    sample is right with the probability of such a leak.

    Args:
        labelled: the samples.
        right: (samples,) 0 or 100: whether the sample was predicted.
    """
    design = as_design(labelled.groups)
    share = (labelled.chance + SEEN) / 100
    total = 100.0**2 * share * (1 - share) * _imbalance(labelled.codes)
    together = 0.0
    if right.std() > 0:
        fitted = fitted_variances(right, design)
        together = fitted.by_speaker / fitted.total
    variances = Variances(by_speaker=together * total, by_sentence=0.0, rest=(1 - together) * total)
    policy = Policy(
        margin=SEEN - ALLOWED,
        metrics={"macro recall": MetricRule(higher_is_better=True)},
        power=POWER,
        min_clusters=FEWEST_GROUPS,
    )
    plan = plan_for(variances, layout_of(design, correlation=together), policy, tests=1, source="")
    return None if plan.best is None else math.ceil(plan.best.layout.speakers)


def _imbalance(codes: Codes) -> float:
    """Return by how much unequal labels raise the variance of a macro recall; 1 if they are equal."""
    counts = np.bincount(codes)
    return float(len(codes) * (1 / counts).sum() / len(counts) ** 2)
