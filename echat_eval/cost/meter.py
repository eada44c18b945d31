"""Counts what calls cost while they are made, and lets none be made that could go beyond a limit.

A call is held for at the most it can cost before it is sent, and settled for what the server says it
used. So the sum of what was paid and what is in flight is never above the limit, however many calls
are in flight. Where only what is in flight stands in the way, a call waits for it to be settled.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol

from echat_eval.cost.prices import OPENAI_HOST, TOKEN_KINDS, Price, PriceTable, Tokens
from echat_eval.errors import UsageError, Withheld

__all__ = ["CURRENCY", "Account", "BilledClient", "BilledRole", "Call", "Meter", "call_of", "totals"]

BilledRole = Literal["judge", "system"]
#: Of --max-cost. Prices in another one cannot be held against it: no rate of exchange is guessed.
CURRENCY = "USD"
#: Seconds between two looks whether a held-back call may be made.
LOOK_AGAIN = 0.02


class BilledClient(Protocol):
    """Whoever asks a server that may want money: a chat client, or a system that asks by itself."""

    model: str
    base_url: str | None
    account: Account | None


class Meter:
    """What one command spends.

    Args:
        table: prices.
        limit: US dollars; None: no limit.
        log: called with a row for every call that was paid or may have been.
    """

    def __init__(
        self,
        table: PriceTable,
        *,
        limit: Decimal | None = None,
        log: Callable[[Mapping[str, Any]], None] = lambda row: None,
    ) -> None:
        self.table, self.limit = table, limit
        self._log = log
        self._lock = threading.Lock()
        self._settled: dict[str, Decimal] = {}  # by currency; what may have been paid is in it
        self._held = Decimal(0)
        self.calls = 0
        self.unpriced = 0
        self.withheld = 0

    def account(self, role: BilledRole, name: str, billed_client: BilledClient) -> Account:
        """Open an account and give it to the billed_client.

        Raises:
            UsageError: there is a limit, and no price to hold against it.
        """
        price = self.table.find(billed_client.model, billed_client.base_url)
        if self.limit is not None and (price is None or price.currency != CURRENCY):
            place = billed_client.base_url or OPENAI_HOST
            lacks = "has no price" if price is None else f"is priced in {price.currency}"
            raise UsageError(
                f"--max-cost: {role} '{name}' asks model '{billed_client.model}' at {place}, which {lacks} "
                f"in {self.table.name}; give its price in {CURRENCY} in a file named by --prices "
                "(0 where nothing is paid), or leave --max-cost out"
            )
        made = Account(
            meter=self,
            role=role,
            name=name,
            model=billed_client.model,
            place=billed_client.base_url,
            price=price,
        )
        billed_client.account = made
        return made

    def line(self) -> str:
        """Return what was spent so far, for people who watch; empty where nothing was."""
        with self._lock:
            spent = ", ".join(f"{money:.4f} {currency}" for currency, money in sorted(self._settled.items()))
            if not self.calls:
                return ""
            known = spent or ("cost unknown" if self.unpriced else "")
            some = f" and {self.unpriced:,} calls without a price" if spent and self.unpriced else ""
            limit = f" of at most {self.limit:f}" if self.limit is not None else ""
            return f"{known}{limit}{some}, {self.calls:,} calls"

    @property
    def spent(self) -> Decimal:
        """Return the US dollars of this command, what may have been paid included."""
        with self._lock:
            return self._settled.get(CURRENCY, Decimal(0))

    # -- used by Call ---------------------------------------------------------

    def reserve(self, most: Decimal) -> bool:
        """Hold what a call may cost; False: wait until something in flight is settled.

        Raises:
            Withheld: it may not be made.
        """
        with self._lock:
            if self.limit is not None:
                settled = self._settled.get(CURRENCY, Decimal(0))
                if settled + most > self.limit:
                    self.withheld += 1
                    raise Withheld(
                        f"not asked: its cost could go beyond --max-cost {self.limit:f}; "
                        "the same command with a higher limit goes on"
                    )
                if settled + self._held + most > self.limit:
                    return False
            self._held += most
            return True

    def settle(
        self, held: Decimal, account: Account, used: Tokens | None, *, unsettled: bool, bounded: bool
    ) -> None:
        """Give back what was held, and count what was used or, of a lost call, what may have been.

        Args:
            used: None: nothing can have been paid.
            bounded: a lost call's `used` is its most; otherwise nobody knows it.
        """
        with self._lock:
            self._held -= held
            if used is None:
                return
            money = account.price.money(used) if account.price is not None else None
            if unsettled and not bounded:
                money = None
            self.calls += 1
            if money is None or account.price is None:
                self.unpriced += 1
            else:
                currency = account.price.currency
                self._settled[currency] = self._settled.get(currency, Decimal(0)) + money
            self._log(_row(account, used, money, unsettled=unsettled))


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One judge or system, and what its tokens cost."""

    meter: Meter
    role: BilledRole
    name: str
    model: str
    place: str | None
    price: Price | None

    def call(self, most: Tokens | None) -> Call:
        """Return the context manager that a call is made in; see `Call`.

        Args:
            most: tokens that it can use at most; None: nobody knows, so it bears no limit.
        """
        return Call(account=self, most=most)


