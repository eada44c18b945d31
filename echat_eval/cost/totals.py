"""Costs of a run: rows of its spending file, and their sums over all commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from echat_eval.cost.meter import SpendingRow
from echat_eval.cost.prices import TOKEN_KINDS, Price, Tokens
from echat_eval.errors import BadData

if TYPE_CHECKING:
    from echat_eval.cost.meter import BilledRole

__all__ = ["CallCosts", "RunCosts", "TableFacts", "json_of_spending", "spending_from", "totals"]

#: Model or server of a sum over several.
SEVERAL = "several"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCosts:
    """The costs of one judge or system, over all commands of a run.

    Attributes:
        place: base URL of the server; None for OpenAI.
        calls: calls whose tokens the server reported; `tokens` and `money` are theirs.
        unpriced: calls without a price.
        money: currency -> amount.
        lost: calls that ended without a report of their tokens.
        lost_at_most: currency -> upper bound of their cost.
    """

    model: str
    place: str | None = None
    calls: int = 0
    tokens: Tokens = field(default_factory=Tokens)
    unpriced: int = 0
    money: Mapping[str, Decimal] = field(default_factory=dict)
    lost: int = 0
    lost_at_most: Mapping[str, Decimal] = field(default_factory=dict)

    def plus(self, row: SpendingRow) -> CallCosts:
        """Return the costs with one more call."""
        # The sums may mix several models or servers, which the manifest must show.
        summed = replace(
            self,
            model=self.model if self.model == row.model else SEVERAL,
            place=self.place if self.place == row.place else SEVERAL,
            unpriced=self.unpriced + (row.money is None),
        )
        if row.lost:
            return replace(summed, lost=self.lost + 1, lost_at_most=_added(self.lost_at_most, row))
        return replace(
            summed,
            calls=self.calls + 1,
            tokens=self.tokens + row.tokens,
            money=_added(self.money, row),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """A price table: its file name, and the hash of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCosts:
    """The costs of a run, over all its commands.

    Attributes:
        judges, systems: name -> costs.
        prices: model -> price used.
        table: the price table of the last command.
    """

    judges: Mapping[str, CallCosts] = field(default_factory=dict)
    systems: Mapping[str, CallCosts] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    table: TableFacts | None = None


def totals(rows: Iterable[SpendingRow]) -> RunCosts:
    """Return the sums of some calls, without the prices."""
    costs: dict[BilledRole, dict[str, CallCosts]] = {"judge": {}, "system": {}}
    for row in rows:
        known = costs[row.role].get(row.name) or CallCosts(model=row.model, place=row.place)
        costs[row.role][row.name] = known.plus(row)
    return RunCosts(judges=costs["judge"], systems=costs["system"])


def json_of_spending(row: SpendingRow) -> dict[str, object]:
    """Return a call as a row of spending.jsonl."""
    return {
        "role": row.role,
        "name": row.name,
        "model": row.model,
        "place": row.place,
        "lost": row.lost,
        "tokens": {kind: count for kind, count in row.tokens.by_kind().items() if count},
        "money": None if row.money is None else f"{row.money:f}",
        "currency": row.currency,
    }


def spending_from(row: Mapping[str, object], location: str) -> SpendingRow:
    """Return the call in a row of spending.jsonl.

    Raises:
        BadData: the row is invalid; the message starts with `location`.
    """
    try:
        role, tokens, money = row["role"], row["tokens"], row["money"]
        if role not in ("judge", "system") or not isinstance(tokens, Mapping):
            raise BadData(f"{location}: not a row of spending: {row!r}"[:300])
        place, currency = row["place"], row["currency"]
        return SpendingRow(
            role="judge" if role == "judge" else "system",
            name=str(row["name"]),
            model=str(row["model"]),
            place=None if place is None else str(place),
            lost=bool(row["lost"]),
            tokens=Tokens(**{kind: int(tokens.get(kind, 0)) for kind in TOKEN_KINDS}),
            money=None if money is None else Decimal(str(money)),
            currency=None if currency is None else str(currency),
        )
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise BadData(
            f"{location}: not a row of spending: {type(error).__name__}: {error}; "
            "remove the line to continue without its cost"
        ) from error


def _added(amounts: Mapping[str, Decimal], row: SpendingRow) -> Mapping[str, Decimal]:
    if row.money is None or row.currency is None:
        return amounts
    return {**amounts, row.currency: amounts.get(row.currency, Decimal(0)) + row.money}
