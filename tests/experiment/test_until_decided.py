"""A run that stops when the gate has decided: calls that are not needed are not made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import echat_eval as ev
from echat_eval.api import evaluate_until_decided, gate
from echat_eval.cli.run import run as run_command
from echat_eval.errors import BadData, EChatError, Exit, UsageError
from echat_eval.gate.looks import LOOKS, read_looks
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing import ScriptedChatServer, ScriptedSystem, judge_verdict, shown_to_judge
from tests.support.tones import write_tone

SPEAKERS = 30
POLICY: dict[str, Any] = {"margin": 10, "metrics": {"judge_echat_r1": {}}}
TASK = """\
name: emotion
version: 1
title: {en: Emotion}
description: Tones for tests.
licence: CC0-1.0
redistributable: true
cues: [emotion]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one task: one sample of each of 30 speakers."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "emotion"
    rows = []
    for number in range(SPEAKERS):
        audio = f"audio/{number}.wav"
        rows.append(
            {
                "id": f"s{number}",
                "audio": audio,
                "audio_sha256": write_tone(folder / audio, 200 + number, seed=number),
                "transcript": f"Sentence number {number}.",
                "cues": {"emotion": "sad"},
                "language": "en",
                "source": "synthetic",
                "speaker": f"p{number}",
                "references": ["I am sorry."],
            }
        )
    (folder / "task.yaml").write_text(TASK)
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def verdict(request: dict[str, Any]) -> str:
    """Return a verdict that is high for warm replies, and differs a little between sentences."""
    shown = shown_to_judge(request)
    noise = sum(map(ord, shown["transcript"] + shown["reply"])) % 2
    return judge_verdict(5 - noise, 4, 4) if "warm" in shown["reply"] else judge_verdict(2 - noise, 1, 1)


class Counted:
    """A system and a judge that count the calls they get."""

    def __init__(self, judge: ScriptedChatServer, data: Path, reply: Callable[[int], str]):
        self.requested: list[str] = []
        self.judge, self.data = judge, data

        def respond(request: ev.Request) -> ev.Reply:
            self.requested.append(request.id)
            return ev.Reply(text=reply(len(self.requested)))

        self.system = ScriptedSystem(respond, "mine")

    def arguments(self, out: Path) -> dict[str, Any]:
        judges = {"model": "m-2026-01-01", "url": self.judge.url}
        return {
            "data": self.data, "tasks": "emotion", "annotators": [], "judges": judges, "out": out, "cache": False,
        }  # fmt: skip

    def decide(self, out: Path, against: Path, policy: Any = POLICY, **more: Any) -> Any:
        return evaluate_until_decided(
            self.system, policy=policy, against=against, **{**self.arguments(out), **more}
        )


@pytest.fixture(scope="module")
def judge() -> Any:
    with ScriptedChatServer(verdict) as server:
        yield server


@pytest.fixture(scope="module")
def baseline(data: Path, judge: ScriptedChatServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("baseline") / "run"
    made = Counted(judge, data, lambda _: "A warm answer.")
    ev.evaluate(made.system, **made.arguments(out))
    return out


def test_a_clear_drop_stops_early_and_sends_nothing_more(
    data: Path, judge: ScriptedChatServer, baseline: Path, tmp_path: Path
) -> None:
    made, before = Counted(judge, data, lambda _: "Cold."), len(judge.prompts)
    found = made.decide(tmp_path / "run", baseline)
    assert found.decision.outcome == "regress", found.decision.reasons
    assert found.planned == SPEAKERS
    assert found.requested < SPEAKERS
    assert len(made.requested) == found.requested  # neither the system ...
    sent = len(judge.prompts) - before
    assert (
        found.requested <= sent <= found.requested + 2
    )  # ... nor the judge got more; two to identify the server
    looks = read_looks(tmp_path / "run" / LOOKS)
    assert looks is not None
    assert [look.outcome for look in looks.looks if look.outcome][-1] == "regress"
    again = made.decide(tmp_path / "run", baseline)  # decided: nothing is asked
    assert again.decision.outcome == "regress"
    assert len(made.requested) == found.requested


def test_gate_has_the_level_of_the_look(
    data: Path, judge: ScriptedChatServer, baseline: Path, tmp_path: Path
) -> None:
    made = Counted(judge, data, lambda _: "Cold.")
    found = made.decide(tmp_path / "run", baseline)
    alone = gate(tmp_path / "run", baseline, POLICY)
    assert (alone.low, alone.high, alone.outcome) == (found.decision.low, found.decision.high, "regress")
    assert any(warning.startswith("look ") for warning in alone.warnings)
    looks = read_looks(tmp_path / "run" / LOOKS)
    assert looks is not None
    level = next(look.level for look in looks.looks if look.outcome == "regress")
    assert level is not None
    assert level > 0.95
    with pytest.raises(EChatError, match=r"policy changed between looks \(margin\)"):
        gate(tmp_path / "run", baseline, {**POLICY, "margin": 20})


def test_the_rest_can_be_asked_later(
    data: Path, judge: ScriptedChatServer, baseline: Path, tmp_path: Path
) -> None:
    made = Counted(judge, data, lambda _: "Cold.")
    made.decide(tmp_path / "run", baseline)
    ev.evaluate(made.system, **made.arguments(tmp_path / "run"))
    assert len(made.requested) == len(set(made.requested)) == SPEAKERS
    assert gate(tmp_path / "run", baseline, POLICY).outcome == "regress"


def test_an_interrupted_run_goes_on_with_the_round_that_it_was_in(
    data: Path, judge: ScriptedChatServer, baseline: Path, tmp_path: Path
) -> None:
    def interrupted(number: int) -> str:
        if number == 14:
            raise KeyboardInterrupt
        return "Cold."

    made = Counted(judge, data, interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.decide(tmp_path / "run", baseline)
    found = made.decide(tmp_path / "run", baseline)
    straight = Counted(judge, data, lambda _: "Cold.")
    other = straight.decide(tmp_path / "other", baseline)
    assert (found.requested, found.decision.low) == (other.requested, other.decision.low)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": {**POLICY, "margin": 20}}, "the policy changed between looks (margin)"),
        ({"seed": 5}, "the samples or the seed changed between looks"),
        ({"limit": 20}, "the samples or the seed changed between looks"),
        ({"other": True}, "the baseline changed between looks"),
    ],
)
def test_changes_between_looks_are_refused_in_one_line(
    data: Path,
    judge: ScriptedChatServer,
    baseline: Path,
    tmp_path: Path,
    change: dict[str, Any],
    message: str,
) -> None:
    made = Counted(judge, data, lambda _: "Cold.")
    made.decide(tmp_path / "run", baseline)
    requested, against = len(made.requested), baseline
    if change.pop("other", False):
        against = tmp_path / "run"
    with pytest.raises(EChatError) as error:
        made.decide(tmp_path / "run", against, change.pop("policy", POLICY), **change)
    assert error.value.exit_code == Exit.MISUSE
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(made.requested) == requested


