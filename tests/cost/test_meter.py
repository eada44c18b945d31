"""The meter: exact sums, a limit that concurrent calls never exceed, price tables, and token counts."""

from __future__ import annotations

import asyncio
import random
import threading
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from pathlib import Path

import pytest

from echat_eval.cost.meter import Account, Meter, SpendingRow
from echat_eval.cost.prices import Price, PriceTable, Tokens, read_prices
from echat_eval.cost.tokens import MessageSize
from echat_eval.cost.totals import json_of_spending, spending_from, totals
from echat_eval.errors import BadData, ServerRefusal, Unavailable, UsageError, Withheld


class Client:
    def __init__(self, model: str = "m", base_url: str | None = "http://127.0.0.1:9/v1") -> None:
        self.model, self.base_url = model, base_url
        self.account: Account | None = None

    def attach_account(self, account: Account | None) -> None:
        self.account = account


def price(**amounts: str) -> Price:
    return Price(
        currency="USD", date="2026-01-31", source="a test", **{k: Decimal(v) for k, v in amounts.items()}
    )


def table(**prices: Price) -> PriceTable:
    return PriceTable(name="prices.yaml", sha256="0", prices=prices)


CHEAP = table(m=price(text_in="2.5", text_out="10"))


def metered(limit: str | None, prices: PriceTable = CHEAP) -> tuple[Account, list[SpendingRow]]:
    rows: list[SpendingRow] = []
    meter = Meter(prices, limit=None if limit is None else Decimal(limit), log=rows.append)
    return meter.account("judge", "j", Client()), rows


# -- prices -------------------------------------------------------------------


def test_every_shipped_price_has_a_source() -> None:
    found = read_prices()
    assert found.prices
    for key, entry in found.prices.items():
        assert "https://" in entry.source, key
        assert entry.text_in is not None, key
        assert entry.text_out is not None, key


def test_the_default_judge_has_a_price_at_openai_only() -> None:
    from echat_eval.judge import load_judge

    model = load_judge("echat-r1").model
    assert read_prices().find(model, None) is not None
    assert read_prices().find(model, "https://api.openai.com/v1") is not None
    # On another server, any model may have the same name.
    assert read_prices().find(model, "http://127.0.0.1:8000/v1") is None


def test_the_most_specific_price_applies() -> None:
    prices = {"m @ h:1": price(text_in="1"), "m @ h": price(text_in="2"), "m": price(text_in="3")}
    price_table = PriceTable(name="t", sha256="0", prices=prices)
    amounts = [
        price_table.find("m", url).text_in  # type: ignore[union-attr]
        for url in ("http://h:1/v1", "http://h:2/v1", "http://h/v1", "http://other/v1", None)
    ]
    assert amounts == [1, 2, 2, 3, 3]


BAD = [
    ("m:\n  currency: USD\n", "1: m: key 'date' is missing"),
    ("x: {}\nm: 5\n", "1: x: key 'currency' is missing"),
    ("m: five\n", "1: m: is 'five', expected a mapping"),
    ("\n\nm: {currency: USD, date: 2026-01-31, source: x}\n", "3: m: has no price"),
    ("m: {currency: USD, date: 2026-01-31, source: x, text_in: two}\n", "1: m: 'text_in' is 'two'"),
    ("m: {currency: USD, date: 2026-01-31, source: x, text_in: -1}\n", "1: m: 'text_in' is -1"),
    ("m: {currency: USD, date: 2026-01-31, source: x, text_in: .nan}\n", "1: m: 'text_in' is nan"),
    ("m: {currency: USD, date: 2026-01-31, source: x, text_in: true}\n", "1: m: 'text_in' is True"),
    (
        "m: {currency: USD, date: soon, source: x, text_in: 1}\n",
        "1: m: 'date' is 'soon', expected the day on which the source was read, YYYY-MM-DD",
    ),
    ("m: {currency: dollar, date: 2026-01-31, source: x, text_in: 1}\n", "1: m: 'currency' is 'dollar'"),
    ("m: {currency: USD, date: 2026-01-31, source: '', text_in: 1}\n", "1: m: 'source' is ''"),
    (
        "m: {currency: USD, date: 2026-01-31, source: x, text: 1}\n",
        "1: m: unknown key 'text'; did you mean 'text_in'?",
    ),
    ("- m\n", "1: expected a mapping"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[message for _, message in BAD])
def test_a_fault_in_a_table_is_reported_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BadData) as error:
        read_prices(path)
    assert f"{path}:{message}" in str(error.value)


