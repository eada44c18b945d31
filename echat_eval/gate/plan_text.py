"""Renders a plan: the line of every decision, the table of `gate --plan`, and JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from textwrap import wrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echat_eval.gate.plan import Outlook, Plan
    from echat_eval.gate.plan_cost import UnitCost

__all__ = ["plan_facts", "plan_line", "plan_lines", "share_text", "to_json"]


def share_text(probability: float) -> str:
    """Return a probability in percent, never as certain.

    >>> share_text(0.004), share_text(0.5), share_text(1.0)
    ('under 1 %', '50 %', 'over 99 %')
    """
    if probability < 0.01:
        return "under 1 %"
    return "over 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"


def plan_line(plan: Plan) -> str:
    """Return the plan in one line."""
    now, margin = plan.now, plan.margin
    text = (
        f"{now.layout}: an equal candidate passes in {share_text(now.equal_passes)}, a drop of {margin:g} is "
        f"shown in {share_text(now.drop_shown)}, one of {2 * margin:g} in {share_text(now.twice_shown)}"
    )
    goal = f"{100 * plan.power:.0f} %"
    if plan.best is None:
        return f"{text}; no number of samples gives {goal}"
    if plan.enough:
        return f"{text}; {plan.best.layout} would give an equal candidate {goal}"
    return f"{text}; an equal candidate passes in {goal} with {plan.best.layout}"


def plan_lines(plan: Plan, cost: UnitCost | None = None) -> list[str]:
    """Return the plan as lines of at most 80 columns."""
    goal = f"{100 * plan.power:.0f} %"
    lines = [
        f"plan: {plan.primary}, margin {plan.margin:g}, family of {plan.tests} critical tests",
        f"spread: sd {plan.sd:.3g} of a sample's difference, from",
        *(f"  {line}" for line in wrap(plan.source, 76)),
        "",
        f"{'':50}{'equal':>9} {'drop of':>9} {'drop of':>9}",
        f"{'':50}{'passes':>9} {plan.margin:>9.4g} {2 * plan.margin:>9.4g}",
        f"{'':60}{'shown':>9} {'shown':>9}",
        *_rows("this test set", plan.now),
    ]
    for option in plan.options:
        if option.outlook is not None:
            prefix = "about " if option.estimated else ""
            lines += _rows(f"for {goal} by the number of {option.more}", option.outlook, prefix)
        elif option.largest is None:
            lines.append(f"more {option.more}: no number of them gives {goal}")
        else:
            lines.append(f"more {option.more}: cannot tell, {option.largest:,.0f} samples do not give {goal}")
    lines += ["", f"A drop of {2 * plan.margin:g} is 'regress' as often as one of {plan.margin:g} is shown."]
    if plan.draws:
        lines.append(f"Nearly all scores are the same: chances are those of {plan.draws} drawn candidates.")
    elif plan.caution > 1:
        lines.append(f"{goal} holds even if the true spread is {plan.caution:.2f} times the observed one.")
    lines += [] if cost is None else ["", *_cost_lines(plan, cost)]
    return lines


def _rows(name: str, outlook: Outlook, prefix: str = "") -> list[str]:
    chances = (outlook.equal_passes, outlook.drop_shown, outlook.twice_shown)
    numbers = " ".join(f"{share_text(chance):>9}" for chance in chances)
    return [name, f"{f'  {prefix}{outlook.layout}':49} {numbers}"]


def _cost_lines(plan: Plan, cost: UnitCost) -> list[str]:
    lines = []
    for name, outlook in (("this test set", plan.now), ("what is needed", plan.best)):
        if outlook is not None:
            lines.append(f"{name}: {cost.text(math.ceil(outlook.layout.samples), outlook.repeats)}")
    return lines


def plan_facts(plan: Plan, cost: UnitCost | None = None) -> dict[str, Any]:
    """Return the plan as plain values."""
    facts = asdict(plan) | {"enough": plan.enough}
    if cost is not None:
        for name, outlook in (("now", plan.now), ("needed", plan.best)):
            facts[f"cost_{name}"] = (
                None if outlook is None else cost.facts(math.ceil(outlook.layout.samples), outlook.repeats)
            )
    return facts


def to_json(plan: Plan, cost: UnitCost | None = None) -> str:
    """Return the plan as JSON."""
    return json.dumps(plan_facts(plan, cost), indent=1, sort_keys=True, allow_nan=False) + "\n"
