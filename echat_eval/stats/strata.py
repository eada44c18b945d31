"""Strata of a macro mean: samples with the same gold label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["label_strata", "stratum_weights"]


def label_strata(labels: Sequence[str | None]) -> NDArray[np.int64]:
    """Return the stratum of each sample, (samples,) numbers from 0, for `macro_mean`.

    Samples with the same gold label are one stratum, in whichever task they are. So a macro recall over
    several tasks is the mean over labels of the recall within each label, and a label counts once, however
    many tasks have it. Labels of several cues with the same name, such as "other", are one label.

    Args:
        labels: (samples,) gold labels.

    Raises:
        BadData: a sample has no label.

    >>> label_strata(["sad", "other", "sad"]).tolist()
    [0, 1, 0]
    """
    numbers: dict[str, int] = {}
    codes = []
    for label in labels:
        if label is None or label != label:  # data frames have NaN for None
            raise BadData(
                "a sample has no label, and a mean over labels needs one in every row; add a column 'label', "
                "or average by 'mean'"
            )
        codes.append(numbers.setdefault(label, len(numbers)))
    return np.array(codes, dtype=np.int64)


def stratum_weights(strata: NDArray[np.int64]) -> list[float]:
    """Return the weight of each sample in the mean of the strata's means: 1 over its stratum's size."""
    sizes = np.bincount(strata)
    return [1.0 / float(sizes[stratum]) for stratum in strata]
