"""The budget of a command: the prices of its calls, and its limit in US dollars."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from echat_eval.cost.prices import PriceTable, read_prices
from echat_eval.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Budget", "read_budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Prices and limit.

    Attributes:
        limit: US dollars; None: no limit.
    """

    table: PriceTable
    limit: Decimal | None = None


def read_budget(prices: Path | None = None, max_cost: str | float | Decimal | None = None) -> Budget:
    """Return the budget of a command.

    Call this before models are loaded, so that a bad value is reported at once.

    Args:
        prices: price table; None: the one that ships with the package.
        max_cost: US dollars, with or without "$"; None: no limit.

    Raises:
        UsageError: `max_cost` is not an amount above 0.
        BadData: not a price table.

    >>> read_budget(max_cost="$0.50").limit
    Decimal('0.50')
    """
    limit = None
    if max_cost is not None:
        try:
            limit = Decimal(str(max_cost).strip().removeprefix("$"))
        except InvalidOperation:
            limit = Decimal(-1)
        if not limit.is_finite() or limit <= 0:
            raise UsageError(f"--max-cost {max_cost!r}: expected US dollars above 0, such as 5 or 0.50")
    return Budget(table=read_prices(prices), limit=limit)
