"""The cost of live sessions: what was asked is billed or lost, and a session that never opened is free."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from echat_eval.concurrency import event_loop
from echat_eval.cost.meter import Meter, SpendingRow, billed_client_of
from echat_eval.cost.prices import Price, PriceTable
from echat_eval.errors import EChatError
from echat_eval.records import Request
from echat_eval.systems.realtime import Realtime
from echat_eval.testing import ScriptedRealtimeServer
from tests.support.present import present

PRICE = Price(
    currency="USD",
    date="2026-01-31",
    source="a test",
    text_in=Decimal(1),
    text_out=Decimal(2),
    audio_in=Decimal(10),
    audio_out=Decimal(20),
)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedRealtimeServer]:
    with ScriptedRealtimeServer() as found:
        yield found


def spending(server: ScriptedRealtimeServer, request: Request, fault: str | None) -> list[SpendingRow]:
    """Return the rows of one call, which fails if there is a fault."""
    rows: list[SpendingRow] = []
    meter = Meter(PriceTable(name="t", sha256="0", prices={"m": PRICE}), log=rows.append)
    system = Realtime("m", url=server.url, pace="at_once", max_tokens=50, timeout=5.0)
    system.attach_account(meter.account("system", "s", present(billed_client_of(system))))
    server.fault = fault
    try:
        if fault is None:
            event_loop.call(system.respond, request)
        else:
            with pytest.raises(EChatError):
                event_loop.call(system.respond, request)
    finally:
        system.close()
    return rows


def test_the_tokens_that_the_server_counted_are_billed(
    server: ScriptedRealtimeServer, requests: list[Request]
) -> None:
    (row,) = spending(server, requests[0], None)
    # 10 tokens in, all of audio; 20 out, 15 of audio
    assert (row.tokens.audio_in, row.tokens.audio_out, row.tokens.text_out, row.lost) == (10, 15, 5, False)
    assert row.money == Decimal("0.00041")


@pytest.mark.parametrize("fault", ["rate-limit", "unavailable", "wrong-key", "bad-setting", "other-dialect"])
def test_a_session_that_never_opened_is_free(
    server: ScriptedRealtimeServer, requests: list[Request], fault: str
) -> None:
    assert spending(server, requests[0], fault) == []


@pytest.mark.parametrize("fault", ["cut-mid-reply", "expired", "torn-base64", "own-error"])
def test_a_reply_that_broke_may_be_billed(
    server: ScriptedRealtimeServer, requests: list[Request], fault: str
) -> None:
    (row,) = spending(server, requests[0], fault)
    assert row.lost
