"""Experiment files and run folders on the command line: run, show, and the older spellings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click import Option
from click.testing import CliRunner

from echat_eval.cli import COMMANDS, HIDDEN, command_line
from echat_eval.cli.compare_gate import compare_command
from echat_eval.cli.run import run as run_command
from echat_eval.cli.show_runs import show_command
from echat_eval.errors import EChatError, UsageError
from echat_eval.experiment.listing import list_runs
from echat_eval.experiment.record import read_commands, read_recorded
from echat_eval.store.run_folder import RunFolder

if TYPE_CHECKING:
    import click


def invoke(command: click.Command, *words: str | Path) -> Any:
    return CliRunner().invoke(command, [*map(str, words)], standalone_mode=False)


@pytest.fixture
def file(tones: Path, tmp_path: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(
        f"systems:\n  calm: {{use: canned, text: Oh.}}\n  glad: {{use: canned, text: Lovely.}}\n  copy: {{use: echo}}\n"
        f"data: {tones}\ntasks: emotion\nannotators: []\nscorers: outcome\nout: {tmp_path / 'runs' / 'one'}\n"
    )
    return path


def test_a_file_runs_systems_of_different_settings(file: Path, tmp_path: Path) -> None:
    done = invoke(run_command, file, "--limit", "4", "--set", "glad.text=Great.", "--set", "runner.tries=5")
    assert done.exception is None, done.exception
    folder = RunFolder(tmp_path / "runs" / "one")
    texts = {r.system: r.reply.text for r in folder.responses().values() if r.reply is not None}
    assert (texts["calm"], texts["glad"]) == ("Oh.", "Great.")
    assert len(folder.responses()) == 3 * 4
    settings = folder.manifest().settings
    assert settings is not None
    assert settings.retry_policy.tries == 5
    recorded = read_recorded(folder.path)
    assert recorded is not None
    assert recorded.systems["glad"] == {"use": "canned", "text": "Great."}


def test_a_folder_is_continued_and_listed(file: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    assert invoke(run_command, file).exception is None
    assert invoke(run_command, root / "one").exception is None
    assert [command.outcome for command in read_commands(root / "one")] == ["done", "done"]
    (root / "broken").mkdir()
    (root / "broken" / "manifest.json").write_text("{")
    shown = invoke(show_command, root)
    assert shown.exception is None, shown.exception
    words = " ".join(shown.output.split())
    assert re.search(r"one 20\d\d-\d\d-\d\d \d\d:\d\d calm, copy, glad", words), shown.output
    for part in ("done", "damaged", "kB"):
        assert part in shown.output
    assert "Other measures" in invoke(show_command, root / "one").output
    names = invoke(show_command, "systems")
    assert names.output.startswith("echo")
    assert "judges: echat-r1" in invoke(show_command, "names").output


def test_a_chosen_headline_leads_in_every_command(file: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"

    def leads(command: click.Command, *words: str | Path) -> str:
        output = invoke(command, *words).output
        return str(re.findall(r"^(\w.*), mean and 95 % interval", output, re.MULTILINE)[0])

    assert leads(run_command, file, "--headline", "seconds") == "Seconds, s ↓"
    (line,) = list_runs(root)
    assert line.headline[0] == "seconds"
    # The folder keeps the choice, and another one holds for its command alone.
    assert leads(run_command, root / "one") == "Seconds, s ↓"
    assert leads(show_command, root / "one", "--headline", "failed") == "Failed, % ↓"
    assert leads(show_command, root / "one") == "Seconds, s ↓"
    pair = (f"{root / 'one'}:calm", f"{root / 'one'}:glad")
    lines = [invoke(compare_command, *pair, *words).output for words in ((), ("--headline", "failed"))]
    assert [re.findall(r"^(\w+) +change", text, re.MULTILINE)[0] for text in lines] == [
        "seconds",
        "failed",
    ]
    for command, words in ((show_command, [root / "one"]), (compare_command, pair), (run_command, [file])):
        done = invoke(command, *words, "--headline", "faild")
        assert isinstance(done.exception, UsageError)
        assert str(done.exception).startswith("unknown metric 'faild'. Did you mean 'failed'?"), (
            done.exception
        )
    done = invoke(show_command, root, "--headline", "failed")
    assert "--headline and --out belong to a leaderboard" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "nothing to run; give an experiment file, or a system with --system NAME"),
        (
            ("{file}", "--system", "echo"),
            "names the systems, and so does --system; add the system to the file",
        ),
        (
            ("canned",),
            "canned: expected an experiment file (.yaml), a run folder or a baseline; name a system with --system",
        ),
        (("no.yaml",), "no.yaml: cannot be read: No such file"),
        (
            ("{file}", "--set", "clam.text=x"),
            "unknown name in '--set clam.text': 'clam'. Did you mean 'calm'?",
        ),
        (
            ("{file}", "--set", "glad.txt=x"),
            "unknown setting of system 'glad': 'txt'. Did you mean 'text'?",
        ),
        (("{file}", "--judge-timeout", "600"), "--set judge.timeout without a judge"),
    ],
)
def test_bad_input_of_run_is_one_line(file: Path, tmp_path: Path, words: tuple[str, ...], line: str) -> None:
    done = invoke(run_command, *(word.format(file=file) for word in words))
    assert isinstance(done.exception, UsageError), done.exception
    assert line in str(done.exception)
    assert not (tmp_path / "runs").exists()


def test_judges_of_the_command_line_have_names_and_settings(file: Path, tmp_path: Path) -> None:
    words = ["--judge", "a=m-1", "--judge", "b=m-2", "--set", "judge.b.url=http://127.0.0.1:9/v1"]
    done = invoke(run_command, file, *words, "--set", "judge.a.url=http://127.0.0.1:9/v1", "--estimate")
    assert done.exception is None, done.exception
    assert "judge m-1" in done.output
    assert "judge m-2" in done.output


def test_help_of_run_is_short_and_older_spellings_still_parse() -> None:
    text = invoke(run_command, "--help").output
    options = re.findall(r"^  (?:-\w, )?--[a-z-]+", text, flags=re.MULTILINE)
    assert len(options) <= 12, options
    assert "docs/experiment.md lists" in " ".join(text.split())
    listed = Path(__file__).resolve().parents[2].joinpath("docs", "experiment.md").read_text(encoding="utf-8")
    table = listed[listed.index("These options also exist") :]
    hidden = [p.secondary_opts or p.opts for p in run_command.params if isinstance(p, Option) and p.hidden]
    assert [names for names in hidden if f"`{names[0]}" not in table] == []
    older = ["--judge-url", "http://x/v1", "--rubric", "echat-r1", "--judge-repeats", "2", "--judge-prose"]
    older += ["--judge-calls", "3", "--judge-timeout", "9", "--judge-set", "seed=1", "--controls", "4"]
    older += [
        "--tries",
        "2",
        "--no-cache",
        "--no-overlap",
        "--retry-failed",
        "--language",
        "en",
        "--workers",
        "2",
    ]
    run_command.make_context("run", ["--system", "echo", "--judge", "m", *older])


def test_twelve_commands_are_listed_and_older_names_work() -> None:
    assert len(COMMANDS) == 12
    assert list(COMMANDS)[:5] == ["demo", "run", "compare", "gate", "report"]
    text = invoke(command_line, "--help").output
    for name in HIDDEN:
        assert f"\n  {name} " not in text
        assert invoke(command_line, name, "--help").exit_code == 0


def test_an_empty_or_absent_folder_of_runs_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in ((tmp_path,), ()):
        assert "holds no run; `echat-eval demo` makes one" in invoke(show_command, *words).output
    absent = invoke(show_command, tmp_path / "no")
    assert isinstance(absent.exception, EChatError)
    assert "not a run folder" in str(absent.exception)
