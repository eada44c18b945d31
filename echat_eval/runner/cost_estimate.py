"""The expected cost of a command, as text and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from echat_eval.cost.prices import OPENAI_HOST, TOKEN_KINDS
from echat_eval.cost.tokens import PROXY
from echat_eval.judge.sentinel import EVERY, FEWEST_QUESTIONS

if TYPE_CHECKING:
    from decimal import Decimal

    import pandas as pd

    from echat_eval.runner.estimate import CostEstimate

__all__ = ["ExpectedCost"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExpectedCost:
    """The calls that a command has left to make, and what they may cost.

    Attributes:
        estimates: one per judge and system whose calls may cost money.
        controls: number of replies that are judged again.
        unpriced: systems without token counts.
        anchors: model of the old judge of a link, and the largest number of replies that it grades.
    """

    estimates: tuple[CostEstimate, ...]
    controls: int = 0
    unpriced: tuple[str, ...] = ()
    anchors: tuple[str, int] | None = None

    def lines(self, *, whole: bool = True) -> list[str]:
        """Return the estimate as lines.

        Args:
            whole: include systems and judges without calls left or without prices.
        """
        lines = [_line(found) for found in self.estimates if found.calls or whole]
        if any(found.calls for found in self.estimates):
            lines.append(PROXY)
        lines += [
            f"judge {found.name}: at most {found.calls // EVERY:,} further questions on anchors, by which a "
            "shift of the judge shows"
            for found in self.estimates
            if found.anchored and found.calls >= FEWEST_QUESTIONS
        ]
        lines += [
            f"judge {found.name}: no questions on anchors, by which a shift of the judge shows; a command "
            f"with {FEWEST_QUESTIONS} questions or more has them"
            for found in self.estimates
            if found.anchored and 0 < found.calls < FEWEST_QUESTIONS
        ]
        if self.controls and any(found.role == "judge" for found in self.estimates):
            lines.append(f"--controls adds up to {4 * self.controls:,} questions")
        if self.anchors is not None:
            model, count = self.anchors
            lines.append(
                f"--link: {model} grades at most {count:,} replies, less those that it has graded already; "
                "they are in no sum above"
            )
        if whole and self.unpriced:
            lines.append(f"not priced, no token counts: {', '.join(self.unpriced)}")
        return lines

    def to_frame(self) -> pd.DataFrame:
        """Return one row per judge and system that may cost money.

        Columns: role, name, calls; text_in and further kinds of tokens; money (expected) and upper_bound
        (None: unknown), currency.
        """
        import pandas as pd

        rows = [
            {
                "role": found.role,
                "name": found.name,
                "calls": found.calls,
                **found.tokens.by_kind(),
                "money": found.money,
                "upper_bound": found.upper_bound,
                "currency": found.currency,
            }
            for found in self.estimates
        ]
        columns = ["role", "name", "calls", *TOKEN_KINDS, "money", "upper_bound", "currency"]
        return pd.DataFrame(rows, columns=columns)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    __repr__ = __str__


def _line(found: CostEstimate) -> str:
    unit = "questions" if found.role == "judge" else "calls"
    if not found.calls:
        return f"{found.role} {found.name}: nothing left to ask"
    from echat_eval.runner.estimate import tokens_in_words

    text = f"{found.role} {found.name}: {found.calls:,} {unit}, about {tokens_in_words(found.tokens)}"
    if found.money is None:
        host = found.billed_client.base_url or OPENAI_HOST
        return f"{text}; money unknown: no price for '{found.billed_client.model}' at {host} (see --prices)"
    if found.upper_bound is None:
        bound = "no upper bound (max_tokens is not set)"
    else:
        bound = f"at most {_amount(found.upper_bound)}"
    return f"{text}; about {_amount(found.money)} {found.currency}, {bound}"


def _amount(money: Decimal) -> str:
    return f"{money:,.2f}" if money >= 1 else f"{money:.4f}"
