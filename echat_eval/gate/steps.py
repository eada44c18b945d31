"""The next step of every rule that is open and of every fault of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.gate.reasons import FINISH, STEPS, NextStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.gate.decision import Provenance
    from echat_eval.gate.rules import RuleResult

__all__ = ["next_steps"]


def next_steps(blocking: Sequence[RuleResult], provenance: Provenance) -> tuple[NextStep, ...]:
    """Return the next step of every blocker and of every open rule."""
    finish = "; ".join(provenance.finish) or FINISH
    found = [
        NextStep(reason=b.reason, rule=b.text, open_by="", action=b.step or STEPS[b.reason])
        for b in provenance.blockers
    ]
    for rule in blocking:
        if rule.state == "open":
            assert rule.reason is not None, f"the open rule '{rule.name}' has no reason"
            step = rule.remedy or STEPS[rule.reason]
            action = finish if step == FINISH else step
            found.append(NextStep(reason=rule.reason, rule=rule.name, open_by=rule.open_by, action=action))
    return tuple(found)
