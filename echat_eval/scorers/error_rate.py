"""Edits between a reference and a hypothesis: the counts behind every word and character error rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from echat_eval.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EditCounts", "count_edits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EditCounts:
    """Edits that turn a reference into a hypothesis.

    Attributes:
        reference: number of words (characters) of the reference, at least 1.
    """

    substitutions: int
    deletions: int
    insertions: int
    reference: int

    @property
    def errors(self) -> int:
        """Return the number of edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def percent(self) -> float:
        """Return the error rate in percent; above 100 if there are more edits than reference words."""
        return 100.0 * self.errors / self.reference


def count_edits(reference: Sequence[str], hypothesis: Sequence[str]) -> EditCounts:
    """Return the fewest edits from a reference to a hypothesis, counted by jiwer.

    Args:
        reference: words, or characters in languages without spaces, as `normalize.words` returns them.
        hypothesis: the same of the hypothesis; may be empty.

    Raises:
        BadData: the reference is empty, so that no rate is defined.

    >>> count_edits(["a", "b", "c", "d"], ["a", "x", "c"]).percent
    50.0
    """
    import jiwer

    if not reference:
        raise BadData("the reference has no words; an error rate needs at least one")
    counts = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    return EditCounts(
        substitutions=counts.substitutions,
        deletions=counts.deletions,
        insertions=counts.insertions,
        reference=len(reference),
    )
