"""What a million tokens cost: `baselines/prices.yaml`, or a table of the user's in the same form."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from echat_eval.errors import BadData
from echat_eval.io.data_folder import data_folder
from echat_eval.io.strict_yaml import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["OPENAI_HOST", "TOKEN_KINDS", "Price", "PriceTable", "Tokens", "read_prices"]

#: Kinds of token that are priced apart; an answer says how many there were of each.
TOKEN_KINDS = ("text_in", "text_out", "audio_in", "audio_out")
#: Where a client without a base URL goes.
OPENAI_HOST = "api.openai.com"
_MILLION = Decimal(1_000_000)
_FACTS = ("currency", "date", "source")
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """How many tokens of each kind."""

    text_in: int = 0
    text_out: int = 0
    audio_in: int = 0
    audio_out: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(**{kind: getattr(self, kind) + getattr(other, kind) for kind in TOKEN_KINDS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Of one model at one place.

    Attributes:
        text_in, text_out, audio_in, audio_out: per million tokens; None where there is no such price.
        currency: three letters, such as USD.
        date: when the source was looked up, as YYYY-MM-DD.
    """

    currency: str
    date: str
    source: str
    text_in: Decimal | None = None
    text_out: Decimal | None = None
    audio_in: Decimal | None = None
    audio_out: Decimal | None = None

    def money(self, tokens: Tokens) -> Decimal | None:
        """Return what tokens cost, exactly; None if there are some of a kind without a price.

        >>> price = Price(currency="USD", date="2026-01-31", source="x", text_in=Decimal("2.5"))
        >>> price.money(Tokens(text_in=7)), price.money(Tokens(text_out=1))
        (Decimal('0.0000175'), None)
        """
        total = Decimal(0)
        for kind in TOKEN_KINDS:
            count, price = getattr(tokens, kind), getattr(self, kind)
            if count and price is None:
                return None
            total += count * (price or Decimal(0)) / _MILLION
        return total

    def as_json(self) -> dict[str, str]:
        """Return what a manifest keeps of it."""
        prices = {kind: str(value) for kind in TOKEN_KINDS if (value := getattr(self, kind)) is not None}
        return {**prices, "currency": self.currency, "date": self.date, "source": self.source}


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """All prices of one file.

    Attributes:
        name: of the file, without its folders.
        sha256: of its bytes.
    """

    name: str
    sha256: str
    prices: Mapping[str, Price]

    def find(self, model: str, base_url: str | None) -> Price | None:
        """Return the price of a model where it is served; None if it is not known.

        Args:
            base_url: None: OpenAI's own.
        """
        place = urlsplit(base_url).netloc if base_url else OPENAI_HOST
        host = place.rpartition(":")[0] if re.search(r":\d+$", place) else place
        for key in (f"{model} @ {place}", f"{model} @ {host}", model):
            if key in self.prices:
                return self.prices[key]
        return None


def read_prices(path: Path | None = None) -> PriceTable:
    """Return the prices of a file, by default those that come with the package.

    Raises:
        BadData: with file and line.

    >>> read_prices().find("gpt-4o-2024-11-20", None).text_out
    Decimal('10.0')
    """
    shown = "baselines/prices.yaml" if path is None else str(path)
    path = path or data_folder("baselines") / "prices.yaml"
    file = read_yaml(path, shown=shown)
    prices = {key: _price(f"{shown}:{file.lines[key]}: {key}", entry) for key, entry in file.content.items()}
    return PriceTable(name=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), prices=prices)


def _price(where: str, entry: Any) -> Price:
    known = (*TOKEN_KINDS, *_FACTS)
    if not isinstance(entry, dict):
        raise BadData(f"{where}: is {entry!r}; expected a mapping of {', '.join(known)}")
    for key in (*(k for k in entry if k not in known), *(k for k in _FACTS if k not in entry)):
        fault = "unknown" if key in entry else "missing"
        raise BadData(f"{where}: '{key}' is {fault}; keys are {', '.join(known)}")
    if not any(kind in entry for kind in TOKEN_KINDS):
        raise BadData(f"{where}: has no price; expected at least one of {', '.join(TOKEN_KINDS)}")
    if not _CURRENCY.fullmatch(str(entry["currency"])):
        raise BadData(f"{where}: currency is {entry['currency']!r}; expected three letters, such as USD")
    day = str(entry["date"])
    try:
        date.fromisoformat(day)
    except ValueError as error:
        raise BadData(f"{where}: date is {day!r}; expected YYYY-MM-DD") from error
    if not isinstance(entry["source"], str) or not entry["source"].strip():
        raise BadData(f"{where}: source is {entry['source']!r}; say where the price was read")
    amounts = {kind: _amount(f"{where}: {kind}", entry[kind]) for kind in TOKEN_KINDS if kind in entry}
    return Price(currency=entry["currency"], date=day, source=entry["source"], **amounts)


def _amount(where: str, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise BadData(f"{where} is {value!r}; expected what a million tokens cost, a number from 0")
    return Decimal(str(value))
