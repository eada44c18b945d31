"""Meters the cost of calls while a run is in progress, and enforces a spending limit.

Before a call is sent, an upper bound of its cost is reserved. Afterwards the cost of the tokens that the
server reports replaces the reservation. The sum of money spent and reserved therefore never exceeds the
limit, whatever the number of concurrent calls. A call waits while only reservations prevent it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from echat_eval.cost.prices import OPENAI_HOST, Price, PriceTable, Tokens
from echat_eval.errors import Unavailable, UsageError, Withheld, scrub
from echat_eval.ports import Billed

if TYPE_CHECKING:
    from echat_eval.cost.tokens import MessageSize
    from echat_eval.records import Request, Sample

__all__ = [
    "CURRENCY",
    "Account",
    "BilledClient",
    "BilledPart",
    "BilledRole",
    "Call",
    "Meter",
    "MeteredSystem",
    "SpendingRow",
    "billed_client_of",
    "metered_call",
]

BilledRole = Literal["judge", "system"]
#: Currency of --max-cost. Prices in other currencies cannot be compared with it: there is no exchange rate.
CURRENCY = "USD"
#: Seconds between two attempts to reserve the cost of a waiting call.
POLL_INTERVAL = 0.02


class BilledClient(Protocol):
    """A client of a server that may charge: a chat client, or a system with its own client."""

    model: str
    base_url: str | None

    def attach_account(self, account: Account | None) -> None:
        """Count the cost of all further calls in an account; None: do not count it."""


@runtime_checkable
class BilledPart(Billed, Protocol):
    """A system or scorer whose calls may cost money."""

    @property
    def billed_client(self) -> BilledClient | None:
        """Return the client that makes the calls; None if they are free."""


@runtime_checkable
class MeteredSystem(BilledPart, Protocol):
    """A system that calls a paid server. For an oracle, a request is the whole sample."""

    def size_of(self, request: Request | Sample) -> MessageSize:
        """Return the size of a request before it is sent.

        Raises:
            NotApplicable: the request cannot be sent.
        """


def billed_client_of(part: object) -> BilledClient | None:
    """Return the client whose calls may cost money; None for a part that calls no paid server."""
    return part.billed_client if isinstance(part, BilledPart) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendingRow:
    """One call that was billed or may have been: a row of spending.jsonl.

    Attributes:
        place: base URL of the server; None for OpenAI.
        lost: the call ended without a report of its tokens.
        tokens: used or, of a lost call, at most.
        money: None if the price is unknown.
        currency: of the money; None if the price is unknown.
    """

    role: BilledRole
    name: str
    model: str
    place: str | None
    lost: bool
    tokens: Tokens
    money: Decimal | None
    currency: str | None


class Meter:
    """The money that one command spends.

    Args:
        table: prices.
        limit: US dollars; None for no limit.
        log: called with a row for every call that was billed or may have been.

    Attributes:
        calls: calls that were billed or may have been.
        unpriced: of these, the calls whose cost is unknown.
        withheld: calls that were not made because of the limit.
    """

    def __init__(
        self,
        table: PriceTable,
        *,
        limit: Decimal | None = None,
        log: Callable[[SpendingRow], None] = lambda row: None,
    ) -> None:
        self.table, self.limit = table, limit
        self._log = log
        self._unlogged: list[SpendingRow] = []
        self._lock = threading.Lock()
        self._settled: dict[str, Decimal] = {}  # currency -> money, including calls that may have been billed
        self._reserved = Decimal(0)
        self.calls = 0
        self.unpriced = 0
        self.withheld = 0

    def account(self, role: BilledRole, name: str, billed_client: BilledClient) -> Account:
        """Open an account and assign it to the client.

        Raises:
            UsageError: there is a limit, but no price in its currency.
        """
        price = self.table.find(billed_client.model, billed_client.base_url)
        if self.limit is not None and (price is None or price.currency != CURRENCY):
            fault = "has no price" if price is None else f"is priced in {price.currency}"
            raise UsageError(
                f"--max-cost: {role} '{name}' uses model '{billed_client.model}' at "
                f"{billed_client.base_url or OPENAI_HOST}, which {fault} in {self.table.name}; "
                f"add its price in {CURRENCY} to a file given with --prices (0 if it is free), "
                "or omit --max-cost"
            )
        account = Account(
            meter=self,
            role=role,
            name=name,
            model=billed_client.model,
            base_url=billed_client.base_url,
            price=price,
        )
        billed_client.attach_account(account)
        return account

    def line(self) -> str:
        """Return the money spent so far as one line for the display; empty before the first call."""
        with self._lock:
            spent = ", ".join(f"{money:.4f} {currency}" for currency, money in sorted(self._settled.items()))
            if not self.calls:
                return ""
            known = spent or ("cost unknown" if self.unpriced else "")
            unpriced = f" and {self.unpriced:,} calls without a price" if spent and self.unpriced else ""
            limit = f" of at most {self.limit:f}" if self.limit is not None else ""
            return f"{known}{limit}{unpriced}, {self.calls:,} calls"

    @property
    def spent(self) -> Decimal:
        """Return the US dollars that this command spent, including calls that may have been billed."""
        with self._lock:
            return self._settled.get(CURRENCY, Decimal(0))

    # -- used by Call ---------------------------------------------------------

    def reserve(self, upper_bound: Decimal) -> bool:
        """Reserve the cost of a call; return False if it must wait until other calls are settled.

        Raises:
            Withheld: the call could exceed the limit even after all others are settled.
        """
        with self._lock:
            if self.limit is not None:
                settled = self._settled.get(CURRENCY, Decimal(0))
                if settled + upper_bound > self.limit:
                    self.withheld += 1
                    raise Withheld(
                        f"not called: the cost could exceed --max-cost {self.limit:f}; "
                        "run the same command with a higher limit to continue"
                    )
                if settled + self._reserved + upper_bound > self.limit:
                    return False
            self._reserved += upper_bound
            return True

    def settle(
        self, reserved: Decimal, account: Account, used: Tokens | None, *, unsettled: bool, bounded: bool
    ) -> None:
        """Release a reservation and count the tokens used.

        Args:
            used: tokens used or, for an unsettled call, their upper bound; None: nothing was billed.
            unsettled: the call ended without a report of its tokens.
            bounded: the upper bound of an unsettled call is known.
        """
        with self._lock:
            self._reserved -= reserved
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
            self._unlogged.append(_row(account, used, money, unsettled=unsettled))
        # The answer of a paid call must not be lost because its row cannot be written, as on a full disk.
        with suppress(OSError):
            self.write_log()

    def write_log(self) -> None:
        """Log the rows that could not be logged before.

        Raises:
            OSError: they still cannot.
        """
        with self._lock:
            while self._unlogged:
                self._log(self._unlogged[0])
                del self._unlogged[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account of one judge or system.

    Attributes:
        base_url: URL of the server; None for OpenAI.
        price: None if unknown.
    """

    meter: Meter
    role: BilledRole
    name: str
    model: str
    base_url: str | None
    price: Price | None

    def call(self, upper_bound: Tokens | None) -> Call:
        """Return the context manager for one call; see `Call`.

        Args:
            upper_bound: maximum of tokens; None if unknown, which a spending limit does not allow.
        """
        return Call(account=self, upper_bound=upper_bound)


