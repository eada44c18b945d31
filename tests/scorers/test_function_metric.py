"""A metric that is a plain function: its definition, its faults, and where it appears."""

from __future__ import annotations

import os
import py_compile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import echat_eval as ev
from echat_eval.cli.report import report as report_command
from echat_eval.cli.run import run as run_command
from echat_eval.plugins import load_file
from echat_eval.ports import Case
from echat_eval.testing import check_scorer, scorer_cases

FILE = """
import echat_eval as ev

@ev.metric(unit="words", higher_is_better=False, low=0, high=1000)
def reply_words(case):
    return len(case.response.reply.text.split())

def undecorated(case):
    return 1.0
"""


@pytest.fixture
def my_metrics(tmp_path: Path) -> str:
    (tmp_path / "my_metrics.py").write_text(FILE)
    return str(tmp_path / "my_metrics.py")


def seconds_of_words(case: Case) -> Any:
    return case.annotations["acoustics"].values["seconds"]


def returning(value: Any) -> Any:
    def own(case: Case) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    return ev.metric(unit="", higher_is_better=True)(own)


def test_the_definition_comes_from_decorator_and_function() -> None:
    metric = ev.metric(unit="s", higher_is_better=True, low=0, digits=3)(seconds_of_words)
    assert metric.metric == ev.Metric(
        name="seconds_of_words",
        title="Seconds of words",
        unit="s",
        low=0,
        high=None,
        higher_is_better=True,
        digits=3,
    )
    assert metric.name == "seconds_of_words"


@pytest.mark.parametrize("value", [3, 2.5, np.float32(0.5), np.int64(2)])
def test_a_number_is_a_value(value: Any) -> None:
    (score,) = returning(value).score(scorer_cases()[:1])
    assert (score.state, score.value, type(score.value)) == ("value", float(value), float)


@pytest.mark.parametrize(
    ("value", "state", "reason"),
    [
        (None, "not applicable", "the metric returned None"),
        ("fast", "missing", "the metric returned a str, 'fast'; expected a number or None"),
        ([1, 2], "missing", "the metric returned a list, [1, 2]; expected a number or None"),
        (True, "missing", "the metric returned a bool, True; expected a number or None"),
        (
            ZeroDivisionError("division by zero"),
            "missing",
            "the metric raised ZeroDivisionError: division by",
        ),
        (
            ValueError("https://me:secret@host"),
            "missing",
            "the metric raised ValueError: https://me:[secret]@host",
        ),
        (ev.NotApplicable("no sound"), "not applicable", "no sound"),
        (ev.SystemFailure("silence"), "failed", "silence"),
        (ev.Unavailable("offline"), "missing", "offline"),
    ],
)
def test_anything_else_is_no_value(value: Any, state: str, reason: str) -> None:
    (score,) = returning(value).score(scorer_cases()[:1])
    assert (score.state, score.value) == (state, None)
    assert str(score.reason).startswith(reason)


def test_annotations_that_are_not_there_are_named() -> None:
    metric = ev.metric(unit="s", higher_is_better=True, needs=["acoustics"])(seconds_of_words)
    (case, *_) = scorer_cases(["acoustics"])
    states = []
    for present in (
        {"acoustics": replace(case.annotations["acoustics"], values={"seconds": 1.5})},
        {"acoustics": replace(case.annotations["acoustics"], state="missing", reason="offline")},
        {},
    ):
        (score,) = metric.score([replace(case, annotations=present)])
        states.append((score.state, score.value, score.reason))
    assert states == [
        ("value", 1.5, None),
        ("missing", None, "acoustics: offline"),
        ("not applicable", None, "annotator 'acoustics' is not in this run"),
    ]


def test_it_passes_the_checks_of_scorers(my_metrics: str) -> None:
    from echat_eval.scorers.select import select_scorers

    (metric,) = select_scorers([f"{my_metrics}:reply_words"], [], print)
    found = list(check_scorer(metric))
    assert {finding.outcome for finding in found} == {"pass"}, found


def test_a_changed_file_has_another_fingerprint(tmp_path: Path) -> None:
    from echat_eval.scorers.select import select_scorers

    prints = set()
    for number, words in enumerate(("split()", "split(',')")):
        path = tmp_path / f"metrics_{number}.py"
        path.write_text(FILE.replace("split()", words))
        (metric,) = select_scorers([f"{path}:reply_words"], [], print)
        prints.add(metric.fingerprint())
    assert len(prints) == 2


def test_the_code_that_runs_is_the_code_of_the_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "own_metrics.py"
    path.write_text(FILE)
    py_compile.compile(str(path))  # for the time and size of the old text
    status = path.stat()
    path.write_text(FILE.replace("len(case.response.reply.text.split())", "7.0".ljust(37)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    metric: Any = load_file("metric", f"{path}:reply_words")
    assert metric(None) == 7.0
    before = metric.fingerprint()
    path.write_text(FILE)
    assert metric.fingerprint() == before


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"unit": None}, "unit=None"),
        ({"higher_is_better": "yes"}, "expected a text, and True or False"),
        ({"needs": "whisper"}, "expected tuples of names"),
        ({"name": "two words"}, "metric 'two words': expected a name of letters"),
    ],
)
def test_wrong_facts_are_refused(facts: Any, message: str) -> None:
    with pytest.raises(ev.UsageError, match=message):
        ev.metric(**{"unit": "", "higher_is_better": True, **facts})(seconds_of_words)


