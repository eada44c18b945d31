"""The seconds that a refused client is asked to wait."""

from __future__ import annotations

import pytest

from echat_eval.serve.waiting_time import WaitingTime


def test_the_wait_follows_the_replies_that_were_made() -> None:
    time = WaitingTime()
    assert time.seconds(waiting=16, slots=8) == 10
    time.add(0.5)
    assert time.seconds(waiting=64, slots=8) == 4
    for _ in range(40):
        time.add(3.0)
    assert time.seconds(waiting=64, slots=8) == pytest.approx(24, abs=1)
    assert (time.seconds(waiting=0, slots=8), time.seconds(waiting=1000, slots=1)) == (1, 60)
