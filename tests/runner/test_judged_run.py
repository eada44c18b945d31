"""A whole run with a judge through the command line: scores, controls, gain, resuming, a changed judge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.cli.run import run
from echat_eval.errors import BadData, Exit
from echat_eval.judge.client import IDENTITY_PROMPT
from echat_eval.records import JudgeEvidence
from echat_eval.scorers.run_controls import control_notes
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing import ScriptedChatServer, judge_verdict
from tests.support.present import present
from tests.support.scripted_judge import fitting


def judge_evidence(out: Path) -> list[JudgeEvidence]:
    scores = RunFolder.existing(out).scores().values()
    return [score.evidence for score in scores if isinstance(score.evidence, JudgeEvidence)]


def evaluate(
    tones: Path, out: Path, judge: ScriptedChatServer, *more: str, model: str = "m-2026-01-01"
) -> Any:
    return CliRunner().invoke(
        run,
        [
            "--data",
            str(tones),
            "--task",
            "emotion",
            "--system",
            "reference",
            "--system",
            "canned",
            "--annotator",
            "acoustics",
            "--judge",
            model,
            "--judge-url",
            judge.url,
            "--tries",
            "1",
            "--out",
            str(out),
            *more,
        ],
        standalone_mode=False,
    )


def test_a_judged_run_from_start_to_end(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ScriptedChatServer(fitting) as judge:
        done = evaluate(tones, out, judge, "--controls", "8")
        assert done.return_value == Exit.DONE, (done.output, done.exception)
        calls = len(judge.prompts)
        again = evaluate(tones, out, judge)
        assert again.return_value == Exit.DONE
        assert len(judge.prompts) == calls  # nothing is judged twice
    scores = RunFolder.existing(out).scores()

    def of(system: str, metric: str) -> list[float | None]:
        return [s.value for k, s in scores.items() if k[0] == system and k[3] == metric]

    assert min(map(present, of("reference", "judge_echat_r1"))) > 70
    assert max(map(present, of("canned", "judge_echat_r1"))) <= 40
    assert set(of("canned", "judge_echat_r1_cue_contrast")) == {0.0}
    assert min(map(present, of("reference", "judge_echat_r1_cue_contrast"))) > 30
    assert of("canned", "judge_echat_r1_voice") == [None] * 8
    # The reference was told the cues: that it "perceives" them says nothing, so nothing is said.
    assert "reference perceives" not in done.output
    # Controls are judged on the ceiling's replies, and stand in the file and under the table.
    assert "labels shuffled, text score" in done.output
    assert ": falls" in done.output
    assert "labels shuffled" in (out / "leaderboard.md").read_text() or "labels shuffled" in done.output
    rows = [json.loads(line) for line in (out / "controls.jsonl").read_text().splitlines()]
    assert {row["name"] for row in rows} == {"labels shuffled", "labels withheld", "heard shuffled"}
    for damaged in ({"limit": "all"}, {"drop": [1]}, {"drop": {**(rows[0]["drop"] or {}), "value": "x"}}):
        (out / "controls.jsonl").write_text(json.dumps(rows[0] | damaged) + "\n")
        with pytest.raises(BadData, match=rf"controls\.jsonl:1: '{next(iter(damaged))}' is"):
            control_notes(RunFolder.existing(out))


def test_a_judge_that_ignores_labels_is_noted_under_the_leaderboard(tones: Path, tmp_path: Path) -> None:
    with ScriptedChatServer(lambda request: judge_verdict(4, 4, 4)) as judge:
        done = evaluate(tones, tmp_path / "run", judge, "--controls", "8")
    assert "not shown to read the labels" in done.output
    assert "not shown to read the labels" in (tmp_path / "run" / "leaderboard.md").read_text()


@pytest.mark.parametrize("verdicts", [0, 3])
def test_a_killed_judged_run_goes_on_with_and_without_its_judge(
    verdicts: int, tones: Path, tmp_path: Path
) -> None:
    out, killed = tmp_path / "run", tmp_path / "killed"
    judged = 0

    def as_if_killed(request: dict[str, Any]) -> str | int:
        nonlocal judged
        if IDENTITY_PROMPT not in str(request):
            if judged == verdicts:
                shutil.copytree(out, killed)  # what SIGKILL would leave now
            judged += 1
        return fitting(request)

    with ScriptedChatServer(as_if_killed) as judge:
        evaluate(tones, out, judge, "--judge-calls", "1")
        assert killed.is_dir()
        with_judge = ["--judge", "m-2026-01-01", "--judge-url", judge.url]
        runs: list[object] = [
            "run",
            "--data",
            tones,
            "--task",
            "emotion",
            "--system",
            "reference",
            "--system",
            "canned",
        ]
        none: list[str] = []
        for number, later in enumerate(([with_judge], [none, none], [none, with_judge])):
            copy = tmp_path / f"copy {number}"
            shutil.copytree(killed, copy)
            commands: list[list[object]] = [[*runs, "--out"], ["score"]]
            for command, more in zip(commands, later, strict=False):
                words = [*command, copy, "--annotator", "acoustics", *more]
                for again in (words, ["leaderboard", copy]):
                    done = CliRunner().invoke(command_line, [*map(str, again)], standalone_mode=False)
                    assert (done.exception, done.return_value) == (None, Exit.DONE), (words, done.output)


def test_a_name_of_a_judge_is_text_in_the_leaderboard_file(tones: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    name = "@team/![x](http://a.b)<b>"
    with ScriptedChatServer(fitting) as judge:
        evaluate(tones, run, judge, model=name)
    notes = [line for line in (run / "leaderboard.md").read_text().splitlines() if "of judge" in line]
    assert notes
    assert name not in "".join(notes)
    assert all(raw not in "".join(notes) for raw in ("@team", "http://", "![x", "<b>"))


def test_failed_verdicts_are_missing_and_requested_again(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    broken = {"now": True}

    def sometimes(request: dict[str, Any]) -> str | int:
        return 429 if broken["now"] else fitting(request)

    with ScriptedChatServer(sometimes) as judge:
        assert evaluate(tones, out, judge).return_value == Exit.CANNOT_TELL
        states = {s.state for k, s in RunFolder.existing(out).scores().items() if k[3] == "judge_echat_r1"}
        assert states == {"missing"}
        broken["now"] = False
        assert evaluate(tones, out, judge).return_value == Exit.DONE


def test_another_judge_model_judges_everything_again(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ScriptedChatServer(fitting) as judge:
        evaluate(tones, out, judge)
        before = len(judge.requests)
        CliRunner().invoke(
            run,
            [
                "--data",
                str(tones),
                "--task",
                "emotion",
                "--system",
                "reference",
                "--system",
                "canned",
                "--annotator",
                "acoustics",
                "--judge",
                "other-2026-02-02",
                "--judge-url",
                judge.url,
                "--out",
                str(out),
            ],
            standalone_mode=False,
        )
        models = {request["model"] for request in judge.requests[before:]}
    assert models == {"other-2026-02-02"}
    assert {evidence.models for evidence in judge_evidence(out)} == {("other-2026-02-02-served",)}


@pytest.mark.parametrize("changed", ["fingerprint", "served_suffix"])
def test_scores_of_another_served_model_are_made_again(tones: Path, tmp_path: Path, changed: str) -> None:
    out = tmp_path / "run"

    def served() -> set[tuple[str, str]]:
        return {(m, s) for evidence in judge_evidence(out) for m in evidence.models for s in evidence.servers}

    with ScriptedChatServer(fitting) as judge:
        evaluate(tones, out, judge)
        before = len(judge.prompts)
        assert served() == {("m-2026-01-01-served", "fp_scripted")}
        setattr(judge, changed, "-q4")
        assert evaluate(tones, out, judge).return_value == Exit.DONE
        assert len(judge.prompts) == 2 * before
        assert served() == {
            ("m-2026-01-01-q4", "fp_scripted")
            if changed == "served_suffix"
            else ("m-2026-01-01-served", "-q4")
        }
        # And back: the first one's verdicts were kept, so nothing is requested.
        setattr(judge, changed, "fp_scripted" if changed == "fingerprint" else "-served")
        assert evaluate(tones, out, judge).return_value == Exit.DONE
        assert len(judge.prompts) == 2 * before
        assert served() == {("m-2026-01-01-served", "fp_scripted")}


def test_an_unreachable_judge_is_reported_and_finished_scores_stay(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ScriptedChatServer(fitting) as judge:
        evaluate(tones, out, judge)
        before = RunFolder.existing(out).scores()
    done = evaluate(tones, out, judge)
    assert done.return_value == Exit.DONE
    assert "the judge's server does not answer now" in done.output
    assert RunFolder.existing(out).scores() == before


@pytest.mark.parametrize("options", [["--controls", "8"]])
def test_controls_need_a_judge(tones: Path, tmp_path: Path, options: list[str]) -> None:
    done = CliRunner().invoke(
        run,
        [
            "--data",
            str(tones),
            "--task",
            "emotion",
            "--system",
            "canned",
            "--annotator",
            "acoustics",
            "--out",
            str(tmp_path / "run"),
            *options,
        ],
        standalone_mode=False,
    )
    assert "--controls without --judge" in str(done.exception)
