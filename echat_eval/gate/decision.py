"""What the gate says, with everything it said it for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from echat_eval.errors import Exit

if TYPE_CHECKING:
    from echat_eval.gate.rules import Outcome, RuleResult
    from echat_eval.stats import Detectable, Estimate

__all__ = ["Decision", "Provenance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What is known of the two runs besides their scores.

    Attributes:
        blockers: reasons why the comparison cannot be trusted, such as a run that is too old or was changed
            since it was accepted: the outcome is then "cannot tell".
        latency: why times cannot be judged; empty if they can.
        notes: what a reader should know.
    """

    blockers: tuple[str, ...] = ()
    latency: str = "nothing says that times were measured one call at a time on the same hardware"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The gate's answer.

    Attributes:
        outcome: "pass", "regress" or "cannot tell".
        with_drop: a pass although a critical difference is surely below 0: inside the margin.
        reasons: why it is no plain pass, most important first.
        rules: every rule, the primary first.
        primary: the primary metric.
        difference: its pooled difference as observed, above 0 is better; None: cannot tell.
        low, high: its bounds over all fills of missing values.
        margin: the policy's.
        counts: shared samples, and those that only one run has.
        missing: shared primary rows without a value on one side or the other.
        detectable: the smallest detectable difference of a run like this one (see `stats.design`).
        needed: samples that would bring it down to the margin; None if it is, or cannot be told.
        warnings: what does not change the outcome and should be known.
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
    needed: Detectable | None
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> Exit:
        """Return 0, 1 or 3."""
        return {"pass": Exit.DONE, "regress": Exit.REGRESS, "cannot tell": Exit.CANNOT_TELL}[self.outcome]

    @property
    def title(self) -> str:
        """Return the outcome as it is shown."""
        return "pass, with a drop" if self.with_drop else self.outcome
