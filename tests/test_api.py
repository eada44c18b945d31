"""The Python API: five lines with an object, a name and a spec, and the same numbers as the command line."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
from click.testing import CliRunner

import echat_eval as ev
from echat_eval import api
from echat_eval.cli.leaderboard import leaderboard as leaderboard_command
from echat_eval.cli.run import run as run_command
from echat_eval.gate import Policy
from echat_eval.ports import Case
from echat_eval.testing import ScriptedAnnotator, ScriptedChatServer, ScriptedScorer, ScriptedSystem
from tests.support.scripted_judge import fitting

ROOT = Path(__file__).resolve().parents[1]

MY_FILE = """
from echat_eval import Metric, Reply, Score
from neighbour import TEXT

class Mine:
    name = "mine"
    def __init__(self, text: str = TEXT):
        self.text = text
    def respond(self, request):
        return Reply(text=self.text)
    def fingerprint(self):
        return "mine-1"
    def settings(self):
        return {"text": self.text}

class Words:
    name, version, needs, scope = "words", "1", (), "sample"
    metrics = (Metric(name="words", title="Words", unit="", low=0, high=None, higher_is_better=True),)
    def score(self, cases):
        return [case.score(self.metrics[0], "value", value=len(case.response.reply.text.split())) for case in cases]
    def fingerprint(self):
        return "words-1"
    def settings(self):
        return {}

