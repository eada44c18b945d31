"""Runs with costs, against a judge that counts its requests: sums, limits, continuation, estimates."""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli.run import run, score
from echat_eval.cost.totals import CallCosts, RunCosts
from echat_eval.errors import BadData, Exit, UsageError
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing import ScriptedChatServer, judge_verdict, shown_to_judge

PRICES = """
m-2026-01-01:
  currency: USD
  text_in: 2.5
  text_out: 10
  date: 2026-01-31
  source: a test
"""


def fitting(request: dict[str, Any]) -> str:
    found = shown_to_judge(request)
    word = {"sad": "sorry", "happy": "lovely"}.get(found["cues"].partition(": ")[2], "?")
    return judge_verdict(4, 5 if word in found["reply"].lower() else 1, 3)


def used(request: dict[str, Any]) -> tuple[int, int]:
    """Return how many tokens a request costs: some share of its bytes, as a tokenizer would have it."""
    prompt = request["messages"][0]["content"]
    return 500 + len(prompt) // 4, 40 + sum(map(ord, prompt)) % 60


class ServerBill:
    """Adds up the charges of the scripted server, independently of the meter."""

    def __init__(self, judge: ScriptedChatServer) -> None:
        self.charged = Fraction(0)
        self.calls = self.prompt = self.completion = 0
        judge.usage = self.charge

    def charge(self, request: dict[str, Any]) -> tuple[int, int]:
        prompt, completion = used(request)
        self.calls += 1
        self.prompt += prompt
        self.completion += completion
        self.charged += Fraction("2.5") * prompt / 10**6 + Fraction(10) * completion / 10**6
        return prompt, completion


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(PRICES)
    return path


def evaluate(tones: Path, out: Path, judge: ScriptedChatServer, *more: str, command: Any = run) -> Any:
    given = (
        [str(out)]
        if command is score
        else [
            "--data",
            str(tones),
            "--task",
            "emotion",
            "--system",
            "reference",
            "--system",
            "canned",
            "--out",
            str(out),
        ]
    )
    return CliRunner().invoke(
        command,
        [
            *given,
            "--annotator",
            "acoustics",
            "--judge",
            "m-2026-01-01",
            "--judge-url",
            judge.url,
            "--tries",
            "1",
            "--no-cache",
            *more,
        ],
        standalone_mode=False,
    )


def cost_of(out: Path) -> RunCosts:
    cost = RunFolder.existing(out).manifest().cost
    assert cost is not None
    return cost


def judge_of(out: Path) -> CallCosts:
    return cost_of(out).judges["m-2026-01-01"]


def scores_of(out: Path) -> dict[Any, Any]:
    return {k: (s.state, s.value) for k, s in RunFolder.existing(out).scores().items() if k[3] != "seconds"}


def test_sums_are_what_the_server_charged(tones: Path, tmp_path: Path, prices: Path) -> None:
    out = tmp_path / "run"
    with ScriptedChatServer(fitting) as judge:
        bill = ServerBill(judge)
        done = evaluate(tones, out, judge, "--prices", str(prices), "--controls", "8")
    assert done.return_value == Exit.DONE, (done.output, done.exception)
    found = judge_of(out)
    assert Fraction(found.money["USD"]) == bill.charged
    assert (found.calls, found.lost, found.unpriced) == (bill.calls, 0, 0)
    assert (found.tokens.text_in, found.tokens.text_out) == (bill.prompt, bill.completion)
    cost = cost_of(out)
    assert cost.prices["m-2026-01-01"].date == "2026-01-31"
    assert cost.prices["m-2026-01-01"].text_in == Decimal("2.5")
    assert cost.table is not None
    assert cost.table.name == "prices.yaml"
    stored = json.loads((out / "manifest.json").read_text())["cost"]
    assert stored["prices"]["m-2026-01-01"]["text_in"] == "2.5"
    assert stored["judges"]["m-2026-01-01"]["money"]["USD"] == f"{found.money['USD']:f}"
    table = (out / "leaderboard.md").read_text()
    assert f"- cost of judge m-2026-01-01: {found.money['USD']:f} USD, {bill.calls} calls, tokens: " in table
    assert "(prices of 2026-01-31)" in table
    assert f"spent: {float(bill.charged):.4f} USD, {bill.calls:,} calls" in done.output


