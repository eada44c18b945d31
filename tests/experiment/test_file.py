"""The experiment file: what it may hold, and one clear line with its place for everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from echat_eval.errors import BadData
from echat_eval.experiment import Experiment, read_experiment
from echat_eval.scorers.judge_settings import parse_judges


def written(folder: Path, text: str) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(text)
    return path


def test_every_group_of_a_file_fills_the_arguments(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
tasks: [emotion, {name: age, data: own, limit: 20, languages: [zh]}]
data: all
languages: en
limit: 40
ask: emotion
systems:
  old: {use: canned, text: "Oh."}
  new: {use: "command:./infer.sh", timeout: 30}
annotators: {whisper: {}, acoustics: {}}
scorers: [defaults, "my.py:words"]
judges:
  text: {model: m-1, rubric: echat-r1}
runner: {calls_at_once: 8, tries: 5, retry_failed: true, overlap: false, cache: false, max_cost: 2.5, controls: 40}
executor: {name: ray, workers: 2}
prices: prices.yaml
out: runs/nightly
""",
    )
    assert read_experiment(path) == Experiment(
        systems={
            "old": {"use": "canned", "text": "Oh."},
            "new": {"use": "command:./infer.sh", "timeout": 30},
        },
        tasks=["emotion", {"name": "age", "data": "own", "limit": 20, "languages": ["zh"]}],
        data="all",
        languages="en",
        limit=40,
        ask="emotion",
        annotators={"whisper": {}, "acoustics": {}},
        scorers=["defaults", "my.py:words"],
        judges={"text": {"model": "m-1", "rubric": "echat-r1"}},
        controls=40,
        calls_at_once=8,
        tries=5,
        retry_failed=True,
        overlap=False,
        cache=False,
        prices="prices.yaml",
        max_cost=2.5,
        executor={"name": "ray", "workers": 2},
        out="runs/nightly",
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("system: canned\n", ":1: unknown key 'system'; did you mean 'systems'? keys are systems, tasks"),
        ("tasks: [emotion]\n", ":1: key 'systems' is missing; expected a mapping of names to settings"),
        ("systems: 3\n", ":1: 'systems' is 3, expected a mapping of names to settings or a list of specs"),
        ("systems: {a: [1]}\n", ":1: 'systems' is {'a': [1]}, expected a mapping"),
        (
            "systems: {a: {use: canned}}\nlimit: many\n",
            ":2: 'limit' is 'many', expected a whole number from 1",
        ),
        ("systems: canned\nrunner: {trys: 3}\n", ":2: runner: unknown key 'trys'; did you mean 'tries'?"),
        ("systems: canned\nrunner: {tries: x}\n", ":2: runner: 'tries' is 'x', expected a whole number"),
        ("systems: canned\nrunner: 3\n", ":2: 'runner' is 3, expected a mapping"),
        ("systems: canned\ntasks: {emotion: 3}\n", ":2: 'tasks' is {'emotion': 3}, expected a list of names"),
        ("systems:\n  a: canned\n  a: echo\n", ":3: key 'a' twice"),
        ("systems: canned\ninclude: other.yaml\n", ":2: key 'include': an experiment file includes no other"),
        ("systems: !include other.yaml\n", ":1: tags (!include) are not allowed"),
        ("a: &x {use: canned}\nsystems: {b: *x}\n", ":1: anchors and aliases"),
        ("- canned\n", ":1: expected a mapping of keys to values"),
        ("systems: [canned\n", "not YAML"),
    ],
)
def test_a_fault_is_one_line_with_its_place(tmp_path: Path, text: str, line: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(BadData) as error:
        read_experiment(path)
    assert str(error.value).startswith(str(path))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "systems",
    [
        "{a: {use: openai-chat, api_key: abc}}",
        "{a: {use: openai-chat, model: m, headers: {Authorization: x}}}",
        "[{use: http, url: 'https://me:pass@host/'}]",
        "{a: {use: http, url: 'https://host/?access_token=abcdef'}}",
        "{a: {use: x, note: sk-proj-1234567890}}",
        "{a: {use: x, path: '${OPENAI_API_KEY}'}}",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, systems: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    with pytest.raises(BadData, match=r"experiment\.yaml:2: .*(secret|keys cannot come)") as error:
        read_experiment(written(tmp_path, f"\nsystems: {systems}\n"))
    for secret in ("abc", "pass@", "1234567890", "sk-of-the-environment"):
        assert secret not in str(error.value)


def test_paths_may_come_from_the_environment_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTS", "/data/weights")
    monkeypatch.setenv("TEXT", "Hello there")
    found: Any = read_experiment(
        written(tmp_path, "systems: {a: {use: osum-echat, checkpoint: '${WEIGHTS}/new.safetensors'}}\n")
    ).systems
    assert found["a"]["checkpoint"] == "/data/weights/new.safetensors"
    for name, line in (
        ("TEXT", "is no path; only paths"),
        ("ABSENT", "this environment variable is not set"),
    ):
        with pytest.raises(BadData, match=line) as error:
            read_experiment(written(tmp_path, f"systems: {{a: {{use: canned, text: '${{{name}}}'}}}}\n"))
        assert "Hello" not in str(error.value)


def test_the_documented_file_is_an_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "experiment.md").read_text(encoding="utf-8")
    monkeypatch.setenv("WEIGHTS", str(tmp_path))
    found = read_experiment(written(tmp_path, page.partition("```yaml\n")[2].partition("```")[0]))
    assert list(found.systems) == ["old", "new", "live", "mine"]
    assert [judge.stem for judge in parse_judges(found.judges)] == ["judge_text", "judge_strict"]
    assert found.headline == "judge_text"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{bolt: best}", "unknown key 'bolt'; did you mean 'bold'?"),
        ("{systems: [mime]}", "unknown system 'mime'. Did you mean 'mine'?"),
        ("{tasks: [emotoin]}", "unknown task 'emotoin'. Did you mean 'emotion'?"),
        ("{tasks: [age]}", "write the section into a file of its own"),
        ("{metrics: [judge_txet]}", "unknown metric 'judge_txet'. Did you mean 'judge_text'?"),
        ("{metrics: [a, a]}", "'metrics' names 'a' twice"),
    ],
)
def test_a_faulty_choice_for_tables_is_refused_before_a_run(
    tmp_path: Path, section: str, message: str
) -> None:
    text = "systems: {mine: {use: canned}}\ntasks: [emotion]\njudges: {text: {model: m}}\ntables: "
    with pytest.raises(BadData) as caught:
        read_experiment(written(tmp_path, text + section))
    assert message in str(caught.value)
    assert "experiment.yaml:4: tables" in str(caught.value)
    fine = "{systems: [mine], tasks: [emotion-asks-emotion], metrics: [judge_text_cue_contrast, seconds]}"
    read_experiment(written(tmp_path, text + fine))


@pytest.mark.parametrize(
    ("groups", "section", "warning"),
    [
        ("metrics: {extra: ['my.py:judge_depth']}", "{metrics: [judge_depth], headline: judge_depth}", None),
        ("metrics: {extra: {judge_depth: {use: 'my.py:depth'}}}", "{digits: {judge_depth: 2}}", None),
        ("scorers: [defaults, 'my.py:Mine']", "{metrics: [judge_depth]}", "unknown metric 'judge_depth'"),
        ("metrics: {extra: ['my.py:emotoin']}", "{names: {emotoin: E}}", None),
        ("", "{names: {match_rate: Match, emotion: E}}", "did you mean 'match-rate'?"),
        ("", "{names: {seconds: S}}", None),
    ],
)
def test_a_choice_of_what_may_be_a_metric_is_refused_never(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, groups: str, section: str, warning: str | None
) -> None:
    text = "systems: {match-rate: {use: canned}}\ntasks: [emotion]\njudges: {text: {model: m}}\n"
    read_experiment(written(tmp_path, f"{text}{groups}\ntables: {section}\n"))
    assert bool(caplog.messages) is (warning is not None)
    assert (warning or "") in caplog.text