async def late(case: Case) -> float:
    return 1.0


@pytest.mark.parametrize("function", [late, int, "text"])
def test_only_a_plain_function_is_a_metric(function: Any) -> None:
    with pytest.raises(ev.UsageError, match="expected a plain function of a case"):
        ev.metric(unit="", higher_is_better=True)(function)


@pytest.mark.parametrize("as_object", [True, False])
def test_an_undecorated_function_is_refused_with_what_to_add(
    tones: Path, tmp_path: Path, my_metrics: str, as_object: bool
) -> None:
    given: Any = seconds_of_words if as_object else f"{my_metrics}:undecorated"
    with pytest.raises(ev.UsageError, match=r"plain function; state its unit and direction: put @ev\.metric"):
        ev.evaluate("canned", data=tones, tasks="emotion", metrics=given, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_entry_point_names_a_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from echat_eval.scorers.select import select_scorers

    (tmp_path / "rate_plugin.py").write_text(FILE)
    (tmp_path / "rate-1.0.dist-info").mkdir()
    (tmp_path / "rate-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: rate\nVersion: 1\n"
    )
    entry = "[echat_eval.scorers]\nreply-words = rate_plugin:reply_words\n"
    (tmp_path / "rate-1.0.dist-info" / "entry_points.txt").write_text(entry)
    monkeypatch.syspath_prepend(str(tmp_path))
    (metric,) = select_scorers(["reply-words"], [], print)
    assert metric.name == "reply_words"


def test_it_appears_like_any_other_metric(tones: Path, tmp_path: Path, my_metrics: str) -> None:
    """Leaderboard, comparison, gate, tables and page; a metric that never gives a number is one line."""
    file = tmp_path / "experiment.yaml"
    file.write_text(
        "systems: {canned: {}, brief: {use: canned, text: Go on.}}\n"
        f"tasks: [{{name: emotion, data: {tones}}}]\n"
        "annotators: [acoustics]\nscorers: [outcome, readability]\n"
        f"metrics: {{headline: reply_words, extra: ['{my_metrics}:reply_words']}}\n"
        f"out: {tmp_path / 'run'}\n"
    )
    run = ev.evaluate(str(file), metrics=[returning(float("nan"))])
    board: Any = run.leaderboard().to_frame().set_index(["metric", "system", "task"])
    brief = board.loc["reply_words", "brief", "all"]
    assert (brief["value"], brief["missing"], brief["failed"]) == (2.0, 0, 0)
    assert str(run.leaderboard()).startswith("Reply words, words ↓")
    (line,) = [line for line in run.notes() if "brief" in line and "missing" in line]
    assert line == "brief: 8 scores missing own: the scorer returned nan; expected a finite number"
    assert board.loc["own", "brief", "all"]["missing"] == 8
    assert run.notes()[-1] == f"`echat-eval run {run.path}` gets the missing rows"

    compared = ev.compare(f"{run.path}:canned", f"{run.path}:brief", metrics="reply_words").to_frame()
    difference = compared["difference"].iloc[0]
    canned = board.loc["reply_words", "canned", "all"]["value"]
    assert difference == pytest.approx(canned - 2.0)
    policy = {"margin": 1, "metrics": {"reply_words": {}}}
    decision = ev.gate(f"{run.path}:canned", f"{run.path}:brief", policy)
    assert any("reply_words" in reason for reason in decision.reasons)

    words = [str(run.path), "--out", str(tmp_path / "report"), "--only", "tables,page"]
    assert CliRunner().invoke(report_command, words, standalone_mode=False).return_value == 0
    assert "Reply words" in (tmp_path / "report" / "tables" / "tables.md").read_text()
    assert "reply_words" in (tmp_path / "report" / "page" / "data" / "board.js").read_text()


def test_the_command_line_adds_metrics_to_a_run_folder(tones: Path, tmp_path: Path, my_metrics: str) -> None:
    out = str(tmp_path / "run")
    words = ["--system", "canned", "--data", str(tones), "--task", "emotion", "--annotator", "acoustics"]
    added = ["--metric", f"{my_metrics}:reply_words"]
    for given in ([*words, "--scorer", "outcome", "--out", out], [out, *added], [out, *added]):
        done = CliRunner().invoke(run_command, given, standalone_mode=False)
        assert done.return_value == 0, done.output
    scores = ev.load_run(out).scores()
    assert set(scores["metric"]) == {"failed", "seconds", "reply_words"}
    assert f"{{use: '{my_metrics}:reply_words'}}" in (tmp_path / "run" / "experiment.yaml").read_text()