def test_a_missing_table_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"none\.yaml: cannot be read"):
        read_prices(tmp_path / "none.yaml")


def test_money_is_exact() -> None:
    rng = random.Random(5)
    amounts = {kind: f"{rng.uniform(0, 90):.3f}" for kind in ("text_in", "text_out", "audio_in", "audio_out")}
    prices = price(**amounts)
    for _ in range(200):
        counts = {kind: rng.randrange(10**7) for kind in amounts}
        expected = sum(Fraction(amounts[kind]) * counts[kind] / 10**6 for kind in amounts)
        assert Fraction(prices.money(Tokens(**counts))) == expected  # type: ignore[arg-type]


# -- the meter ----------------------------------------------------------------


def test_sums_are_exact_per_account() -> None:
    account, rows = metered(None)
    other = account.meter.account("system", "s", Client("free-one"))
    for n in range(1, 1001):
        with account.call(Tokens(text_in=10_000, text_out=400)) as call:
            call.report_usage(Tokens(text_in=n, text_out=1))
    with other.call(Tokens(text_in=5)) as call:
        call.report_usage(Tokens(text_in=3, audio_out=2))
    costs = totals(rows)
    judge = costs.judges["j"]
    expected = Fraction("2.5") * (1000 * 1001 // 2) / 10**6 + Fraction(10) * 1000 / 10**6
    assert Fraction(judge.money["USD"]) == expected == Fraction(account.meter.spent)
    assert judge.tokens == Tokens(text_in=500_500, text_out=1000)
    assert (judge.calls, judge.lost, judge.unpriced) == (1000, 0, 0)
    system = costs.systems["s"]
    assert (system.money, system.unpriced, system.tokens.audio_out) == ({}, 1, 2)
    assert account.meter.line() == "1.2612 USD and 1 calls without a price, 1,001 calls"


def test_rejected_calls_cost_nothing_and_interrupted_ones_their_upper_bound() -> None:
    account, rows = metered("1")
    upper_bound = Tokens(text_in=1000, text_out=100)  # 0.0035 USD
    with account.call(upper_bound) as call:
        call.report_unbilled()
    assert account.meter.spent == 0
    assert rows == []
    with pytest.raises(Unavailable), account.call(upper_bound):
        raise Unavailable("time-out")
    assert account.meter.spent == Decimal("0.0035")
    with account.call(upper_bound) as call:
        call.report_usage(Tokens(text_in=10))
    judge = totals(rows).judges["j"]
    assert (judge.calls, judge.lost) == (1, 1)
    assert (judge.money, judge.lost_at_most) == ({"USD": Decimal("0.000025")}, {"USD": Decimal("0.0035")})
    assert judge.tokens.text_in == 10
    assert [spending_from(json_of_spending(row), "row") for row in rows] == rows


class ConnectError(Exception):
    """Has a name that another library gives to errors before and after a request was sent."""


def disconnected() -> Unavailable:
    error = Unavailable("server disconnected", overloaded=True)
    error.__cause__ = ConnectError()
    return error


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (Unavailable("connection refused", never_sent=True), 0),
        (disconnected(), 1),
        (ServerRefusal("HTTP 401"), 0),
        (UsageError("no such proxy"), 0),
        (ConnectError("reset"), 1),
        (asyncio.CancelledError(), 1),
        (KeyboardInterrupt(), 1),
        (MemoryError(), 1),
    ],
)
def test_only_a_call_that_was_never_sent_is_free(error: BaseException, lost: int) -> None:
    account, rows = metered("1")
    with pytest.raises(type(error)), account.call(Tokens(text_in=1000, text_out=100)):
        raise error
    assert [row.lost for row in rows] == [True] * lost
    assert account.meter.spent == lost * Decimal("0.0035")


