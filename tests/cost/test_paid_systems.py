"""Systems that call a paid server: prices of text and audio, the spending limit, and its preconditions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli.run import run
from echat_eval.cost.totals import CallCosts
from echat_eval.errors import Exit, UsageError
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing import ScriptedChatServer, chat_completion

PRICES = """
omni-2026-01-01: {currency: USD, text_in: 2.5, text_out: 10, audio_in: 40, audio_out: 80, date: 2026-01-31,
                  source: a test}
words-2026-01-01: {currency: USD, text_in: 2.5, text_out: 10, date: 2026-01-31, source: a test}
"""


class PaidServer(ScriptedChatServer):
    """A chat server that counts text and audio tokens, and the money it charges."""

    def __init__(self) -> None:
        self.charged, self.calls = Fraction(0), 0
        self.counting = threading.Lock()
        super().__init__(self.charge, models=())

    def charge(self, request: dict[str, Any]) -> dict[str, Any]:
        with self.counting:
            self.calls += 1
            audio_in, text_out = 20 + self.calls, 10 + self.calls
            self.charged += Fraction(40) * audio_in / 10**6 + Fraction("2.5") * 30 / 10**6
            self.charged += Fraction(10) * text_out / 10**6
        usage = {
            "prompt_tokens": 30 + audio_in,
            "prompt_tokens_details": {"audio_tokens": audio_in},
            "completion_tokens": text_out,
            "completion_tokens_details": {"audio_tokens": 0},
        }
        return {**chat_completion("I see."), "usage": usage}


@pytest.fixture
def server() -> Iterator[PaidServer]:
    with PaidServer() as paid:
        yield paid


def run_command(
    tones: Path, tmp_path: Path, server: PaidServer, *options: str, model: str = "omni-2026-01-01"
) -> Any:
    (tmp_path / "prices.yaml").write_text(PRICES)
    return CliRunner().invoke(
        run,
        [
            "--data",
            str(tones),
            "--task",
            "emotion",
            "--system",
            "omni=openai-chat",
            "--set",
            f"model={model}",
            "--set",
            f"url={server.url}",
            "--annotator",
            "acoustics",
            "--tries",
            "1",
            "--prices",
            str(tmp_path / "prices.yaml"),
            "--out",
            str(tmp_path / "run"),
            *options,
        ],
        standalone_mode=False,
    )


def cost_of_omni(tmp_path: Path) -> CallCosts:
    cost = RunFolder.existing(tmp_path / "run").manifest().cost
    assert cost is not None
    return cost.systems["omni"]


def test_text_and_audio_have_separate_prices(tones: Path, tmp_path: Path, server: PaidServer) -> None:
    result = run_command(tones, tmp_path, server)
    assert result.return_value == Exit.DONE, (result.output, result.exception)
    cost = cost_of_omni(tmp_path)
    assert Fraction(cost.money["USD"]) == server.charged
    assert cost.tokens.by_kind() == {
        "text_in": 240,
        "text_out": sum(range(11, 19)),
        "audio_in": sum(range(21, 29)),
        "audio_out": 0,
    }


def test_a_limit_holds_for_a_system(tones: Path, tmp_path: Path, server: PaidServer) -> None:
    options = ("--set", "max_tokens=30")
    result = run_command(tones, tmp_path, server, *options, "--max-cost", "0.006")
    assert result.return_value == Exit.CANNOT_TELL, (result.output, result.exception)
    assert 0 < server.charged <= Fraction("0.006")
    states = [r.state for r in RunFolder.existing(tmp_path / "run").responses().values()]
    assert states.count("value") == server.calls
    assert states.count("missing") == 8 - server.calls
    result = run_command(tones, tmp_path, server, *options, "--max-cost", "1")
    assert result.return_value == Exit.DONE
    assert server.calls == 8
    assert Fraction(cost_of_omni(tmp_path).money["USD"]) == server.charged


def test_a_limit_without_bound_or_price_is_rejected_before_any_call(
    tones: Path, tmp_path: Path, server: PaidServer
) -> None:
    result = run_command(tones, tmp_path, server, "--max-cost", "1")
    assert isinstance(result.exception, UsageError)
    assert "sets no max_tokens" in str(result.exception)
    options = ("--set", "max_tokens=30", "--max-cost", "1")
    result = run_command(tones, tmp_path, server, *options, model="words-2026-01-01")
    assert isinstance(result.exception, UsageError)
    assert "a kind without a price" in str(result.exception)
    result = run_command(tones, tmp_path, server, *options, model="other")
    assert isinstance(result.exception, UsageError)
    assert "system 'omni' uses model 'other'" in str(result.exception)
    assert server.calls == 0


@pytest.mark.parametrize("status", [429, 503])
def test_a_rejected_call_costs_nothing(tones: Path, tmp_path: Path, server: PaidServer, status: int) -> None:
    server.answer = status
    run_command(tones, tmp_path, server, "--set", "max_tokens=30", "--max-cost", "0.01")
    assert RunFolder.existing(tmp_path / "run").manifest().cost is None


def test_the_estimate_of_a_system_includes_its_audio(tones: Path, tmp_path: Path, server: PaidServer) -> None:
    result = run_command(tones, tmp_path, server, "--set", "max_tokens=30", "--estimate")
    assert result.return_value == Exit.DONE
    # Eight tones of half a second, at ten tokens per second, and at most thirty tokens per answer.
    assert (
        "estimate: system omni: 8 calls, about 240 text out, 40 audio in; about 0.0040 USD, at most 0.0"
        in result.output
    )
    assert server.calls == 0
