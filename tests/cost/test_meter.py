"""What calls cost: exact sums, a limit that no number of calls in flight goes beyond, and prices with sources."""

from __future__ import annotations

import asyncio
import random
import threading
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from echat_eval.cost.meter import Account, Meter, totals
from echat_eval.cost.prices import Price, PriceTable, Tokens, read_prices
from echat_eval.cost.tokens import MessageSize
from echat_eval.errors import BadData, Unavailable, UsageError, Withheld


class Client:
    def __init__(self, model: str = "m", base_url: str | None = "http://127.0.0.1:9/v1") -> None:
        self.model, self.base_url = model, base_url
        self.account: Account | None = None


def price(**amounts: str) -> Price:
    return Price(
        currency="USD", date="2026-01-31", source="a test", **{k: Decimal(v) for k, v in amounts.items()}
    )


def table(**prices: Price) -> PriceTable:
    return PriceTable(name="prices.yaml", sha256="0", prices=prices)


CHEAP = table(m=price(text_in="2.5", text_out="10"))


def metered(limit: str | None, prices: PriceTable = CHEAP) -> tuple[Account, list[Any]]:
    rows: list[Any] = []
    meter = Meter(prices, limit=None if limit is None else Decimal(limit), log=rows.append)
    return meter.account("judge", "j", Client()), rows


# -- prices -------------------------------------------------------------------


def test_every_shipped_price_has_a_source_and_a_day() -> None:
    found = read_prices()
    assert found.prices
    for key, entry in found.prices.items():
        assert "https://" in entry.source, key
        assert entry.text_in is not None, key
        assert entry.text_out is not None, key


def test_the_rubrics_own_judge_has_a_price_at_openai_and_nowhere_else() -> None:
    from echat_eval.judge import load_judge

    model = load_judge("echat-r1").model
    assert read_prices().find(model, None) is not None
    assert read_prices().find(model, "https://api.openai.com/v1") is not None
    # The same name elsewhere may be anything.
    assert read_prices().find(model, "http://127.0.0.1:8000/v1") is None


def test_a_price_is_looked_up_from_the_place_to_the_name() -> None:
    places = {"m @ h:1": price(text_in="1"), "m @ h": price(text_in="2"), "m": price(text_in="3")}
    found = PriceTable(name="t", sha256="0", prices=places)
    amounts = [
        found.find("m", url).text_in  # type: ignore[union-attr]
        for url in ("http://h:1/v1", "http://h:2/v1", "http://h/v1", "http://other/v1", None)
    ]
    assert amounts == [1, 2, 2, 3, 3]


BAD = [
    ("m:\n  currency: USD\n", "1: m: 'date' is missing"),
    ("x: {}\nm: 5\n", "1: x: 'currency' is missing"),
    ("m: five\n", "1: m: is 'five'; expected a mapping"),
    ("\n\nm: {currency: USD, date: 2026-01-31, source: x}\n", "3: m: has no price"),
    ("m: {currency: USD, date: 2026-01-31, source: x, text_in: two}\n", "1: m: text_in is 'two'"),
    ("m: {currency: USD, date: 2026-01-31, source: x, text_in: -1}\n", "1: m: text_in is -1"),
    ("m: {currency: USD, date: 2026-01-31, source: x, text_in: .nan}\n", "1: m: text_in is nan"),
    ("m: {currency: USD, date: 2026-01-31, source: x, text_in: true}\n", "1: m: text_in is True"),
    ("m: {currency: USD, date: soon, source: x, text_in: 1}\n", "1: m: date is 'soon'; expected YYYY-MM-DD"),
    ("m: {currency: dollar, date: 2026-01-31, source: x, text_in: 1}\n", "1: m: currency is 'dollar'"),
    ("m: {currency: USD, date: 2026-01-31, source: '', text_in: 1}\n", "1: m: source is ''"),
    ("m: {currency: USD, date: 2026-01-31, source: x, text: 1}\n", "1: m: 'text' is unknown"),
    ("- m\n", "1: expected a mapping"),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[said for _, said in BAD])
def test_a_bad_table_is_told_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BadData) as error:
        read_prices(path)
    assert f"{path}:{said}" in str(error.value)


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"none\.yaml: cannot be read"):
        read_prices(tmp_path / "none.yaml")