def test_a_full_disk_loses_no_answer_and_no_row() -> None:
    rows: list[SpendingRow] = []
    full = [True]

    def log(row: SpendingRow) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        rows.append(row)

    meter = Meter(CHEAP, log=log)
    account = meter.account("judge", "j", Client())
    for n in (1, 2):
        with account.call(Tokens(text_in=10)) as call:
            call.report_usage(Tokens(text_in=n))
    assert meter.calls == 2
    with pytest.raises(OSError, match="No space"):
        meter.write_log()
    full[0] = False
    with account.call(Tokens(text_in=10)) as call:
        call.report_usage(Tokens(text_in=3))
    assert [row.tokens.text_in for row in rows] == [1, 2, 3]


class ServerLedger:
    """An independent count of calls in flight and money charged, from the server's side."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.charged = Fraction(0)
        self.open = self.peak = 0

    def begin(self) -> None:
        with self.lock:
            self.open += 1
            self.peak = max(self.peak, self.open)

    def end(self, money: Fraction) -> None:
        with self.lock:
            self.open -= 1
            self.charged += money


UPPER_BOUND = Tokens(text_in=4000, text_out=400)  # 0.014 USD


def test_fifty_concurrent_calls_never_exceed_the_limit() -> None:
    account, _ = metered("0.25")
    ledger, withheld, rng = ServerLedger(), [0], random.Random(1)
    uses = [(rng.randrange(500, 4001), rng.randrange(1, 401)) for _ in range(300)]

    async def one(use: tuple[int, int], slots: asyncio.Semaphore) -> None:
        async with slots:
            try:
                async with account.call(UPPER_BOUND) as call:
                    ledger.begin()
                    await asyncio.sleep(rng.uniform(0, 0.004))
                    call.report_usage(Tokens(text_in=use[0], text_out=use[1]))
                    ledger.end(Fraction("2.5") * use[0] / 10**6 + Fraction(10) * use[1] / 10**6)
                    # The money charged, and the upper bounds of the calls in flight.
                    assert ledger.charged + ledger.open * Fraction("0.014") <= Fraction("0.25")
            except Withheld:
                withheld[0] += 1

    async def run_all() -> None:
        slots = asyncio.Semaphore(50)
        await asyncio.gather(*(one(use, slots) for use in uses))

    asyncio.run(run_all())
    assert ledger.charged <= Fraction("0.25")
    assert Fraction(account.meter.spent) == ledger.charged
    assert withheld[0] > 0
    assert account.meter.withheld == withheld[0]
    assert ledger.peak > 5
    # The limit was used until one further call could have exceeded it.
    assert ledger.charged > Fraction("0.25") - Fraction("0.014")


def test_threads_never_exceed_the_limit() -> None:
    account, _ = metered("0.1")
    ledger, messages = ServerLedger(), []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(12):
            try:
                with account.call(UPPER_BOUND) as call:
                    ledger.begin()
                    use = rng.randrange(500, 4001)
                    call.report_usage(Tokens(text_in=use))
                    ledger.end(Fraction("2.5") * use / 10**6)
            except Withheld as error:
                messages.append(str(error))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Fraction("0.086") < ledger.charged <= Fraction("0.1")
    assert Fraction(account.meter.spent) == ledger.charged
    assert set(messages) == {
        "not called: the cost could exceed --max-cost 0.1; "
        "run the same command with a higher limit to continue"
    }


def test_a_call_waits_while_only_reservations_prevent_it() -> None:
    account, _ = metered("0.02")
    started = []

    async def one(name: str, pause: float) -> None:
        async with account.call(UPPER_BOUND) as call:
            started.append(name)
            await asyncio.sleep(pause)
            call.report_usage(Tokens(text_in=100))

    async def both() -> None:
        first = asyncio.create_task(one("first", 0.05))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(one("second", 0))
        await asyncio.sleep(0.01)
        assert started == ["first"]
        await asyncio.gather(first, second)

    asyncio.run(both())
    assert started == ["first", "second"]


def test_a_limit_needs_prices() -> None:
    meter = Meter(CHEAP, limit=Decimal(5))
    with pytest.raises(UsageError) as error:
        meter.account("judge", "j", Client("unknown-model"))
    message = str(error.value)
    assert "judge 'j' uses model 'unknown-model' at http://127.0.0.1:9/v1, which has no price" in message
    assert "--prices" in message
    euros = Price(currency="EUR", date="2026-01-31", source="x", text_in=Decimal(1))
    with pytest.raises(UsageError, match="is priced in EUR"):
        Meter(table(m=euros), limit=Decimal(5)).account("judge", "j", Client())
    account, _ = metered("5")
    with pytest.raises(UsageError, match="a kind without a price"), account.call(Tokens(audio_in=5)):
        pass


def test_without_a_limit_calls_of_an_unpriced_model_are_counted() -> None:
    meter = Meter(CHEAP)
    account = meter.account("judge", "j", Client("unknown-model"))
    with account.call(Tokens(text_in=5)) as call:
        call.report_usage(Tokens(text_in=3))
    assert meter.line() == "cost unknown, 1 calls"


def test_a_limit_requires_an_upper_bound() -> None:
    account, _ = metered("5")
    with pytest.raises(UsageError, match="max_tokens=N"), account.call(None):
        pass
    unlimited, rows = metered(None)
    with pytest.raises(Unavailable), unlimited.call(None):
        raise Unavailable("time-out")
    costs = totals(rows).judges["j"]
    assert (costs.lost, costs.lost_at_most, costs.unpriced) == (1, {}, 1)


def test_the_progress_bar_shows_the_money_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from echat_eval.cli.progress import Bar

    monkeypatch.setattr("echat_eval.cli.progress.is_terminal", lambda **_: True)
    account, _ = metered("5")
    bar = Bar()
    bar.show_cost(account.meter.line)
    shown = Console(width=100, record=True, file=StringIO())

    def drawn() -> str:
        assert bar._bars is not None
        for part in bar._bars.get_renderables():
            shown.print(part)
        return shown.export_text()

    assert "USD" not in drawn()
    with account.call(UPPER_BOUND) as call:
        call.report_usage(Tokens(text_in=4000))
    assert "0.0100 USD of at most 5, 1 calls" in drawn()


# -- token counts ---------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "hello", "你好，世界", "🙂🙂", "\ud800", "a" * 5000])
def test_the_upper_bound_of_a_text_holds_for_every_tokenizer(text: str) -> None:
    # The worst case is a byte-level tokenizer without merges: one token per byte.
    upper_bound = MessageSize(texts=(text,), max_tokens=7).upper_bound()
    assert upper_bound is not None
    assert upper_bound.text_in >= len(text.encode("utf-8", "surrogatepass"))
    assert upper_bound.text_out == 7
    estimate = MessageSize(texts=(text,), max_tokens=7).estimate()
    assert estimate.text_in <= upper_bound.text_in
    assert estimate.text_out <= 7


def test_audio_tokens_depend_on_the_duration() -> None:
    size = MessageSize(texts=(), audio_seconds=10.0, max_tokens=500, spoken_reply=True)
    assert size.estimate() == Tokens(text_in=0, text_out=60, audio_in=100, audio_out=200)
    assert size.upper_bound() == Tokens(text_in=0, text_out=500, audio_in=500, audio_out=500)
    assert MessageSize(texts=("x",)).upper_bound() is None


def test_the_estimate_distinguishes_chinese_from_english() -> None:
    assert MessageSize(texts=("abcd" * 25,)).estimate().text_in == 25
    assert MessageSize(texts=("你" * 100,)).estimate().text_in == 100
