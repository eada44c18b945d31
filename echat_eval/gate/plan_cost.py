"""The cost and the hours of one more sample, from what a run has spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.gate.units import SAMPLE

if TYPE_CHECKING:
    from echat_eval.analysis import ScoredSystem
    from echat_eval.cost.totals import CallCosts

__all__ = ["UnitCost", "unit_cost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCost:
    """The expenses of one sample of one system in a run.

    Attributes:
        seconds: of the system's call; None if it was not timed.
        calls_at_once: calls that the run made at the same time.
        tokens: of the system and of the judges, (2,).
        money: currency -> (system, judges).
        known: tokens or money were recorded.
    """

    seconds: float | None = None
    calls_at_once: int = 1
    tokens: tuple[float, float] = (0.0, 0.0)
    money: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    known: bool = False

    def facts(self, samples: int, repeats: int = 1) -> dict[str, Any]:
        """Return hours, tokens and money of a run; None where the run recorded nothing."""
        hours = None if self.seconds is None else samples * self.seconds / self.calls_at_once / 3600
        money = {name: samples * (own + repeats * judges) for name, (own, judges) in self.money.items()}
        tokens = round(samples * (self.tokens[0] + repeats * self.tokens[1])) if self.known else None
        return {"samples": samples, "hours": hours, "tokens": tokens, "money": money}

    def text(self, samples: int, repeats: int = 1) -> str:
        """Return the facts in words."""
        facts = self.facts(samples, repeats)
        hours = "hours unknown (not timed)"
        if facts["hours"] is not None:
            hours = f"about {facts['hours']:.2g} h of calls, {self.calls_at_once} at once"
        money = " and ".join(f"about {amount:.2f} {name}" for name, amount in facts["money"].items())
        tokens = "cost unknown" if facts["tokens"] is None else f"about {facts['tokens']:,} tokens"
        return f"{samples:,} samples, {hours}; {tokens}{f', {money}' if money else ''}"


def unit_cost(run: ScoredSystem) -> UnitCost:
    """Return what one sample of a run cost, by its calls' seconds, tokens and money."""
    samples = max(len(run.frame[SAMPLE].drop_duplicates()), 1)
    timed = run.frame.loc[(run.frame["metric"] == "seconds") & (run.frame["state"] == "value"), "value"]
    system, cost = run.manifest.systems.get(run.system), run.manifest.cost
    parts: list[list[CallCosts]] = [[], []]
    if cost is not None:
        parts[0] = [found for name, found in cost.systems.items() if name == run.system]
        parts[1] = list(cost.judges.values())
    # The judges' costs are those of all systems of the run.
    shares = (samples, samples * max(len(run.manifest.systems), 1))
    tokens = [
        sum(sum(c.tokens.by_kind().values()) for c in part) / n for part, n in zip(parts, shares, strict=True)
    ]
    currencies = {name for part in parts for c in part for name in c.money}
    money = {
        name: [
            float(sum(c.money.get(name, 0) for c in part)) / n for part, n in zip(parts, shares, strict=True)
        ]
        for name in sorted(currencies)
    }
    return UnitCost(
        seconds=float(timed.mean()) if len(timed) else None,
        calls_at_once=max((system.calls_at_once if system is not None else None) or 1, 1),
        tokens=(tokens[0], tokens[1]),
        money={name: (own, judges) for name, (own, judges) in money.items()},
        known=any(parts),
    )
