"""Whole runs that cost money, against a judge that counts what it is asked: sums, limits, going on, estimates."""

from __future__ import annotations

import json
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli.run import run, score
from echat_eval.errors import BadData, Exit, UsageError
from echat_eval.store.run_folder import RunFolder
from tests.support.scripted_judge import ScriptedJudge, parts_of, serving, verdict

PRICES = """
m-2026-01-01:
  currency: USD
  text_in: 2.5
  text_out: 10
  date: 2026-01-31
  source: a test
"""


def fitting(prompt: str, request: dict[str, Any]) -> str:
    found = parts_of(prompt)
    word = {"sad": "sorry", "happy": "lovely"}.get(found["cues"].partition(": ")[2], "?")
    return verdict(4, 5 if word in found["reply"].lower() else 1, 3)


def used(request: dict[str, Any]) -> tuple[int, int]:
    """Return how many tokens a request costs: some share of its bytes, as a tokenizer would have it."""
    prompt = request["messages"][0]["content"]
    return 500 + len(prompt) // 4, 40 + sum(map(ord, prompt)) % 60


class Till:
    """Adds up what the scripted server would charge, apart from what our own meter counts."""

    def __init__(self, judge: ScriptedJudge) -> None:
        self.charged = Fraction(0)
        self.calls = self.prompt = self.completion = 0
        judge.usage = self.take

    def take(self, request: dict[str, Any]) -> tuple[int, int]:
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


def evaluate(tones: Path, out: Path, judge: ScriptedJudge, *more: str, command: Any = run) -> Any:
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


def judge_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = RunFolder.existing(out).manifest()["cost"]["judges"]["m-2026-01-01"]
    return found


def scores_of(out: Path) -> dict[Any, Any]:
    return {k: (s.state, s.value) for k, s in RunFolder.existing(out).scores().items() if k[3] != "seconds"}


def test_sums_are_what_the_server_charged(tones: Path, tmp_path: Path, prices: Path) -> None:
    out = tmp_path / "run"
    with serving(ScriptedJudge(fitting)) as judge:
        till = Till(judge)
        done = evaluate(tones, out, judge, "--prices", str(prices), "--controls", "8")
    assert done.return_value == Exit.DONE, (done.output, done.exception)
    found = judge_of(out)
    assert Fraction(found["money"]["USD"]) == till.charged
    assert (found["calls"], found["lost"], found["unpriced"]) == (till.calls, 0, 0)
    assert (found["tokens"]["text_in"], found["tokens"]["text_out"]) == (till.prompt, till.completion)
    cost = RunFolder.existing(out).manifest()["cost"]
    assert cost["prices"]["m-2026-01-01"]["date"] == "2026-01-31"
    assert cost["prices"]["m-2026-01-01"]["text_in"] == "2.5"
    assert cost["table"]["name"] == "prices.yaml"
    table = (out / "leaderboard.md").read_text()
    assert f"- cost of judge m-2026-01-01: {found['money']['USD']} USD, {till.calls} calls, tokens: " in table
    assert "(prices of 2026-01-31)" in table
    assert f"spent: {float(till.charged):.4f} USD, {till.calls:,} calls" in done.output


