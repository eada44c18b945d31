"""`echat-eval gate` on run folders of scripted systems: failures, nonsense and silence under every metric of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from echat_eval.cli.compare_gate import gate_command
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import EChatError, SystemFailure
from echat_eval.ports import Silent
from echat_eval.records import Reply, Request, Waveform
from echat_eval.runner.evaluate import evaluate
from echat_eval.scorers.cue_contrast import CueContrast
from echat_eval.scorers.judged import judged_scorers
from echat_eval.scorers.outcome import OutcomeScorer
from echat_eval.scorers.readability import Readability
from echat_eval.scorers.transcription import TranscriptionConsistency
from echat_eval.store.manifest import RunSettings
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from echat_eval.testing import (
    ScriptedAnnotator,
    ScriptedChatServer,
    ScriptedSystem,
    judge_verdict,
    shown_to_judge,
)
from tests.support.tones import write_task

GROUPS = 20
COUNT = 2 * GROUPS
ROOT = Path(__file__).resolve().parents[2]


class Letters:
    """An embedding by the letters and digits of a text, so that other words have another vector."""

    def embed(self, text: str) -> np.ndarray:
        counts = np.array(
            [text.lower().count(letter) + 0.1 for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
        )
        unit: np.ndarray = counts / np.linalg.norm(counts)
        return unit

    def fingerprint(self) -> str:
        return "letters"


def deaf() -> ScriptedAnnotator:
    """Return a recogniser that finds no words in any voice."""
    return ScriptedAnnotator({"hypothesis": ""}, "whisper")


def planned(name: str, replies: dict[str, str | None]) -> ScriptedSystem:
    """Return a system with a planned reply to each query; None is a failure."""

    def respond(request: Request) -> Reply:
        words = replies[request.audio.sha256]
        if words is None:
            raise SystemFailure("CUDA out of memory")
        if not words:
            return Reply(audio=Waveform(samples=np.zeros(1600, np.float32), sample_rate=16_000))
        return Reply(text=words)

    return ScriptedSystem(respond, name, fingerprint=json.dumps(list(replies.values())))


def grade(request: dict[str, Any]) -> str:
    """Grade cue awareness 5 if the reply has the label's word; grade content 4 whatever the reply is."""
    shown = shown_to_judge(request)
    word = {"sad": "sorry", "happy": "glad"}[shown["cues"].partition(": ")[2]]
    return judge_verdict(4, 5 if word in shown["reply"] else 1, 3)


def plans(samples: Any) -> dict[str, dict[str, str | None]]:
    """Return system -> sha256 of the query's audio -> reply."""
    kind = {"happy": "I am so glad to hear it, {}.", "sad": "I am so sorry to hear it, {}."}
    good = {s.audio.sha256: kind[s.cues["emotion"]].format(s.contrast_group) for s in samples}
    shas = list(good)
    noise = ["qwer asdf zxcv", "hjkl uiop bnmq", "xcvb dfgh rtyu", "vbnm fghj tyui"]
    return {
        "good": good,
        "same": dict(good),
        "all_failed": dict.fromkeys(good),
        "third_failed": {sha: None if n % 10 < 3 else good[sha] for n, sha in enumerate(shas)},
        "one_failed": {**good, shas[7]: None},
        "gibberish": {sha: f"{noise[n % 4]} {noise[(n + n // 4) % 4]}" for n, sha in enumerate(shas)},
        "silent": dict.fromkeys(good, ""),
    }


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate")
    write_task(folder / "data", groups=GROUPS)
    task = load_task("emotion", data=folder / "data")
    with pytest.MonkeyPatch.context() as patch, ScriptedChatServer(grade) as judge:
        patch.setenv("ECHAT_EVAL_CACHE", str(folder / "cache"))
        judged = judged_scorers("m-2026-01-01", judge.url)
        with RunFolder(folder / "run").writing() as run:
            evaluate(
                run,
                systems=[planned(name, replies) for name, replies in plans(task.samples).items()],
                tasks=[task],
                annotators=[deaf()],
                scorers=[
                    CueContrast(embedder=Letters()),
                    TranscriptionConsistency(),
                    OutcomeScorer(),
                    Readability(),
                    *judged,
                ],
                settings=RunSettings(retry_policy=RetryPolicy(tries=1)),
                progress=Silent(),
            )
        judged[0].close()
    return folder / "run"


def metrics_of(run: Path) -> list[str]:
    return [metric["name"] for metric in json.loads((run / "manifest.json").read_text())["metrics"]]


