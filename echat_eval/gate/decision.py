"""The decision of the gate and the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from echat_eval.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.gate.evidence import RunFacts, WorstSample
    from echat_eval.gate.plan import Plan
    from echat_eval.gate.reasons import Blocker, NextStep
    from echat_eval.gate.rules import Outcome, RuleResult
    from echat_eval.gate.tries import Tries
    from echat_eval.stats import Detectable, Estimate
    from echat_eval.stats.drift import JudgeShift

__all__ = ["Decision", "Provenance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Facts about the two runs besides their scores.

    Attributes:
        blockers: reasons why the comparison cannot be trusted, such as a baseline that is too old or was
            changed since it was accepted. The outcome is then "cannot tell".
        latency: why latency cannot be judged; empty if it can.
        notes: remarks for the reader.
        finish: commands that get the missing rows of both runs; empty if their folders are unknown.
        tries: place of the candidate in the ledger of tries; None: it is not counted.
        baseline: age of the baseline, and the retirement of its judges.
        shifts: metric -> shift of its judge between the runs, by which its differences are corrected.
        runs: facts of the candidate and of the baseline.
        date: of the decision, as an ISO time; "" if unknown.
    """

    blockers: tuple[Blocker, ...] = ()
    latency: str = "it is unknown whether latency was measured one call at a time on the same hardware"
    notes: tuple[str, ...] = ()
    finish: tuple[str, ...] = ()
    tries: Tries | None = None
    baseline: str = ""
    shifts: Mapping[str, JudgeShift] = field(default_factory=dict)
    runs: tuple[RunFacts, ...] = ()
    date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Outcome of the gate.

    Attributes:
        outcome: "pass", "regress" or "cannot tell".
        with_drop: a pass although a critical difference is significantly below 0, within the margin.
        reasons: why the outcome is not a plain pass, most important first.
        rules: every rule, the primary first.
        primary: the primary metric.
        difference: observed pooled difference of the primary metric, above 0 is better; None: cannot tell.
        low, high: bounds of the difference over all imputations.
        margin: margin of the policy.
        counts: number of shared samples, and of samples that only one run has.
        missing: shared primary rows without a value on one side or the other.
        detectable: the smallest detectable difference of a run like this one (see `stats.design`).
        plan: chances of runs like this one, and what they need; None: cannot tell.
        warnings: remarks that do not change the outcome.
        failures: failed replies of the candidate and their limit, or that they are unknown.
        readability: unreadable replies of the candidate and their limit, or that they are unknown; empty if
            the tables have none and a metric of the policy grades the replies.
        scope: the sentences, or speakers, that the decision holds for; empty if for others, too.
        next_steps: after "cannot tell", what would decide each open rule or remove each blocker.
        tries: place of the candidate in the ledger of tries, and the bound that a pass needs.
        baseline: age of the baseline, and the retirement of its judges.
        runs: facts of the candidate and of the baseline; empty for tables in memory.
        date: of the decision, as an ISO time; "" if unknown.
        levels: means of the primary metric over the shared samples: baseline, candidate.
        worst: the samples whose primary score fell most, the worst first.
    """

    outcome: Outcome
    with_drop: bool
    reasons: tuple[str, ...]
    rules: tuple[RuleResult, ...]
    primary: str
    difference: Estimate | None
    low: float | None
    high: float | None
    margin: float
    counts: str
    missing: int
    detectable: float | None
    plan: Plan | None
    warnings: tuple[str, ...]
    failures: str
    readability: str
    scope: str = ""
    next_steps: tuple[NextStep, ...] = ()
    tries: str = ""
    baseline: str = ""
    runs: tuple[RunFacts, ...] = ()
    date: str = ""
    levels: tuple[float | None, float | None] = (None, None)
    worst: tuple[WorstSample, ...] = ()

    @property
    def exit_code(self) -> Exit:
        """Return 0, 1 or 3."""
        return {"pass": Exit.DONE, "regress": Exit.REGRESS, "cannot tell": Exit.CANNOT_TELL}[self.outcome]

    @property
    def pass_if_equal(self) -> float | None:
        """Return how often an equal candidate would pass by its primary difference; None: cannot tell."""
        return None if self.plan is None else self.plan.now.equal_passes

    @property
    def needed(self) -> Detectable | None:
        """Return the samples that the policy's power needs; None if these are enough, or none would be."""
        return None if self.plan is None else self.plan.needed

    @property
    def title(self) -> str:
        """Return the outcome for display."""
        return "pass, with a drop" if self.with_drop else self.outcome