ready = Mine("I am ready.")
"""


@pytest.fixture
def my_file(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text('TEXT = "I see what you mean."\n')
    path = tmp_path / "my.py"
    path.write_text(MY_FILE)
    return path


def evaluate(systems: Any, tones: Path, out: Path, **more: Any) -> ev.Run:
    """Evaluate on the tones, without annotators."""
    return ev.evaluate(systems, data=tones, tasks="emotion", out=out, **{"annotators": [], **more})


@pytest.fixture
def run(tones: Path, tmp_path: Path) -> ev.Run:
    systems = ["canned", ScriptedSystem(lambda request: ev.Reply(text=f"I hear {request.id[:2]}."), "mine")]
    return evaluate(systems, tones, tmp_path / "run")


# -- the five lines ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["object", "name", "spec", "mapping", "settings", "list"])
def test_five_lines_with_an_object_a_name_and_a_spec(
    tones: Path, tmp_path: Path, my_file: Path, kind: str
) -> None:
    systems: dict[str, tuple[Any, str]] = {
        "object": (ScriptedSystem("I am sorry.", "mine"), "mine"),
        "name": ("canned", "canned"),
        "spec": (f"other={my_file}:Mine", "other"),
        "mapping": ({"a": ScriptedSystem("I am sorry.", "mine")}, "a"),
        "settings": ({"b": {"use": f"{my_file}:Mine", "text": "Oh."}}, "b"),
        "list": ([f"{my_file}:ready"], "mine"),
    }
    system, name = systems[kind]
    evaluate({"old": "canned"}, tones, tmp_path / "old")
    run = evaluate(system, tones, tmp_path / "run", judges=None)
    assert run.systems == [name]
    board = run.leaderboard()
    assert name in str(board)
    assert set(run.scores()["state"]) <= {"value", "not applicable"}
    compared = ev.compare(f"{tmp_path / 'old'}:old", run)
    pooled = compared.to_frame().query("part == 'pooled' and metric == 'empty_reply'")
    assert pooled["n"].tolist() == [8]
    assert str(tmp_path / "old") in str(compared)


def test_a_second_call_does_nothing(tones: Path, tmp_path: Path) -> None:
    system = ScriptedSystem("I am sorry.", "mine")
    evaluate(system, tones, tmp_path / "run")
    files = [path for path in (tmp_path / "run").rglob("*.jsonl") if path.name != "commands.jsonl"]
    written = {path: path.read_bytes() for path in files}
    again = ScriptedSystem("I am sorry.", "mine")
    evaluate(again, tones, tmp_path / "run", cache=False)
    assert (len(system.requests), len(again.requests)) == (8, 0)
    assert {path: path.read_bytes() for path in files} == written


def test_an_interrupted_run_is_resumed(tones: Path, tmp_path: Path) -> None:
    def press_ctrl_c(request: ev.Request) -> ev.Reply:
        if len(system.requests) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return ev.Reply(text="I see.")

    system = ScriptedSystem(press_ctrl_c, "mine")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            evaluate(system, tones, tmp_path / "run", cache=False)
    finally:
        signal.signal(signal.SIGINT, before)
    kept = len((tmp_path / "run" / "responses.jsonl").read_text().splitlines())
    assert 1 <= kept < 8
    rest = ScriptedSystem("I see.", "mine")
    run = evaluate(rest, tones, tmp_path / "run", cache=False)
    assert len(rest.requests) == 8 - kept
    assert len(run.responses()) == 8


def test_it_works_while_an_event_loop_runs(tones: Path, tmp_path: Path) -> None:
    async def cell() -> ev.Run:  # notebooks execute cells on a loop
        return evaluate("canned", tones, tmp_path / "run")

    assert asyncio.run(cell()).states["value"] > 0


# -- the same numbers as the command line ------------------------------------------


def test_numbers_equal_those_of_the_command_line(tones: Path, tmp_path: Path) -> None:
    words = ["--data", str(tones), "--task", "emotion", "--annotator", "acoustics"]
    words += ["--system", "canned", "--system", "reference", "--out", str(tmp_path / "cli")]
    done = CliRunner().invoke(run_command, words, standalone_mode=False)
    assert done.return_value == 0, done.output
    run = evaluate(["canned", "reference"], tones, tmp_path / "api", annotators="acoustics")
    ours, theirs = run.scores(), ev.load_run(tmp_path / "cli").scores()
    timed = ours["metric"] == "seconds"
    pd.testing.assert_frame_equal(ours[~timed], theirs[~timed])
    for name in ("leaderboard.md", "leaderboard.csv", "leaderboard.png"):
        assert (run.path / name).is_file()
    shown = CliRunner().invoke(
        leaderboard_command, [str(run.path), "--out", str(tmp_path / "tables")], standalone_mode=False
    )
    assert shown.return_value == 0, shown.output
    for name in ("leaderboard.md", "leaderboard.csv"):
        assert (tmp_path / "tables" / name).read_bytes() == (run.path / name).read_bytes()
    with (run.path / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    frame = run.leaderboard().to_frame()
    as_text = frame.astype(object).where(frame.notna(), "").to_dict("records")
    assert [{name: _same(value) for name, value in row.items()} for row in rows] == [
        {name: _same(str(value)) for name, value in row.items()} for row in as_text
    ]


def _same(text: str) -> str | float:
    """Return a cell as a number if it is one; counts are whole numbers in the file, floats in a frame."""
    try:
        return float(text)
    except ValueError:
        return text


def test_compare_and_gate_equal_the_command_line(run: ev.Run, tmp_path: Path) -> None:
    from echat_eval.cli.compare_gate import compare_command, gate_command

    specs = [f"{run.path}:canned", f"{run.path}:mine"]
    printed = CliRunner().invoke(compare_command, [*specs, "--metric", "empty_reply"], standalone_mode=False)
    assert printed.output.splitlines() == ev.compare(*specs, metrics="empty_reply").lines()
    policy = {"margin": 5, "metrics": {"empty_reply": {}}}
    file = tmp_path / "gate.yaml"
    file.write_text(json.dumps(policy))
    decision = ev.gate(specs[1], specs[0], policy)
    words = [specs[1], "--against", specs[0], "--policy", str(file)]
    printed = CliRunner().invoke(gate_command, words, standalone_mode=False)
    assert printed.return_value == decision.exit_code
    assert decision.outcome in printed.output
    frames = [ev.load_run(spec).scores() for spec in specs]
    rules = Policy(margin=5, metrics={"empty_reply": {"higher_is_better": False, "low": 0, "high": 100}})  # type: ignore[dict-item]
    for candidate, against in ((ev.load_run(specs[1]), ev.load_run(specs[0])), (frames[1], frames[0])):
        other = ev.gate(candidate, against, rules)
        assert (other.outcome, other.difference) == (decision.outcome, decision.difference)


def test_a_baseline_is_accepted_and_held_against(run: ev.Run, tmp_path: Path) -> None:
    baseline = tmp_path / "accepted"
    ev.accept(ev.load_run(f"{run.path}:canned"), baseline)
    decision = ev.gate(f"{run.path}:canned", baseline, {"margin": 5, "metrics": {"empty_reply": {}}})
    assert (decision.outcome, decision.scope) == ("pass", "4 sentences"), "the replies are the baseline's own"
    strict = {"margin": 5, "metrics": {"empty_reply": {}}, "min_clusters": 6}
    assert ev.gate(f"{run.path}:canned", baseline, strict).outcome == "cannot tell"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("")
    with pytest.raises(ev.UsageError, match="not empty and not a baseline"):
        ev.accept(f"{run.path}:canned", tmp_path / "other")


def test_three_runs_have_a_trend(run: ev.Run) -> None:
    specs = [
        f"{name}={run.path}:{system}" for name, system in (("a", "canned"), ("b", "mine"), ("c", "canned"))
    ]
    compared = ev.compare(*specs, metrics=["failed"])
    assert len(compared.comparisons) == 2
    assert "a -> b -> c" in str(compared)


# -- what a notebook shows -----------------------------------------------------------


def test_a_notebook_shows_leaderboards_and_comparisons(tones: Path, tmp_path: Path) -> None:
    hostile = "<b>$x$|`*"
    run = evaluate(ScriptedSystem("Oh.", hostile), tones, tmp_path / "run")
    board = run.leaderboard()
    html, markdown = board._repr_html_(), board._repr_markdown_()
    assert "&lt;b&gt;" in html
    assert "<b>$" not in html
    assert "tex2jax_ignore" in html
    assert r"\$x\$" in markdown
    assert markdown == (run.path / "leaderboard.md").read_text()
    assert repr(board) == str(board)
    compared = ev.compare(f"a={run.path}", f"b={run.path}", metrics="failed")
    assert all(line.startswith("    ") for line in compared._repr_markdown_().splitlines())
    assert len(api.leaderboard(f"a={run.path}", f"b={run.path}").to_frame()["system"].unique()) == 2


# -- rows as data frames ---------------------------------------------------------------


def test_rows_have_states_labels_and_clusters(tones: Path, tmp_path: Path) -> None:
    answers: list[Any] = ["Oh.", ev.SystemFailure("it broke"), *["I see."] * 6]
    system = ScriptedSystem(answers, "mine")
    run = evaluate(system, tones, tmp_path / "run", tries=1)
    facts = [
        "speaker_cluster",
        "sentence_cluster",
        "speaker",
        "transcript",
        "contrast_group",
        "language",
        "source",
        "label",
        "cue_emotion",
    ]
    ident = ["system", "task", "sample_id"]
    responses, scores, samples = run.responses(), run.scores(), run.samples()
    assert list(responses.columns[:3]) == ident
    for frame in (responses, scores, samples, run.annotations(), run.verdicts()):
        assert list(frame.columns[-len(facts) :]) == facts
    assert responses["state"].value_counts().to_dict() == {"value": 7, "failed": 1}
    failed = responses[responses["state"] == "failed"].iloc[0]
    assert "it broke" in failed["reason"]
    assert set(responses["cue_emotion"]) == {"happy", "sad"}
    assert samples.groupby("contrast_group")["sentence_cluster"].nunique().eq(1).all()
    assert samples["sentence_cluster"].nunique() == 4
    assert len(scores) == 8 * scores["metric"].nunique()
    assert scores["value"].dtype == float
    assert scores[scores["state"] == "missing"].empty
    assert run.notes() == [f"mine: 1 replies failed: {failed['reason']}"]


def test_annotations_and_verdicts_are_rows(tones: Path, tmp_path: Path) -> None:
    annotator = ScriptedAnnotator({"loud": 0.5, "words": ["a"]}, "mine")
    with ScriptedChatServer(fitting) as server:
        judges = {"text": {"model": "m-2026-01-01", "url": server.url, "repeats": 2}}
        run = evaluate(["echo", "reference"], tones, tmp_path / "run", annotators=annotator, judges=judges)
        assert len(run.annotations().query("system == 'echo' and name == 'loud'")) == 8
        verdicts = run.verdicts().query("system == 'reference' and metric == 'judge_text'")
        sent = len(server.prompts)
        again = ev.score(run, annotators=annotator, judges=judges)
        assert len(server.prompts) == sent
    assert sorted(verdicts["repeat"].unique()) == [0, 1]
    assert len(verdicts) == 16
    assert {"grade_content", "grade_cue_awareness", "model", "cue_emotion"} <= set(verdicts.columns)
    assert verdicts["grade_content"].between(0, 5).all()
    pd.testing.assert_frame_equal(again.scores(), run.scores())


# -- judges, scorers and annotators of one's own ----------------------------------------


def test_scorers_are_names_files_and_objects(tones: Path, tmp_path: Path, my_file: Path) -> None:
    def length(case: Case) -> float:
        assert case.response.reply is not None
        return float(len(case.response.reply.text or ""))

    own = ScriptedScorer(length, "length")
    run = evaluate("canned", tones, tmp_path / "run", scorers=["outcome", f"{my_file}:Words", own])
    assert set(run.scores()["metric"]) == {"failed", "seconds", "words", "length"}
    extended = evaluate("canned", tones, tmp_path / "more", scorers=["defaults", own])
    assert {"length", "failed", "empty_reply"} <= set(extended.scores()["metric"])


def test_the_cost_of_a_judge_is_estimated_and_noted_before_anything_is_sent(
    tones: Path, tmp_path: Path
) -> None:
    class Notes:
        def __init__(self) -> None:
            self.lines: list[str] = []
            self.calls_before_notes = 0

        def stage(self, name: str, total: int, done: int) -> None: ...
        def advance(self, count: int = 1, *, stage: str | None = None) -> None: ...
        def note(self, text: str) -> None:
            self.lines.append(text)
            if text.startswith("estimate:"):
                self.calls_before_notes += len(server.requests)

    notes = Notes()
    with ScriptedChatServer(fitting) as server:
        judge = {"model": "m-2026-01-01", "url": server.url}
        arguments: dict[str, Any] = {"data": tones, "tasks": "emotion", "annotators": [], "judges": judge}
        expected = ev.estimate("canned", **arguments, out=tmp_path / "run", progress=notes)
        assert not server.requests
        assert not (tmp_path / "run").exists()
        frame = expected.to_frame()
        assert frame[["role", "calls"]].to_numpy().tolist() == [["judge", 16]]
        run = ev.evaluate("canned", **arguments, out=tmp_path / "run", progress=notes)
        left = ev.estimate(judges=judge, annotators=[], out=tmp_path / "run", progress=notes)
    assert notes.calls_before_notes == 0
    assert any(line.startswith("estimate: judge m-2026-01-01: 16 questions") for line in notes.lines)
    assert "calls" in run.spent
    assert "nothing left to ask" in str(left)


# -- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("systems", "more", "error", "message"),
    [
        (object(), {}, ev.UsageError, "got object without name, respond, fingerprint, settings"),
        (ScriptedSystem, {}, ev.UsageError, r"got the class ScriptedSystem; expected an object"),
        ([], {}, ev.UsageError, "no system"),
        (["canned", "canned"], {}, ev.UsageError, "two systems are named 'canned'"),
        ("canend", {}, ev.UnknownName, "Did you mean 'canned'"),
        ("experiment.yaml", {}, ev.UsageError, "experiment.yaml: cannot be read: No such file"),
        ({"a": {"use": "canned", "colour": 1}}, {}, ev.UnknownName, "setting of system 'a': 'colour'"),
        ({"a": {"use": 3}}, {}, ev.UsageError, "expected 'use' with a name or spec"),
        ("no.py:Mine", {}, ev.UsageError, r"no.py: no such file; expected FILE.py:NAME"),
        ("canned", {"scorers": object()}, ev.UsageError, "scorer: got object without name, version, metrics"),
        ("canned", {"scorers": "cue"}, ev.UnknownName, "unknown scorer 'cue'"),
        ("canned", {"annotators": 3}, ev.UsageError, "annotator: got int without"),
        ("canned", {"judges": 3}, ev.UsageError, "expected the name of a model"),
        ("canned", {"judges": {"model": "m", "modle": "m"}}, ev.UnknownName, "Did you mean 'model'"),
        ("canned", {"judges": {"model": "m", "repeats": 0}}, ev.UsageError, "expected 1 to 20"),
        (
            "canned",
            {"judges": ["m-1", "m-2"]},
            ev.UsageError,
            "two judges, 'm-1' and 'm-2', would fill the column judge_echat_r1; give them different names",
        ),
        ("canned", {"controls": 4}, ev.UsageError, "controls without a judge"),
        ("canned", {"tries": 0}, ev.UsageError, "tries=0: expected a whole number 1 to 100"),
        (
            "canned",
            {"limit": 1},
            ev.UsageError,
            "limit 1 is smaller than the first contrast group, which has 2 samples",
        ),
        ("canned", {"limit": "2"}, ev.UsageError, "limit='2': expected a whole number"),
        ("canned", {"languages": "xx"}, ev.BadData, "has no sample in xx; its languages: en"),
        ("canned", {"ask": "mood"}, ev.UnknownName, "unknown question 'mood'"),
        ("canned", {"executor": "slurm"}, ev.UsageError, "slurm"),
        ("canned", {"max_cost": "much"}, ev.UsageError, "expected US dollars above 0"),
    ],
)
def test_bad_arguments_are_errors_of_the_tree(
    tones: Path, tmp_path: Path, systems: Any, more: Mapping[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate(systems, tones, tmp_path / "run", **more)
    assert not (tmp_path / "run").exists()


def test_a_scorer_with_metrics_of_another_type_is_refused(tones: Path, tmp_path: Path) -> None:
    scorer = ScriptedScorer(1.0, "mine", metrics=cast("Sequence[ev.Metric]", ["words"]))
    with pytest.raises(ev.UsageError, match="expected a tuple of Metric"):
        evaluate("canned", tones, tmp_path / "run", scorers=scorer)
    first, second = (
        ScriptedScorer(1.0, "one"),
        ScriptedScorer(1.0, "two", metrics=ScriptedScorer(1.0, "one").metrics),
    )
    with pytest.raises(ev.UsageError, match="belongs to two scorers"):
        evaluate("canned", tones, tmp_path / "run", scorers=[first, second])


def test_a_file_that_cannot_be_imported_is_one_clear_error(tones: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    (tmp_path / "wrong.py").write_text("1 / 0\n")
    (tmp_path / "empty.py").write_text("class Mine: ...\n")
    with pytest.raises(ev.NotInstalled, match="no_such_package"):
        evaluate(f"{tmp_path}/broken.py:Mine", tones, tmp_path / "run")
    with pytest.raises(ev.UsageError, match="cannot be imported: ZeroDivisionError"):
        evaluate(f"{tmp_path}/wrong.py:Mine", tones, tmp_path / "run")
    with pytest.raises(ev.UsageError, match="got Mine without name"):
        evaluate(f"{tmp_path}/empty.py:Mine", tones, tmp_path / "run")
    with pytest.raises(ev.UnknownName, match="Did you mean 'Mine'"):
        evaluate(f"{tmp_path}/empty.py:Mina", tones, tmp_path / "run")


def test_folders_that_are_no_run_are_refused(run: ev.Run, tmp_path: Path) -> None:
    with pytest.raises(ev.BadData, match=r"not a run folder \(no manifest.json\)"):
        ev.load_run(tmp_path / "nowhere")
    with pytest.raises(ev.BadData, match="not a run folder"):
        ev.score(tmp_path)
    with pytest.raises(ev.UnknownName, match="unknown system"):
        ev.load_run(f"{run.path}:mien")
    with pytest.raises(ev.UsageError, match="one system of a run; score the whole run"):
        ev.score(ev.load_run(f"{run.path}:mine"))
    with pytest.raises(ev.UsageError, match="2 systems"):
        ev.compare(run, run)
    with pytest.raises(ev.UsageError, match="expected two or more"):
        ev.compare(f"{run.path}:mine")
    with pytest.raises(ev.UsageError, match="expected a run, a path or a data frame"):
        ev.compare(cast("ev.Run", 3), f"{run.path}:mine")
    shutil.copytree(run.path, tmp_path / "newer")
    manifest = tmp_path / "newer" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    for verb in (ev.load_run, ev.score):
        with pytest.raises(ev.BadData, match="another version of echat-eval"):
            verb(tmp_path / "newer")


# -- the example --------------------------------------------------------------------------------


def test_the_example_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "first_evaluation.py"), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "listener" in done.stdout
    assert "cannot tell because" in done.stdout
    assert (tmp_path / "run" / "leaderboard.csv").is_file()