def test_faults_that_no_look_can_mend_are_refused_before_the_first_call(
    data: Path, judge: ScriptedChatServer, baseline: Path, tmp_path: Path
) -> None:
    made, out = Counted(judge, data, lambda _: "Cold."), tmp_path / "run"
    sent = len(judge.prompts)
    absent = {**POLICY, "metrics": {"empathy": {"higher_is_better": True}}}
    with pytest.raises(UsageError, match="the policy has empathy, and no scorer of this run gives that"):
        made.decide(out, baseline, absent)
    two = [made.system, ScriptedSystem(lambda request: ev.Reply(text="Hm."), "other")]
    with pytest.raises(UsageError, match=r"2 systems \(mine, other\); a run until decided has one"):
        evaluate_until_decided(two, policy=POLICY, against=baseline, **made.arguments(out))
    ledger = tmp_path / "tries.jsonl"
    ledger.write_text("torn")
    with pytest.raises(BadData, match="ends in the middle of a row"):
        made.decide(out, baseline, ledger=ledger)
    assert not made.requested
    assert len(judge.prompts) == sent
    assert not out.exists()


def test_a_torn_file_and_a_run_without_looks_are_refused(
    data: Path, judge: ScriptedChatServer, baseline: Path, tmp_path: Path
) -> None:
    made = Counted(judge, data, lambda _: "Cold.")
    with pytest.raises(EChatError, match="was asked without looks"):
        made.decide(baseline, baseline)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOOKS).write_text('{"format": 1, "looks"')
    with pytest.raises(BadData, match="not the looks of a run"):
        made.decide(tmp_path / "run", baseline)
    (tmp_path / "run" / LOOKS).write_text('{"format": 9}')
    with pytest.raises(BadData, match="looks of format 9; this version reads 1"):
        made.decide(tmp_path / "run", baseline)
    assert not made.requested


def test_the_command_needs_a_policy_and_a_baseline(tmp_path: Path) -> None:
    for words in (["--until-decided"], ["--policy", "p.yaml"], ["--seed", "3"]):
        done = CliRunner().invoke(run_command, ["--system", "canned", *words], standalone_mode=False)
        assert isinstance(done.exception, EChatError)
        assert "until-decided" in str(done.exception)


def test_the_command_prints_the_decision_and_what_was_asked(
    data: Path, judge: ScriptedChatServer, baseline: Path, tmp_path: Path
) -> None:
    (tmp_path / "gate.yaml").write_text("margin: 10\nmetrics: {judge_echat_r1: {}}\n")
    words = ["--system", "canned", "--data", str(data), "--task", "emotion", "--annotator", "acoustics"]
    words += [
        "--judge",
        "m-2026-01-01",
        "--judge-url",
        judge.url,
        "--out",
        str(tmp_path / "run"),
        "--no-cache",
    ]
    words += ["--until-decided", "--policy", str(tmp_path / "gate.yaml"), "--against", str(baseline)]
    done = CliRunner().invoke(run_command, words, standalone_mode=False)
    assert done.return_value == Exit.REGRESS, done.output
    requested = len(RunFolder.existing(tmp_path / "run").samples())
    assert f"asked {requested} of 30 samples; {30 - requested} were not needed" in done.output
    assert "look 1 of 3" in done.output