def test_a_limit_is_kept_and_a_higher_one_goes_on(tones: Path, tmp_path: Path, prices: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    with serving(ScriptedJudge(fitting)) as judge:
        till = Till(judge)
        evaluate(tones, whole, judge, "--prices", str(prices))
        everything, questions = till.charged, till.calls
        till = Till(judge)
        limit = everything * 2 / 3
        given = ("--prices", str(prices), "--max-cost", f"{float(limit):.6f}")
        done = evaluate(tones, cut, judge, *given, "--tries", "5")
        assert done.return_value == Exit.CANNOT_TELL, (done.output, done.exception)
        spent = till.charged
        assert 0 < spent <= limit
        assert till.calls < questions
        missing = [s for s in RunFolder.existing(cut).scores().values() if s.state == "missing"]
        assert missing
        assert all("--max-cost" in str(s.reason) for s in missing), {s.reason for s in missing}
        assert "a higher limit goes on" in done.output
        done = evaluate(tones, cut, judge, "--prices", str(prices), "--max-cost", "5")
        assert done.return_value == Exit.DONE, (done.output, done.exception)
        # Nothing that was paid is paid again, but for the token that tells who is served.
        assert till.calls == questions + 1
    assert scores_of(cut) == scores_of(whole)
    # The manifest adds the commands up.
    assert Fraction(judge_of(cut)["money"]["USD"]) == till.charged
    assert judge_of(cut)["calls"] == till.calls


def test_a_judge_that_never_keeps_to_the_form_costs_no_more_than_was_said(
    tones: Path, tmp_path: Path, prices: Path
) -> None:
    with serving(ScriptedJudge(lambda *_: verdict(9, 9, 9))) as judge:
        till = Till(judge)
        done = evaluate(tones, tmp_path / "run", judge, "--prices", str(prices), "--tries", "3")
    assert done.return_value == Exit.CANNOT_TELL, (done.output, done.exception)
    asked = Counter(judge.prompts())
    assert set(asked.values()) == {3}
    said = re.search(r"estimate: judge .*?: ([\d,]+) questions, .* at most ([\d.,]+)", done.output)
    assert said is not None, done.output
    assert len(asked) <= int(said[1])
    assert till.charged <= Fraction(said[2])


def test_what_a_run_costs_at_most_counts_every_try(tones: Path, tmp_path: Path, prices: Path) -> None:
    most = {}
    with serving(ScriptedJudge(fitting)) as judge:
        for tries in ("1", "3"):
            given = ("--prices", str(prices), "--estimate", "--tries", tries)
            told = evaluate(tones, tmp_path / "run", judge, *given).output
            (found,) = re.findall(r"at most ([\d.]+)", told)
            most[tries] = float(found)
    assert most["1"] > 0.01
    assert most["3"] == pytest.approx(3 * most["1"], abs=0.006)  # from 1 on, cents are told


def test_what_a_killed_command_spent_is_not_forgotten(tones: Path, tmp_path: Path, prices: Path) -> None:
    out = tmp_path / "run"
    with serving(ScriptedJudge(fitting)) as judge:
        till = Till(judge)
        evaluate(tones, out, judge, "--prices", str(prices))
        # A killed command leaves rows, a torn last one perhaps, and no sum.
        manifest = json.loads((out / "manifest.json").read_text())
        del manifest["cost"]
        (out / "manifest.json").write_text(json.dumps(manifest))
        with (out / "spending.jsonl").open("a") as file:
            file.write('{"role":"judge","na')
        evaluate(tones, out, judge, "--prices", str(prices), "--judge-repeats", "2")
    assert Fraction(judge_of(out)["money"]["USD"]) == till.charged
    assert judge_of(out)["calls"] == till.calls


def test_a_limit_too_small_for_one_call_asks_nothing(tones: Path, tmp_path: Path, prices: Path) -> None:
    with serving(ScriptedJudge(fitting)) as judge:
        done = evaluate(tones, tmp_path / "run", judge, "--prices", str(prices), "--max-cost", "0.00001")
        assert judge.asked == []
    assert done.return_value == Exit.CANNOT_TELL
    assert "cost" not in RunFolder.existing(tmp_path / "run").manifest()


def test_an_estimate_asks_nothing_and_counts_what_will_be_asked(
    tones: Path, tmp_path: Path, prices: Path
) -> None:
    out = tmp_path / "run"
    with serving(ScriptedJudge(fitting)) as judge:
        till = Till(judge)
        said = evaluate(tones, out, judge, "--prices", str(prices), "--estimate")
        assert said.return_value == Exit.DONE, (said.output, said.exception)
        assert judge.asked == []
        assert not out.exists()
        before = int(re.search(r"judge m-2026-01-01: ([\d,]+) questions", said.output).group(1))  # type: ignore[union-attr]
        assert "tokens are a proxy" in said.output
        assert "not priced, as they tell no tokens: reference, canned" in said.output
        evaluate(tones, out, judge, "--prices", str(prices))
        # Replies are taken to differ; the floor says the same to all, so there are fewer questions.
        assert before >= till.calls
        assert before == 2 * (
            8 + 8
        )  # each of 8 replies of 2 systems under its own and its group's other label
        said = evaluate(tones, out, judge, "--prices", str(prices), "--estimate")
        assert "judge m-2026-01-01: nothing left to ask" in said.output
        # Another rubric's worth of questions is asked of replies that are there: now they are known exactly.
        fresh = evaluate(tones, out, judge, "--prices", str(prices), "--judge-repeats", "2", "--estimate")
        exact = int(re.search(r"judge m-2026-01-01: ([\d,]+) questions", fresh.output).group(1))  # type: ignore[union-attr]
        calls = till.calls
        evaluate(tones, out, judge, "--prices", str(prices), "--judge-repeats", "2")
        assert calls + exact <= till.calls <= calls + exact + 1


def test_money_is_unknown_without_a_price(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with serving(ScriptedJudge(fitting)) as judge:
        said = evaluate(tones, out, judge, "--estimate")
        assert "money unknown: no price for 'm-2026-01-01' at http://127.0.0.1" in said.output
        refused = evaluate(tones, out, judge, "--max-cost", "5")
        assert isinstance(refused.exception, UsageError)
        assert "has no price in prices.yaml" in str(refused.exception)
        assert judge.asked == []
        done = evaluate(tones, out, judge)
        assert done.return_value == Exit.DONE
        assert "spent: cost unknown" in done.output
    found = judge_of(out)
    assert (found["money"], found["unpriced"]) == ({}, found["calls"])
    assert found["tokens"]["text_in"] == 7 * found["calls"]


def test_a_lost_call_is_told_apart(tones: Path, tmp_path: Path, prices: Path) -> None:
    out = tmp_path / "run"
    calls = {"n": 0}

    def sometimes(prompt: str, request: dict[str, Any]) -> str | int:
        calls["n"] += 1
        return {1: 429, 2: "no verdict"}.get(calls["n"], fitting(prompt, request))

    with serving(ScriptedJudge(sometimes)) as judge:
        till = Till(judge)
        evaluate(tones, out, judge, "--prices", str(prices), "--tries", "3")
    found = judge_of(out)
    # The refused call cost nothing; the answer that was no verdict was paid for, and so was the greeting.
    assert found["calls"] == calls["n"] - 1 + 1
    assert till.calls == found["calls"] + 1
    assert found["lost"] == 0


def test_score_has_the_same_options(tones: Path, tmp_path: Path, prices: Path) -> None:
    out = tmp_path / "run"
    with serving(ScriptedJudge(fitting)) as judge:
        Till(judge)
        evaluate(tones, out, judge, "--prices", str(prices))
        given = ("--prices", str(prices), "--judge-repeats", "2")
        said = evaluate(tones, out, judge, *given, "--estimate", command=score)
        assert re.search(r"judge m-2026-01-01: [\d,]+ questions", said.output), said.output
        done = evaluate(tones, out, judge, *given, "--max-cost", "0.02", command=score)
    assert done.return_value == Exit.CANNOT_TELL
    rows = [json.loads(line) for line in (out / "spending.jsonl").read_text().splitlines()]
    assert {row["role"] for row in rows} == {"judge"}


@pytest.mark.parametrize("amount", ["0", "-1", "much", "nan", "inf"])
def test_a_wrong_limit_is_told(tones: Path, tmp_path: Path, amount: str) -> None:
    with serving(ScriptedJudge(fitting)) as judge:
        done = evaluate(tones, tmp_path / "run", judge, "--max-cost", amount)
    assert isinstance(done.exception, UsageError)
    assert "expected US dollars above 0" in str(done.exception)


def test_a_wrong_price_table_is_told_first(tones: Path, tmp_path: Path, prices: Path) -> None:
    prices.write_text(PRICES.replace("2.5", "cheap"))
    with serving(ScriptedJudge(fitting)) as judge:
        done = evaluate(tones, tmp_path / "run", judge, "--prices", str(prices))
    assert isinstance(done.exception, BadData)
    assert f"{prices}:2: m-2026-01-01: text_in is 'cheap'" in str(done.exception)
    assert not (tmp_path / "run").exists()
