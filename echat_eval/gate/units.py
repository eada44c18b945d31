"""The independent units of a decision, and what it holds for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.analysis import table_units
from echat_eval.gate.policy import MIN_CLUSTERS
from echat_eval.gate.reasons import Reason
from echat_eval.gate.rules import RuleResult
from echat_eval.stats import as_design

if TYPE_CHECKING:
    import pandas as pd

    from echat_eval.gate.policy import Policy
    from echat_eval.stats import Design

#: Columns that name a sample.
SAMPLE = ["task", "sample_id"]

__all__ = ["SAMPLE", "one_sentence", "scope", "settled", "unit_design"]


def unit_design(samples: pd.DataFrame, policy: Policy) -> Design:
    """Return the design of the samples of a checked table, as the policy wants its sentences."""
    return settled(as_design(table_units(samples, sentences=policy.sentences)), policy)


def settled(design: Design, policy: Policy, *, coupled: bool = False) -> Design:
    """Return a design whose few speakers or sentences are fixed, unless the policy states `min_clusters`.

    Args:
        design: of the samples that count.
        policy: gives `min_clusters`.
        coupled: as in `Design.fixing`.
    """
    return design.fixing(MIN_CLUSTERS, coupled=coupled) if policy.min_clusters is None else design


def scope(design: Design | None, policy: Policy) -> str:
    """Return what a decision holds for, if not for other speakers and sentences: "4 sentences"."""
    fixed = () if design is None else design.fixed
    stated = ("these sentences",) if policy.sentences == "fixed" else ()
    return " and ".join((*fixed, *stated))


def one_sentence(design: Design | None) -> list[RuleResult]:
    """Return a rule that is open if all samples have the same sentence: that is no test set.

    A policy with `sentences: fixed` states that it is.
    """
    if design is None or "1 sentence" not in design.fixed:
        return []
    nothing: dict[str, Any] = dict.fromkeys(("value", "low", "high", "p"))
    return [
        RuleResult(
            name="sentences: at least two",
            kind="share",
            state="open",
            detail="every sample has the same sentence",
            reason=Reason.ONE_SENTENCE,
            n=len(design),
            clusters=design.clusters,
            **nothing,
        )
    ]
