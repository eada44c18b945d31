"""TERM and HUP act as Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from echat_eval import cli
from echat_eval.cli import interrupts
from echat_eval.cli.interrupts import interruptible


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_ends_with_130_and_prints_how_to_continue(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    kept: list[str] = []

    def interrupted(**_: object) -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            kept.append("rows")

    monkeypatch.setattr(sys, "argv", ["echat-eval"])
    monkeypatch.setattr(cli.command_line, "main", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, kept) == (130, ["rows"])
    assert "interrupted; run the same command to continue" in capsys.readouterr().err
    assert signal.getsignal(number) is before


def test_a_signal_while_the_end_is_reported_changes_no_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(cli.command_line, "main", interrupted)
    monkeypatch.setattr(cli, "show", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130


def test_an_interrupt_inside_the_import_of_a_compiled_module_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(**_: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemError("initialization of _ufuncs failed") from None

    monkeypatch.setattr(cli.command_line, "main", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert "a bug" not in capsys.readouterr().err


def test_calls_in_flight_are_abandoned_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "GRACE", 0.05)
    times = 0

    def wait_twice(**_: object) -> None:
        nonlocal times
        while times < 2:
            try:
                if not times:
                    os.kill(os.getpid(), signal.SIGTERM)
                while True:
                    time.sleep(0.01)
            except KeyboardInterrupt:
                times += 1
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.command_line, "main", wait_twice)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, times) == (130, 2)


def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
