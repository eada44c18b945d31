"""Prices per million tokens, from `baselines/prices.yaml` or a user's table of the same form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from echat_eval.errors import BadData
from echat_eval.io.data_folder import data_folder
from echat_eval.io.hashing import file_sha256
from echat_eval.io.schema import Rule, Schema, is_number, text
from echat_eval.io.strict_yaml import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["OPENAI_HOST", "TOKEN_KINDS", "Price", "PriceTable", "Tokens", "read_prices"]

#: Kinds of token with separate prices; a server reports a count of each.
TOKEN_KINDS = ("text_in", "text_out", "audio_in", "audio_out")
#: Host of a client without a base URL.
OPENAI_HOST = "api.openai.com"
_MILLION = Decimal(1_000_000)
_AMOUNT = Rule(
    lambda v: is_number(v, low=0), "the price of a million tokens, a number from 0", required=False
)
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token counts of each kind."""

    text_in: int = 0
    text_out: int = 0
    audio_in: int = 0
    audio_out: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        counts, more = self.by_kind(), other.by_kind()
        return Tokens(**{kind: counts[kind] + more[kind] for kind in TOKEN_KINDS})

    def by_kind(self) -> dict[str, int]:
        """Return kind -> count, in the order of `TOKEN_KINDS`."""
        return {
            "text_in": self.text_in,
            "text_out": self.text_out,
            "audio_in": self.audio_in,
            "audio_out": self.audio_out,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of one model at one server.

    Attributes:
        text_in, text_out, audio_in, audio_out: per million tokens; None if there is no such price.
        currency: three letters, such as USD.
        date: day on which the source was read, as YYYY-MM-DD.
    """

    currency: str
    date: str
    source: str
    text_in: Decimal | None = None
    text_out: Decimal | None = None
    audio_in: Decimal | None = None
    audio_out: Decimal | None = None

    def money(self, tokens: Tokens) -> Decimal | None:
        """Return the exact cost of tokens; None if some of them have no price.

        >>> price = Price(currency="USD", date="2026-01-31", source="x", text_in=Decimal("2.5"))
        >>> price.money(Tokens(text_in=7)), price.money(Tokens(text_out=1))
        (Decimal('0.0000175'), None)
        """
        total, prices = Decimal(0), self.by_kind()
        for kind, count in tokens.by_kind().items():
            price = prices[kind]
            if count and price is None:
                return None
            total += count * (price or Decimal(0)) / _MILLION
        return total

    def by_kind(self) -> dict[str, Decimal | None]:
        """Return kind -> price, in the order of `TOKEN_KINDS`."""
        return {
            "text_in": self.text_in,
            "text_out": self.text_out,
            "audio_in": self.audio_in,
            "audio_out": self.audio_out,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """The prices in one file.

    Attributes:
        name: file name without folders.
        sha256: hex digest of the file's bytes.
        prices: "model @ host:port", "model @ host" or "model" -> price.
    """

    name: str
    sha256: str
    prices: Mapping[str, Price]

    def find(self, model: str, base_url: str | None) -> Price | None:
        """Return the price of a model at a server; None if the table has none.

        Args:
            base_url: URL of the server; None for OpenAI.
        """
        address = urlsplit(base_url).netloc if base_url else OPENAI_HOST
        host = address.rpartition(":")[0] if re.search(r":\d+$", address) else address
        for key in (f"{model} @ {address}", f"{model} @ {host}", model):
            if key in self.prices:
                return self.prices[key]
        return None


def read_prices(path: Path | None = None) -> PriceTable:
    """Return the prices in a file, by default the one that ships with the package.

    Raises:
        BadData: an entry is invalid; the message names file and line.

    >>> read_prices().find("gpt-4o-2024-11-20", None).text_out
    Decimal('10.0')
    """
    shown = "baselines/prices.yaml" if path is None else str(path)
    path = path or data_folder("baselines") / "prices.yaml"
    file = read_yaml(path, shown=shown)
    prices = {key: _price(f"{shown}:{file.lines[key]}: {key}", entry) for key, entry in file.content.items()}
    return PriceTable(name=path.name, sha256=file_sha256(path), prices=prices)


def _price(location: str, entry: object) -> Price:
    _ENTRY.check(entry, location)
    facts: Mapping[str, object] = entry if isinstance(entry, dict) else {}
    amounts = {k: Decimal(str(facts[k])) for k in TOKEN_KINDS if facts.get(k) is not None}
    if not amounts:
        raise BadData(f"{location}: has no price; expected at least one of {', '.join(TOKEN_KINDS)}")
    currency, day, source = (str(facts[key]) for key in ("currency", "date", "source"))
    return Price(currency=currency, date=day, source=source, **amounts)


def _is_day(value: object) -> bool:
    try:
        date.fromisoformat(str(value))
    except ValueError:
        return False
    return True


_ENTRY = Schema(
    {
        **dict.fromkeys(TOKEN_KINDS, _AMOUNT),
        "currency": Rule(
            lambda v: isinstance(v, str) and _CURRENCY.fullmatch(v) is not None, "three letters, such as USD"
        ),
        "date": Rule(_is_day, "the day on which the source was read, YYYY-MM-DD"),
        "source": text("where the price was read"),
    }
)
