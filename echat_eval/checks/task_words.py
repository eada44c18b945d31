"""Features of words: n-grams for a text-only model, and the project's sentence embedding."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from echat_eval.annotators.sentence_embedding import E5
from echat_eval.checks.task_data import text_of
from echat_eval.scorers.normalize import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from echat_eval.records import Sample

__all__ = ["STRENGTH", "embeddings", "ngrams_of", "word_features"]

#: Of the classifiers of words (see `fit_softmax`); their rows have length 1.
STRENGTH = 10.0
_LONGEST = 3


def ngrams_of(sample: Sample) -> Counter[str]:
    """Return the n-grams of a sample's words: characters as written, and words without punctuation.

    A question mark or a capital letter is no sound, but systems that get the transcript and judges read it.
    """
    text = " " + " ".join(text_of(sample).split()) + " "
    found = Counter(
        f"c {text[i : i + size]}" for size in range(1, _LONGEST + 1) for i in range(len(text) - size + 1)
    )
    units = words(text, sample.language, sample.error_rate)
    found.update(
        f"w {' '.join(units[i : i + size])}" for size in (1, 2) for i in range(len(units) - size + 1)
    )
    return found


def word_features(samples: Sequence[Sample]) -> csr_matrix:
    """Return (samples, n-grams): log counts x inverse document frequency, each row of length 1."""
    counted = [ngrams_of(sample) for sample in samples]
    frequency = Counter(gram for counts in counted for gram in counts)
    kept = {gram: number for number, gram in enumerate(g for g, n in frequency.items() if n > 1)}
    weight = {gram: np.log((1 + len(samples)) / (1 + frequency[gram])) + 1 for gram in kept}
    values, columns, starts = [], [], [0]
    for counts in counted:
        row = {kept[g]: (1 + np.log(n)) * weight[g] for g, n in counts.items() if g in kept}
        length = np.sqrt(sum(value**2 for value in row.values())) or 1.0
        columns += list(row)
        values += [value / length for value in row.values()]
        starts.append(len(columns))
    return csr_matrix((values, columns, starts), shape=(len(samples), max(len(kept), 1)))


def embeddings(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Return (samples, 384): sentence embeddings around their mean, of mean squared length 1.

    Raises:
        NotInstalled: the embedding is not installed.
    """
    engine = E5()
    x = np.asarray([engine.embed(text_of(sample)) for sample in samples])
    x = x - x.mean(axis=0)
    return np.asarray(x / (np.sqrt((x**2).sum(axis=1).mean()) or 1.0))