@dataclass(slots=True, kw_only=True)
class Call:
    """One call: entered before it is sent, told what it used, settled on leaving.

    A call that ends without `paid` or `free` may have been paid for: its most is counted against the
    limit, and it is told apart from what is known.

    Raises:
        Withheld: on entering, where it may not be made.
    """

    account: Account
    most: Tokens | None
    _held: Decimal = Decimal(0)
    _tokens: Tokens | None = None
    _free: bool = False
    _settled: bool = field(default=False)

    def paid(self, tokens: Tokens | None) -> None:
        """Say what the server said that it used; None: it told nothing."""
        self._tokens = tokens

    def free(self) -> None:
        """Say that nothing can have been paid: the server refused, or was never reached."""
        self._free = True

    def _most_money(self) -> Decimal:
        price, limited = self.account.price, self.account.meter.limit is not None
        if limited and self.most is None:
            raise UsageError(
                f"--max-cost: '{self.account.name}' sets no max_tokens, so a call may cost anything; "
                "set it with --set max_tokens=N"
            )
        money = price.money(self.most) if price is not None and self.most is not None else None
        if limited and money is None:
            raise UsageError(
                f"--max-cost: '{self.account.name}' uses tokens of a kind that has no price in "
                f"{self.account.meter.table.name}; add it with --prices"
            )
        return money or Decimal(0)

    def __enter__(self) -> Call:
        self._held = self._most_money()
        while not self.account.meter.reserve(self._held):
            time.sleep(LOOK_AGAIN)
        return self

    async def __aenter__(self) -> Call:
        self._held = self._most_money()
        while not self.account.meter.reserve(self._held):
            await asyncio.sleep(LOOK_AGAIN)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not self._settled:
            self._settled = True
            unsettled = not self._free and not _never_sent(error) and self._tokens is None
            used = (self.most or Tokens()) if unsettled else self._tokens
            self.account.meter.settle(
                self._held, self.account, used, unsettled=unsettled, bounded=self.most is not None
            )

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)


class _Unpaid:
    """A call nobody counts."""

    def paid(self, tokens: Tokens | None) -> None:
        """Count nothing."""

    def free(self) -> None:
        """Count nothing."""

    async def __aenter__(self) -> _Unpaid:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


def call_of(account: Account | None, most: Tokens | None) -> Call | _Unpaid:
    """Return the context manager of a call, counted if there is an account; see `Call`."""
    return account.call(most) if account is not None else _Unpaid()


def _never_sent(error: BaseException | None) -> bool:
    """Return whether a call failed before anything reached a server (named as httpx names it)."""
    while error is not None:
        if type(error).__name__ in ("ConnectError", "ConnectTimeout", "PoolTimeout"):
            return True
        error = error.__cause__
    return False


def _row(account: Account, tokens: Tokens, money: Decimal | None, *, unsettled: bool) -> dict[str, Any]:
    return {
        "role": account.role,
        "name": account.name,
        "model": account.model,
        "place": account.place,
        "lost": unsettled,
        "tokens": {k: v for k, v in asdict(tokens).items() if v},
        "money": None if money is None else f"{money:f}",
        "currency": account.price.currency if account.price is not None else None,
    }


def totals(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return role -> name -> what all commands of a run spent, as its manifest keeps it.

    Tokens and money are of calls whose use the server told. `unsettled` are calls that broke off, of which
    nobody told: `lost_at_most` is the most they can have cost.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        entry = found.setdefault(f"{row['role']}s", {}).setdefault(
            row["name"],
            {
                "model": row["model"],
                "place": row["place"],
                "calls": 0,
                "tokens": dict.fromkeys(TOKEN_KINDS, 0),
                "unpriced": 0,
                "money": {},
                "lost": 0,
                "lost_at_most": {},
            },
        )
        # Another model or place under the same name is said, not summed up silently.
        for fact in ("model", "place"):
            if entry[fact] != row[fact]:
                entry[fact] = "several"
        into = "lost_at_most" if row["lost"] else "money"
        entry["lost" if row["lost"] else "calls"] += 1
        if not row["lost"]:
            for kind, count in row["tokens"].items():
                entry["tokens"][kind] += count
        if row["money"] is None:
            entry["unpriced"] += 1
        else:
            sums = entry[into]
            sums[row["currency"]] = f"{Decimal(sums.get(row['currency'], '0')) + Decimal(row['money']):f}"
    return found
