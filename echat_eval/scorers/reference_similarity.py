"""Similarity to references (proxy): how close the words of a reply are to those that people wrote.

The cosine of sentence embeddings, in percent; the mean over references. E5's cosines have a narrow range
(unrelated texts still have about 80), so compare systems on the same samples. Read it beside a match rate: a
reply that only names the label matches its voice and is unlike a person's reply. It is no measure of empathy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.annotators.sentence_embedding import shared_e5
from echat_eval.io.hashing import fingerprint_of
from echat_eval.records import Metric
from echat_eval.scorers.cue_contrast import Embedder, reference_fit
from echat_eval.scorers.transcripts import ASR_ANNOTATORS, words_or_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.ports import Case
    from echat_eval.records import Score

__all__ = ["METRIC", "ReferenceSimilarity"]

METRIC = Metric(
    name="reference_similarity_proxy",
    title="Similarity to references (proxy)",
    unit="%",
    low=0.0,
    high=100.0,
    higher_is_better=True,
    worst=0.0,
    proxy=True,
)


@dataclass(slots=True, kw_only=True)
class ReferenceSimilarity:
    """Similarity to references, from sentence embeddings."""

    embedder: Embedder = field(default_factory=shared_e5)
    name: str = field(default="reference-similarity", init=False)
    version: str = field(default="1", init=False)
    metrics: tuple[Metric, ...] = field(default=(METRIC,), init=False)
    needs: tuple[str, ...] = field(default=ASR_ANNOTATORS, init=False)
    scope: Literal["sample", "contrast group"] = field(default="sample", init=False)

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return one score per case, in order."""
        return [self._score(case) for case in cases]

    def fingerprint(self) -> str:
        """Return the hash of the scorer's version and the embedding's weights."""
        return fingerprint_of([self.name, self.version, self.embedder.fingerprint()])

    def settings(self) -> Mapping[str, Any]:
        """Return all settings."""
        return {"embedder": type(self.embedder).__name__}

    def _score(self, case: Case) -> Score:
        if not case.sample.references:
            return case.score(METRIC, "not applicable", reason="the sample has no reference reply")
        state, words = words_or_state(case)
        if state != "value":
            return case.score(METRIC, state, reason=words)
        return case.score(
            METRIC, "value", value=min(100.0, reference_fit(self.embedder, words, case.sample.references))
        )
