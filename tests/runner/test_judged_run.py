"""A whole run with a judge through the command line: scores, controls, gain, resuming, a changed judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli.run import run
from echat_eval.errors import Exit
from echat_eval.store.run_folder import RunFolder
from tests.support.scripted_judge import ScriptedJudge, fitting, serving, verdict


def evaluate(tones: Path, out: Path, judge: ScriptedJudge, *more: str) -> Any:
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
            "m-2026-01-01",
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
    with serving(ScriptedJudge(fitting)) as judge:
        done = evaluate(tones, out, judge, "--controls", "8")
        assert done.return_value == Exit.DONE, (done.output, done.exception)
        asked = len(judge.prompts())
        again = evaluate(tones, out, judge)
        assert again.return_value == Exit.DONE
        assert len(judge.prompts()) == asked  # nothing is judged twice
    scores = RunFolder.existing(out).scores()
    of = lambda system, metric: [s.value for k, s in scores.items() if k[0] == system and k[3] == metric]  # noqa: E731
    assert min(of("reference", "judge_echat_r1")) > 70
    assert max(of("canned", "judge_echat_r1")) <= 40
    assert set(of("canned", "judge_echat_r1_cue_contrast")) == {0.0}
    assert min(of("reference", "judge_echat_r1_cue_contrast")) > 30
    assert of("canned", "judge_echat_r1_voice") == [None] * 8
    # The reference was told the cues: that it "perceives" them says nothing, so nothing is said.
    assert "reference perceives" not in done.output
    # Controls are judged on the ceiling's replies, and stand in the file and under the table.
    assert "labels shuffled, text score" in done.output
    assert ": falls" in done.output
    assert "labels shuffled" in (out / "leaderboard.md").read_text() or "labels shuffled" in done.output
    rows = [json.loads(line) for line in (out / "controls.jsonl").read_text().splitlines()]
    assert {row["name"] for row in rows} == {"labels shuffled", "labels withheld", "heard shuffled"}


def test_a_judge_that_does_not_read_labels_is_told_under_the_leaderboard(tones: Path, tmp_path: Path) -> None:
    with serving(ScriptedJudge(lambda p, r: verdict(4, 4, 4))) as judge:
        done = evaluate(tones, tmp_path / "run", judge, "--controls", "8")
    assert "not shown to read the labels" in done.output
    assert "not shown to read the labels" in (tmp_path / "run" / "leaderboard.md").read_text()


def test_verdicts_that_fail_are_missing_and_come_back(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    broken = {"now": True}

    def sometimes(prompt: str, request: dict[str, Any]) -> str | int:
        return 429 if broken["now"] else fitting(prompt, request)

    with serving(ScriptedJudge(sometimes)) as judge:
        assert evaluate(tones, out, judge).return_value == Exit.CANNOT_TELL
        states = {s.state for k, s in RunFolder.existing(out).scores().items() if k[3] == "judge_echat_r1"}
        assert states == {"missing"}
        broken["now"] = False
        assert evaluate(tones, out, judge).return_value == Exit.DONE


def test_another_judge_is_another_instrument(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with serving(ScriptedJudge(fitting)) as judge:
        evaluate(tones, out, judge)
        before = len(judge.asked)
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
        models = {request["model"] for request in judge.asked[before:]}
    assert models == {"other-2026-02-02"}
    evidence = [s.evidence for s in RunFolder.existing(out).scores().values() if "models" in s.evidence]
    assert {tuple(e["models"]) for e in evidence} == {("other-2026-02-02-served",)}


@pytest.mark.parametrize("changed", ["server_name", "served_suffix"])
def test_scores_made_by_another_served_model_are_made_again(
    tones: Path, tmp_path: Path, changed: str
) -> None:
    out = tmp_path / "run"
    served = lambda: {  # noqa: E731
        (m, s)
        for score in RunFolder.existing(out).scores().values()
        for m in score.evidence.get("models", ())
        for s in score.evidence["servers"]
    }
    with serving(ScriptedJudge(fitting)) as judge:
        evaluate(tones, out, judge)
        before = len(judge.prompts())
        assert served() == {("m-2026-01-01-served", "fp_scripted")}
        setattr(judge, changed, "-q4")
        assert evaluate(tones, out, judge).return_value == Exit.DONE
        assert len(judge.prompts()) == 2 * before
        assert served() == {
            ("m-2026-01-01-q4", "fp_scripted")
            if changed == "served_suffix"
            else ("m-2026-01-01-served", "-q4")
        }
        # And back: the first one's verdicts were kept, so nothing is asked.
        setattr(judge, changed, "fp_scripted" if changed == "server_name" else "-served")
        assert evaluate(tones, out, judge).return_value == Exit.DONE
        assert len(judge.prompts()) == 2 * before
        assert served() == {("m-2026-01-01-served", "fp_scripted")}


def test_a_judge_that_is_away_is_told_and_costs_no_finished_score(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with serving(ScriptedJudge(fitting)) as judge:
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
