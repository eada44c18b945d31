"""A system that asks a paid server: words and sound priced apart, a limit that holds, and what bears none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli.run import run
from echat_eval.errors import Exit, UsageError
from echat_eval.store.run_folder import RunFolder

Serve = Callable[[Callable[[Any], None]], Any]

PRICES = """
omni-2026-01-01: {currency: USD, text_in: 2.5, text_out: 10, audio_in: 40, audio_out: 80, date: 2026-01-31,
                  source: a test}
words-2026-01-01: {currency: USD, text_in: 2.5, text_out: 10, date: 2026-01-31, source: a test}
"""


class Paid:
    """A chat server that counts words and sound apart, and what it charges."""

    def __init__(self, serve: Serve) -> None:
        self.lock = threading.Lock()
        self.charged, self.calls = Fraction(0), 0
        self.status = 200
        self.url = f"{serve(self.script).url}/v1"

    def script(self, http: Any) -> None:
        if http.command == "GET":
            http.reply(json.dumps({"data": []}), "application/json")
            return
        if self.status != 200:
            http.reply("busy", status=self.status)
            return
        with self.lock:
            self.calls += 1
            heard, words = 20 + self.calls, 10 + self.calls
            self.charged += Fraction(40) * heard / 10**6 + Fraction("2.5") * 30 / 10**6
            self.charged += Fraction(10) * words / 10**6
        usage = {
            "prompt_tokens": 30 + heard,
            "prompt_tokens_details": {"audio_tokens": heard},
            "completion_tokens": words,
            "completion_tokens_details": {"audio_tokens": 0},
        }
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "I see."}}
        http.reply(json.dumps({"choices": [choice], "usage": usage}), "application/json")


def go(tones: Path, tmp_path: Path, paid: Paid, *more: str, model: str = "omni-2026-01-01") -> Any:
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
            f"url={paid.url}",
            "--annotator",
            "acoustics",
            "--tries",
            "1",
            "--prices",
            str(tmp_path / "prices.yaml"),
            "--out",
            str(tmp_path / "run"),
            *more,
        ],
        standalone_mode=False,
    )


def omni(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = RunFolder.existing(tmp_path / "run").manifest()["cost"]["systems"]["omni"]
    return found


def test_words_and_sound_are_priced_apart(tones: Path, tmp_path: Path, serve: Serve) -> None:
    paid = Paid(serve)
    done = go(tones, tmp_path, paid)
    assert done.return_value == Exit.DONE, (done.output, done.exception)
    found = omni(tmp_path)
    assert Fraction(found["money"]["USD"]) == paid.charged
    assert found["tokens"] == {
        "text_in": 240,
        "text_out": sum(range(11, 19)),
        "audio_in": sum(range(21, 29)),
        "audio_out": 0,
    }


def test_a_limit_holds_for_a_system(tones: Path, tmp_path: Path, serve: Serve) -> None:
    paid = Paid(serve)
    given = ("--set", "max_tokens=30")
    done = go(tones, tmp_path, paid, *given, "--max-cost", "0.006")
    assert done.return_value == Exit.CANNOT_TELL, (done.output, done.exception)
    assert 0 < paid.charged <= Fraction("0.006")
    states = [r.state for r in RunFolder.existing(tmp_path / "run").responses().values()]
    assert states.count("value") == paid.calls
    assert states.count("missing") == 8 - paid.calls
    done = go(tones, tmp_path, paid, *given, "--max-cost", "1")
    assert done.return_value == Exit.DONE
    assert paid.calls == 8
    assert Fraction(omni(tmp_path)["money"]["USD"]) == paid.charged


def test_what_bears_no_limit_is_refused_before_anything_is_sent(
    tones: Path, tmp_path: Path, serve: Serve
) -> None:
    paid = Paid(serve)
    done = go(tones, tmp_path, paid, "--max-cost", "1")
    assert isinstance(done.exception, UsageError)
    assert "sets no max_tokens" in str(done.exception)
    given = ("--set", "max_tokens=30", "--max-cost", "1")
    done = go(tones, tmp_path, paid, *given, model="words-2026-01-01")
    assert isinstance(done.exception, UsageError)
    assert "a kind that has no price" in str(done.exception)
    done = go(tones, tmp_path, paid, *given, model="other")
    assert isinstance(done.exception, UsageError)
    assert "system 'omni' asks model 'other'" in str(done.exception)
    assert paid.calls == 0


@pytest.mark.parametrize("status", [429, 500])
def test_a_refused_call_costs_nothing(tones: Path, tmp_path: Path, serve: Serve, status: int) -> None:
    paid = Paid(serve)
    paid.status = status
    go(tones, tmp_path, paid, "--set", "max_tokens=30", "--max-cost", "0.01")
    assert "cost" not in RunFolder.existing(tmp_path / "run").manifest()


def test_the_estimate_of_a_system_counts_its_sound(tones: Path, tmp_path: Path, serve: Serve) -> None:
    paid = Paid(serve)
    done = go(tones, tmp_path, paid, "--set", "max_tokens=30", "--estimate")
    assert done.return_value == Exit.DONE
    # Eight tones of half a second at ten tokens a second, and thirty tokens of answer at most.
    assert (
        "estimate: system omni: 8 calls, about 240 text out, 40 audio in; about 0.0040 USD, at most 0.0"
        in done.output
    )
    assert paid.calls == 0