def test_a_limit_is_respected_and_a_higher_one_continues(tones: Path, tmp_path: Path, prices: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    with ScriptedChatServer(fitting) as judge:
        bill = ServerBill(judge)
        evaluate(tones, whole, judge, "--prices", str(prices))
        everything, questions = bill.charged, bill.calls
        bill = ServerBill(judge)
        limit = everything * 2 / 3
        given = ("--prices", str(prices), "--max-cost", f"{float(limit):.6f}")
        done = evaluate(tones, cut, judge, *given, "--tries", "5")
        assert done.return_value == Exit.CANNOT_TELL, (done.output, done.exception)
        spent = bill.charged
        assert 0 < spent <= limit
        assert bill.calls < questions
        missing = [s for s in RunFolder.existing(cut).scores().values() if s.state == "missing"]
        assert missing
        assert all("--max-cost" in str(s.reason) for s in missing), {s.reason for s in missing}
        assert "with a higher limit to continue" in done.output
        done = evaluate(tones, cut, judge, "--prices", str(prices), "--max-cost", "5")
        assert done.return_value == Exit.DONE, (done.output, done.exception)
        # Nothing that was paid is paid again, but for the token that tells who is served.
        assert bill.calls == questions + 1
    assert scores_of(cut) == scores_of(whole)
    # The manifest adds the commands up.
    assert Fraction(judge_of(cut).money["USD"]) == bill.charged
    assert judge_of(cut).calls == bill.calls


def test_unparsable_verdicts_cost_at_most_the_estimate(tones: Path, tmp_path: Path, prices: Path) -> None:
    with ScriptedChatServer(lambda request: judge_verdict(9, 9, 9)) as judge:
        bill = ServerBill(judge)
        done = evaluate(tones, tmp_path / "run", judge, "--prices", str(prices), "--tries", "3")
    assert done.return_value == Exit.CANNOT_TELL, (done.output, done.exception)
    prompts = Counter(judge.prompts)
    assert set(prompts.values()) == {3}
    said = re.search(r"estimate: judge .*?: ([\d,]+) questions, .* at most ([\d.,]+)", done.output)
    assert said is not None, done.output
    assert len(prompts) <= int(said[1])
    assert bill.charged <= Fraction(said[2])


def test_the_upper_bound_counts_every_try(tones: Path, tmp_path: Path, prices: Path) -> None:
    most = {}
    with ScriptedChatServer(fitting) as judge:
        for tries in ("1", "3"):
            given = ("--prices", str(prices), "--estimate", "--tries", tries)
            output = evaluate(tones, tmp_path / "run", judge, *given).output
            (found,) = re.findall(r"at most ([\d.]+)", output)
            most[tries] = float(found)
    assert most["1"] > 0.01
    assert most["3"] == pytest.approx(3 * most["1"], abs=0.006)  # from 1 on, cents are printed


def test_spending_of_a_killed_command_is_counted(tones: Path, tmp_path: Path, prices: Path) -> None:
    out = tmp_path / "run"
    with ScriptedChatServer(fitting) as judge:
        bill = ServerBill(judge)
        evaluate(tones, out, judge, "--prices", str(prices))
        # A killed command leaves rows, a torn last one perhaps, and no sum.
        manifest = json.loads((out / "manifest.json").read_text())
        del manifest["cost"]
        (out / "manifest.json").write_text(json.dumps(manifest))
        with (out / "spending.jsonl").open("a") as file:
            file.write('{"role":"judge","na')
        evaluate(tones, out, judge, "--prices", str(prices), "--judge-repeats", "2")
    assert Fraction(judge_of(out).money["USD"]) == bill.charged
    assert judge_of(out).calls == bill.calls


def test_a_limit_below_one_call_sends_nothing(tones: Path, tmp_path: Path, prices: Path) -> None:
    with ScriptedChatServer(fitting) as judge:
        done = evaluate(tones, tmp_path / "run", judge, "--prices", str(prices), "--max-cost", "0.00001")
        assert judge.requests == []
    assert done.return_value == Exit.CANNOT_TELL
    assert RunFolder.existing(tmp_path / "run").manifest().cost is None


def test_an_estimate_sends_nothing_and_counts_the_calls(tones: Path, tmp_path: Path, prices: Path) -> None:
    out = tmp_path / "run"
    with ScriptedChatServer(fitting) as judge:
        bill = ServerBill(judge)
        said = evaluate(tones, out, judge, "--prices", str(prices), "--estimate")
        assert said.return_value == Exit.DONE, (said.output, said.exception)
        assert judge.requests == []
        assert not out.exists()
        before = int(re.search(r"judge m-2026-01-01: ([\d,]+) questions", said.output).group(1))  # type: ignore[union-attr]
        assert "token counts are estimates" in said.output
        assert "not priced, no token counts: reference, canned" in said.output
        evaluate(tones, out, judge, "--prices", str(prices))
        # Replies are taken to differ; the floor says the same to all, so there are fewer questions.
        assert before >= bill.calls
        assert before == 2 * (
            8 + 8
        )  # each of 8 replies of 2 systems under its own and its group's other label
        said = evaluate(tones, out, judge, "--prices", str(prices), "--estimate")
        assert "judge m-2026-01-01: nothing left to ask" in said.output
        # Another rubric's worth of questions is asked of replies that are there: now they are known exactly.
        fresh = evaluate(tones, out, judge, "--prices", str(prices), "--judge-repeats", "2", "--estimate")
        exact = int(re.search(r"judge m-2026-01-01: ([\d,]+) questions", fresh.output).group(1))  # type: ignore[union-attr]
        calls = bill.calls
        evaluate(tones, out, judge, "--prices", str(prices), "--judge-repeats", "2")
        assert calls + exact <= bill.calls <= calls + exact + 1


def test_cost_is_unknown_without_a_price(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ScriptedChatServer(fitting) as judge:
        said = evaluate(tones, out, judge, "--estimate")
        assert "money unknown: no price for 'm-2026-01-01' at http://127.0.0.1" in said.output
        refused = evaluate(tones, out, judge, "--max-cost", "5")
        assert isinstance(refused.exception, UsageError)
        assert "has no price in prices.yaml" in str(refused.exception)
        assert judge.requests == []
        done = evaluate(tones, out, judge)
        assert done.return_value == Exit.DONE
        assert "spent: cost unknown" in done.output
    found = judge_of(out)
    assert (found.money, found.unpriced) == ({}, found.calls)
    assert found.tokens.text_in == 7 * found.calls


def test_refused_calls_are_not_billed_and_bad_answers_are(tones: Path, tmp_path: Path, prices: Path) -> None:
    out = tmp_path / "run"
    calls = {"n": 0}

    def sometimes(request: dict[str, Any]) -> str | int:
        calls["n"] += 1
        first: dict[int, str | int] = {1: 429, 2: "no verdict"}
        return first.get(calls["n"], fitting(request))

    with ScriptedChatServer(sometimes) as judge:
        bill = ServerBill(judge)
        evaluate(tones, out, judge, "--prices", str(prices), "--tries", "3")
    found = judge_of(out)
    # The refused call cost nothing; the answer that was no verdict was paid for, and so was the greeting.
    assert found.calls == calls["n"] - 1 + 1
    assert bill.calls == found.calls + 1
    assert found.lost == 0


def test_score_has_the_same_options(tones: Path, tmp_path: Path, prices: Path) -> None:
    out = tmp_path / "run"
    with ScriptedChatServer(fitting) as judge:
        ServerBill(judge)
        evaluate(tones, out, judge, "--prices", str(prices))
        given = ("--prices", str(prices), "--judge-repeats", "2")
        said = evaluate(tones, out, judge, *given, "--estimate", command=score)
        assert re.search(r"judge m-2026-01-01: [\d,]+ questions", said.output), said.output
        done = evaluate(tones, out, judge, *given, "--max-cost", "0.02", command=score)
    assert done.return_value == Exit.CANNOT_TELL
    rows = [json.loads(line) for line in (out / "spending.jsonl").read_text().splitlines()]
    assert {row["role"] for row in rows} == {"judge"}


@pytest.mark.parametrize("amount", ["0", "-1", "much", "nan", "inf"])
def test_an_invalid_limit_is_refused(tones: Path, tmp_path: Path, amount: str) -> None:
    with ScriptedChatServer(fitting) as judge:
        done = evaluate(tones, tmp_path / "run", judge, "--max-cost", amount)
    assert isinstance(done.exception, UsageError)
    assert "expected US dollars above 0" in str(done.exception)


def test_an_invalid_price_table_is_reported_before_any_work(
    tones: Path, tmp_path: Path, prices: Path
) -> None:
    prices.write_text(PRICES.replace("2.5", "cheap"))
    with ScriptedChatServer(fitting) as judge:
        done = evaluate(tones, tmp_path / "run", judge, "--prices", str(prices))
    assert isinstance(done.exception, BadData)
    assert f"{prices}:2: m-2026-01-01: 'text_in' is 'cheap', expected the price of a million tokens" in str(
        done.exception
    )
    assert not (tmp_path / "run").exists()
