"""The built-in guard against over-reaction: replies that suit the voice where a good reply does not change.

A match rate or a contrast rewards a reply for suiting the voice. Groups marked `expect: same` show whether a
system overdoes it, such as by answering a question about a train differently for women and for men.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.gate.readability import capped_levels

if TYPE_CHECKING:
    import pandas as pd

    from echat_eval.gate.policy import Policy
    from echat_eval.gate.rules import RuleResult

__all__ = ["over_reactions"]


def over_reactions(ours: pd.DataFrame, theirs: pd.DataFrame | None, policy: Policy) -> list[RuleResult]:
    """Return the rule on each metric of over-reaction, for checked tables of the candidate and, if any,
    of the baseline.
    """
    metrics = [name for name in dict.fromkeys(ours["metric"]) if "over_reaction" in name]
    return capped_levels(ours, theirs, policy, metrics, policy.max_over_reaction)
