"""A small classifier, and its predictions of samples that it was not fitted to.

Multinomial logistic regression with an L2 penalty, as scikit-learn's `LogisticRegression` with balanced class
weights: every label weighs the same, so that no prediction follows from how frequent a label is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
    #: (samples, columns), dense or sparse.
    Features: TypeAlias = "Floats | csr_matrix"

__all__ = ["MAX_FOLDS", "Softmax", "fit_softmax", "held_out_predictions"]

MAX_FOLDS = 10
#: Folds of data whose fits are slow.
_FEW_FOLDS, _MANY_SAMPLES = 5, 2000


class Softmax:
    """A fitted classifier.

    Args:
        weights: (columns, labels).
        bias: (labels,).
    """

    def __init__(self, weights: Floats, bias: Floats) -> None:
        self.weights, self.bias = weights, bias

    def predict(self, x: Features) -> Codes:
        """Return the number of the most probable label, (samples,)."""
        return np.asarray(np.argmax(x @ self.weights + self.bias, axis=1), dtype=np.int64)


def fit_softmax(x: Features, labels: Codes, *, labels_in_all: int, strength: float = 1.0) -> Softmax:
    """Return the classifier of these samples.

    Args:
        x: (samples, columns).
        labels: (samples,) from 0.
        labels_in_all: number of labels, of which these samples may lack some.
        strength: inverse of the penalty, as scikit-learn's C.
    """
    n, columns = x.shape
    counts = np.bincount(labels, minlength=labels_in_all)
    weights = (n / (np.count_nonzero(counts) * np.maximum(counts, 1)))[labels]
    target = np.zeros((n, labels_in_all))
    target[np.arange(n), labels] = 1.0
    absent = counts == 0

    def loss(flat: Floats) -> tuple[float, Floats]:
        parameters = flat.reshape(columns + 1, labels_in_all)
        scores = np.asarray(x @ parameters[:-1]) + parameters[-1]
        scores[:, absent] = -1e9  # a label without samples is never predicted
        log_p = log_softmax(scores, axis=1)
        error = weights[:, None] * (np.exp(log_p) - target)
        slope = np.vstack([np.asarray(x.T @ error), error.sum(axis=0)])
        slope[:-1] += parameters[:-1] / strength
        value = -float((weights[:, None] * target * log_p).sum())
        return value + float((parameters[:-1] ** 2).sum()) / (2 * strength), slope.ravel()

    found = minimize(
        loss,
        np.zeros((columns + 1) * labels_in_all),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 200, "gtol": 1e-4},
    )
    parameters = found.x.reshape(columns + 1, labels_in_all)
    bias = parameters[-1].copy()
    bias[absent] = -np.inf
    return Softmax(parameters[:-1], bias)


def held_out_predictions(
    x: Features, labels: Codes, groups: Codes, *, strength: float = 1.0, seed: int = 0
) -> Codes:
    """Return predictions by cross-validation: each group is predicted by a classifier that has none of it.

    Args:
        x: (samples, columns).
        labels: (samples,) from 0, each of which occurs.
        groups: (samples,) from 0, of at least two groups.
        strength: as in `fit_softmax`.
        seed: of the folds.
    """
    count = int(groups.max()) + 1
    folds = min(_FEW_FOLDS if len(labels) > _MANY_SAMPLES else MAX_FOLDS, count)
    fold = (np.random.default_rng(seed).permutation(count) % folds)[groups]
    predicted = np.zeros(len(labels), dtype=np.int64)
    for held_out in range(folds):
        test = fold == held_out
        fitted = fit_softmax(x[~test], labels[~test], labels_in_all=int(labels.max()) + 1, strength=strength)
        predicted[test] = fitted.predict(x[test])
    return predicted
