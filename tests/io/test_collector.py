"""The collector is off inside the block and as before after it, whatever happens there."""

from __future__ import annotations

import gc

import pytest

from echat_eval.io.collector import collector_paused


def test_the_collector_comes_back() -> None:
    assert gc.isenabled()
    with collector_paused(), collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), collector_paused():
        _ = 1 / 0
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