def gate(run: Path, out: Path, candidate: str, policy: str) -> tuple[int, list[str]]:
    """Return the exit code and the lines printed; the reports are in `out`."""
    (out / "gate.yaml").write_text(policy)
    words = [
        f"{run}:{candidate}",
        "--against",
        f"{run}:good",
        "--policy",
        out / "gate.yaml",
        "--junit",
        out / "gate.xml",
        "--summary",
        out / "gate.md",
    ]
    result = CliRunner().invoke(gate_command, [str(word) for word in words], standalone_mode=False)
    if isinstance(result.exception, EChatError):
        return int(result.exception.exit_code), str(result.exception).splitlines()
    assert result.exception is None, result.exception
    return int(result.return_value), result.output.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("candidate", "codes", "failed", "unreadable"),
    [
        ("same", {0, 3}, "failed replies: 0 of 40 (0.0 % [0.0, 16.8], limit 2 %)", "0 of 40"),
        ("all_failed", {1}, "failed replies: 40 of 40 (100.0 % [83.2, 100.0], limit 2 %)", ""),
        ("third_failed", {1}, "failed replies: 12 of 40 (30.0 % [", "0 of 28"),
        ("one_failed", {1, 3}, "failed replies: 1 of 40 (2.5 % [", "0 of 39"),
        ("gibberish", {1}, "failed replies: 0 of 40 (0.0 % [0.0, 16.8], limit 2 %)", "40 of 40"),
        ("silent", {1}, "failed replies: 40 of 40 (100.0 % [83.2, 100.0], limit 2 %)", "40 of 40"),
    ],
)
def test_no_metric_of_a_run_lets_a_broken_candidate_pass(
    run_folder: Path, tmp_path: Path, candidate: str, codes: set[int], failed: str, unreadable: str
) -> None:
    names, main = metrics_of(run_folder), {"cue_contrast_proxy", "judge_echat_r1", "reply_wer"}
    assert main | {"judge_echat_r1_cue_contrast"} <= set(names)
    for name in names if candidate in {"all_failed", "gibberish"} else sorted(main):
        code, lines = gate(run_folder, tmp_path, candidate, f"margin: 2\nmetrics: {{{name}: {{}}}}\n")
        assert code in codes, (name, lines)
        outcome = {0: "pass", 1: "regress", 3: "cannot tell"}[code]
        # The seconds of a call may drop by next to nothing.
        assert lines[0].startswith((f"{outcome}: ", f"{outcome}, with a drop: seconds "))
        suite = ElementTree.parse(tmp_path / "gate.xml").getroot().find("testsuite")
        assert suite is not None
        first = suite.find("testcase")
        assert first is not None
        assert {1: first.find("failure"), 3: first.find("error"), 0: first}[code] is not None
        summary = (tmp_path / "gate.md").read_text().replace("\\", "")
        assert f"EChat-eval gate: {outcome}" in summary.splitlines()[0]
        for text in (lines[0], str(first.findtext("system-out")), summary):
            assert failed in text, name
            assert f"unreadable replies: {unreadable}" in text or not unreadable, name


def readme_policy() -> str:
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("```")
    (block,) = (b for b in blocks if b.removeprefix("yaml").lstrip().startswith("margin:"))
    return block.removeprefix("yaml")


@pytest.mark.parametrize(
    ("candidate", "code"),
    [("same", 0), ("all_failed", 1), ("third_failed", 1), ("gibberish", 1), ("silent", 1)],
)
def test_policy_of_the_readme(run_folder: Path, tmp_path: Path, candidate: str, code: int) -> None:
    policy = yaml.safe_load(readme_policy())
    assert policy == {"margin": 2, "metrics": {"cue_contrast_proxy": {}}}
    assert gate(run_folder, tmp_path, candidate, readme_policy())[0] == code


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("max_failed: -0.1", "max_failed is -0.1; expected a share between 0 and 1"),
        ("max_failed: 2", "max_failed is 2; expected a share between 0 and 1"),
        ("max_failed:", "max_failed is None; this guard cannot be switched off"),
        ("max_unreadable: 1.5", "max_unreadable is 1.5; expected a share"),
        ("max_reply_wer: high", "max_reply_wer is 'high'; expected a number of percent"),
        ("gibberish: 0.1", "unknown key 'gibberish'; keys are margin, metrics, "),
        ("primary: empathy", "unknown primary metric 'empathy'. Known: cue_contrast_proxy"),
    ],
)
def test_invalid_guard_is_one_line_and_misuse(
    run_folder: Path, tmp_path: Path, more: str, message: str
) -> None:
    code, lines = gate(run_folder, tmp_path, "same", f"{readme_policy()}\n{more}\n")
    assert code == 2
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "gate.md").exists()


def test_metric_that_no_run_has_is_misuse(run_folder: Path, tmp_path: Path) -> None:
    code, lines = gate(run_folder, tmp_path, "same", "margin: 2\nmetrics: {empathie: {}}\n")
    assert (code, len(lines)) == (2, 1)
    assert "unknown metric 'empathie'. " in lines[0]


def test_a_raised_limit_is_printed_and_does_not_excuse_a_candidate_that_always_fails(
    run_folder: Path, tmp_path: Path
) -> None:
    raised = "margin: 90\nmetrics: {cue_contrast_proxy: {}}\nmax_failed: 1\nmax_more_failed: 1\n"
    code, lines = gate(run_folder, tmp_path, "third_failed", raised)
    assert any("accepts 100 % failed replies; the built-in limit is 2 %" in line for line in lines)
    assert gate(run_folder, tmp_path, "all_failed", raised)[0] == 1