@dataclass(slots=True, kw_only=True)
class Call:
    """A context manager for one call: reserves its cost on entry and settles it on exit.

    Report the tokens used with `report_usage`, or a call that was not billed with `report_unbilled`. A call
    that ends without either is unsettled, unless its error states that it was never sent: its upper bound
    counts against the limit, and the log marks it.

    Raises:
        Withheld: on entry, if the call could exceed the limit.
    """

    account: Account
    upper_bound: Tokens | None
    _reserved: Decimal = Decimal(0)
    _tokens: Tokens | None = None
    _unbilled: bool = False
    _closed: bool = field(default=False)

    def report_usage(self, tokens: Tokens | None) -> None:
        """Record the tokens that the server reported; None if it reported none."""
        self._tokens = tokens

    def report_unbilled(self) -> None:
        """Record that nothing was billed: the server rejected the call without processing it."""
        self._unbilled = True

    def _cost_bound(self) -> Decimal:
        price, limited = self.account.price, self.account.meter.limit is not None
        if limited and self.upper_bound is None:
            raise UsageError(
                f"--max-cost: '{self.account.name}' sets no max_tokens, so the cost of a call has no bound; "
                "set it with --set max_tokens=N"
            )
        money = price.money(self.upper_bound) if price is not None and self.upper_bound is not None else None
        if limited and money is None:
            raise UsageError(
                f"--max-cost: '{self.account.name}' uses tokens of a kind without a price in "
                f"{self.account.meter.table.name}; add it with --prices"
            )
        return money or Decimal(0)

    def __enter__(self) -> Call:
        self._reserved = self._cost_bound()
        while not self.account.meter.reserve(self._reserved):
            time.sleep(POLL_INTERVAL)
        return self

    async def __aenter__(self) -> Call:
        self._reserved = self._cost_bound()
        while not self.account.meter.reserve(self._reserved):
            await asyncio.sleep(POLL_INTERVAL)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not self._closed:
            self._closed = True
            unsettled = not self._unbilled and not _not_processed(error) and self._tokens is None
            used = (self.upper_bound or Tokens()) if unsettled else self._tokens
            self.account.meter.settle(
                self._reserved,
                self.account,
                used,
                unsettled=unsettled,
                bounded=self.upper_bound is not None,
            )

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)


class _UnmeteredCall:
    """A call without an account: it counts nothing."""

    def report_usage(self, tokens: Tokens | None) -> None:
        """Do nothing."""

    def report_unbilled(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> _UnmeteredCall:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


def metered_call(account: Account | None, upper_bound: Tokens | None) -> Call | _UnmeteredCall:
    """Return the context manager for one call, which counts only if there is an account; see `Call`."""
    return account.call(upper_bound) if account is not None else _UnmeteredCall()


def _not_processed(error: BaseException | None) -> bool:
    """Return whether nothing of a call was processed: the transport states that nothing was sent.

    A `UsageError` is a wrong address, certificate or proxy, or a refusal that every call would meet.
    """
    return isinstance(error, UsageError) or (isinstance(error, Unavailable) and error.never_sent)


def _row(account: Account, tokens: Tokens, money: Decimal | None, *, unsettled: bool) -> SpendingRow:
    return SpendingRow(
        role=account.role,
        name=account.name,
        model=account.model,
        place=account.base_url and scrub(account.base_url),
        lost=unsettled,
        tokens=tokens,
        money=money,
        currency=account.price.currency if account.price is not None else None,
    )