def test_money_is_exact() -> None:
    rng = random.Random(5)
    amounts = {kind: f"{rng.uniform(0, 90):.3f}" for kind in ("text_in", "text_out", "audio_in", "audio_out")}
    given = price(**amounts)
    for _ in range(200):
        counts = {kind: rng.randrange(10**7) for kind in amounts}
        expected = sum(Fraction(amounts[kind]) * counts[kind] / 10**6 for kind in amounts)
        assert Fraction(given.money(Tokens(**counts))) == expected  # type: ignore[arg-type]


# -- the meter ----------------------------------------------------------------


def test_sums_are_exact_and_told_per_name() -> None:
    account, rows = metered(None)
    other = account.meter.account("system", "s", Client("free-one"))
    for n in range(1, 1001):
        with account.call(Tokens(text_in=10_000, text_out=400)) as call:
            call.paid(Tokens(text_in=n, text_out=1))
    with other.call(Tokens(text_in=5)) as call:
        call.paid(Tokens(text_in=3, audio_out=2))
    found = totals(rows)
    judge = found["judges"]["j"]
    expected = Fraction("2.5") * (1000 * 1001 // 2) / 10**6 + Fraction(10) * 1000 / 10**6
    assert Fraction(judge["money"]["USD"]) == expected == Fraction(account.meter.spent)
    assert judge["tokens"] == {"text_in": 500_500, "text_out": 1000, "audio_in": 0, "audio_out": 0}
    assert (judge["calls"], judge["lost"], judge["unpriced"]) == (1000, 0, 0)
    system = found["systems"]["s"]
    assert (system["money"], system["unpriced"], system["tokens"]["audio_out"]) == ({}, 1, 2)
    assert account.meter.line() == "1.2612 USD and 1 calls without a price, 1,001 calls"


def test_what_was_refused_costs_nothing_and_what_broke_off_may_have() -> None:
    account, rows = metered("1")
    most = Tokens(text_in=1000, text_out=100)  # 0.0035 USD
    with account.call(most) as call:
        call.free()
    assert (account.meter.spent, rows) == (0, [])
    with pytest.raises(Unavailable), account.call(most):
        raise Unavailable("time-out")
    assert account.meter.spent == Decimal("0.0035")
    with account.call(most) as call:
        call.paid(Tokens(text_in=10))
    judge = totals(rows)["judges"]["j"]
    assert (judge["calls"], judge["lost"]) == (1, 1)
    assert (judge["money"], judge["lost_at_most"]) == ({"USD": "0.000025"}, {"USD": "0.0035"})
    assert judge["tokens"]["text_in"] == 10


class Ledger:
    """An independent account of what is in flight and what was charged, as the server sees it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.charged = Fraction(0)
        self.open = self.most_open = 0

    def begin(self) -> None:
        with self.lock:
            self.open += 1
            self.most_open = max(self.most_open, self.open)

    def end(self, money: Fraction) -> None:
        with self.lock:
            self.open -= 1
            self.charged += money


MOST = Tokens(text_in=4000, text_out=400)  # 0.014 USD at most


def test_fifty_calls_at_once_never_go_beyond_the_limit() -> None:
    account, _ = metered("0.25")
    ledger, refused, rng = Ledger(), [0], random.Random(1)
    uses = [(rng.randrange(500, 4001), rng.randrange(1, 401)) for _ in range(300)]

    async def one(use: tuple[int, int], places: asyncio.Semaphore) -> None:
        async with places:
            try:
                async with account.call(MOST) as call:
                    ledger.begin()
                    await asyncio.sleep(rng.uniform(0, 0.004))
                    call.paid(Tokens(text_in=use[0], text_out=use[1]))
                    ledger.end(Fraction("2.5") * use[0] / 10**6 + Fraction(10) * use[1] / 10**6)
                    # What is charged and all that is in flight, were it to cost its most.
                    assert ledger.charged + ledger.open * Fraction("0.014") <= Fraction("0.25")
            except Withheld:
                refused[0] += 1

    async def all_of_them() -> None:
        places = asyncio.Semaphore(50)
        await asyncio.gather(*(one(use, places) for use in uses))

    asyncio.run(all_of_them())
    assert ledger.charged <= Fraction("0.25")
    assert Fraction(account.meter.spent) == ledger.charged
    assert refused[0] > 0
    assert account.meter.withheld == refused[0]
    assert ledger.most_open > 5
    # It was used up as far as a further call could be borne, not given up early.
    assert ledger.charged > Fraction("0.25") - Fraction("0.014")


def test_threads_never_go_beyond_the_limit() -> None:
    account, _ = metered("0.1")
    ledger, refused = Ledger(), []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(12):
            try:
                with account.call(MOST) as call:
                    ledger.begin()
                    use = rng.randrange(500, 4001)
                    call.paid(Tokens(text_in=use))
                    ledger.end(Fraction("2.5") * use / 10**6)
            except Withheld as error:
                refused.append(str(error))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Fraction("0.086") < ledger.charged <= Fraction("0.1")
    assert Fraction(account.meter.spent) == ledger.charged
    assert set(refused) == {
        "not asked: its cost could go beyond --max-cost 0.1; the same command with a higher limit goes on"
    }


def test_a_call_waits_where_what_is_in_flight_may_turn_out_cheaper() -> None:
    account, _ = metered("0.02")
    begun = []

    async def one(name: str, pause: float) -> None:
        async with account.call(MOST) as call:
            begun.append(name)
            await asyncio.sleep(pause)
            call.paid(Tokens(text_in=100))

    async def both() -> None:
        first = asyncio.create_task(one("first", 0.05))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(one("second", 0))
        await asyncio.sleep(0.01)
        assert begun == ["first"]
        await asyncio.gather(first, second)

    asyncio.run(both())
    assert begun == ["first", "second"]


def test_a_limit_needs_prices() -> None:
    meter = Meter(CHEAP, limit=Decimal(5))
    with pytest.raises(UsageError) as error:
        meter.account("judge", "j", Client("unknown-model"))
    said = str(error.value)
    assert "judge 'j' asks model 'unknown-model' at http://127.0.0.1:9/v1, which has no price" in said
    assert "--prices" in said
    euros = Price(currency="EUR", date="2026-01-31", source="x", text_in=Decimal(1))
    with pytest.raises(UsageError, match="is priced in EUR"):
        Meter(table(m=euros), limit=Decimal(5)).account("judge", "j", Client())
    account, _ = metered("5")
    with pytest.raises(UsageError, match="a kind that has no price"), account.call(Tokens(audio_in=5)):
        pass


def test_without_a_limit_a_model_without_a_price_is_counted() -> None:
    meter = Meter(CHEAP)
    account = meter.account("judge", "j", Client("unknown-model"))
    with account.call(Tokens(text_in=5)) as call:
        call.paid(Tokens(text_in=3))
    assert meter.line() == "cost unknown, 1 calls"


def test_a_call_without_an_end_bears_no_limit() -> None:
    account, _ = metered("5")
    with pytest.raises(UsageError, match="max_tokens=N"), account.call(None):
        pass
    free, rows = metered(None)
    with pytest.raises(Unavailable), free.call(None):
        raise Unavailable("time-out")
    found = totals(rows)["judges"]["j"]
    assert (found["lost"], found["lost_at_most"], found["unpriced"]) == (1, {}, 1)


def test_what_is_spent_is_shown_while_it_goes_on() -> None:
    from rich.console import Console

    from echat_eval.cli.progress import Bar

    account, _ = metered("5")
    bar = Bar(told=account.meter.line)
    shown = Console(width=100, record=True, file=StringIO())

    def drawn() -> str:
        for part in bar._bars.get_renderables():
            shown.print(part)
        return shown.export_text()

    assert "USD" not in drawn()
    with account.call(MOST) as call:
        call.paid(Tokens(text_in=4000))
    assert "0.0100 USD of at most 5, 1 calls" in drawn()


# -- how large a question is ---------------------------------------------------


@pytest.mark.parametrize("text", ["", "hello", "你好，世界", "🙂🙂", "\ud800", "a" * 5000])
def test_the_bound_of_a_text_is_one(text: str) -> None:
    # A byte-level tokenizer that never merges is the worst there is: one token a byte.
    most = MessageSize(texts=(text,), max_tokens=7).most()
    assert most is not None
    assert most.text_in >= len(text.encode("utf-8", "surrogatepass"))
    assert most.text_out == 7
    about = MessageSize(texts=(text,), max_tokens=7).about()
    assert about.text_in <= most.text_in
    assert about.text_out <= 7


def test_sound_counts_by_its_seconds() -> None:
    size = MessageSize(texts=(), heard_seconds=10.0, max_tokens=500, speaks=True)
    assert size.about() == Tokens(text_in=0, text_out=60, audio_in=100, audio_out=200)
    most = size.most()
    assert most == Tokens(text_in=0, text_out=500, audio_in=500, audio_out=500)
    assert MessageSize(texts=("x",)).most() is None


def test_chinese_is_not_taken_for_english() -> None:
    assert MessageSize(texts=("abcd" * 25,)).about().text_in == 25
    assert MessageSize(texts=("你" * 100,)).about().text_in == 100
