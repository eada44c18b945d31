"""The demo: its story has the numbers of `show` and `gate`, and its next commands work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval import api
from echat_eval.cli import command_line
from echat_eval.cli.demo import EXPERIMENT, POLICY
from echat_eval.cli.demo import demo as demo_command
from echat_eval.cli.demo_story import QUALITY, SYSTEMS, WIDTH
from echat_eval.errors import UsageError
from echat_eval.experiment import read_experiment
from echat_eval.gate.policy import read_policy
from echat_eval.leaderboard.gap_text import gap_cells
from echat_eval.leaderboard.render import cell_text

PARTS = """
import echat_eval as ev
from echat_eval.io.audio import read_mono
from echat_eval.systems.voice_cues import RATE, detect_cues


class Listens:
    name = "listens"

    def respond(self, request):
        cues = detect_cues(read_mono(request.audio.path, rate=RATE)[0].astype("float64"))
        if request.instruction is not None:
            return ev.Reply(text=cues.emotion)
        glad = cues.emotion in ("happy", "surprise")
        return ev.Reply(text="How wonderful, I am so happy!" if glad else "Oh no, I am so sorry.")

    def fingerprint(self):
        return "listens-1"

    def settings(self):
        return {}


class Reads(Listens):
    def respond(self, request):
        return ev.Reply(text="Please tell me more about it.")
"""


def invoke(*words: str | Path) -> Any:
    return CliRunner().invoke(command_line, [*map(str, words)], standalone_mode=False)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the demo's experiment file with scripted cascades, one task and few samples."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts.py").write_text(PARTS)
    path = tmp_path / "small.yaml"
    path.write_text(
        "systems:\n"
        '  listening-cascade: {use: "parts.py:Listens"}\n  cascade: {use: "parts.py:Reads"}\n'
        "  canned: {}\n  label-parrot: {}\n  reference: {}\n"
        "tasks: [emotion, {name: emotion, ask: emotion}]\nlanguages: en\nlimit: 18\nannotators: []\n"
        "scorers: [defaults, reference-similarity]\nout: runs/mine\n"
    )
    monkeypatch.setattr("echat_eval.cli.demo.EXPERIMENT", path)
    return path


def test_the_story_has_the_numbers_of_show_and_gate_and_its_commands_work(
    small: Path, tmp_path: Path
) -> None:
    edited = tmp_path / "runs" / "demo-gate.yaml"
    edited.parent.mkdir()
    edited.write_text(POLICY.read_text() + "# mine\n")
    done = invoke("demo", "--out", "runs/demo", "--no-cache")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", done.stdout)
    text = " ".join(done.stdout.split())

    board = api.load_run("runs/demo").leaderboard().board
    for gap in board.gaps:
        if gap.system in (*SYSTEMS, "label-parrot"):
            name, cue, _, n, named, _, points, _ = gap_cells(gap, board.roles[gap.system])
            assert f"{name} {cue} {n} {named} " in text
            assert points in text
    for metric in (metric for metric in board.metrics if metric.name in QUALITY):
        for system in board.roles:
            assert cell_text(board.summaries.get((system, "all", metric.name)), metric) in text
    listens, reads = (f"runs/demo:{system}" for system in SYSTEMS)
    for candidate, outcome in ((listens, "pass"), (reads, None), ("runs/demo-broken", "regress")):
        printed = invoke("gate", candidate, "--against", listens, "--policy", "runs/demo-gate.yaml").output
        difference = re.search(r"[-+][0-9.]+ \[.*?\]", printed)
        assert difference is not None, printed
        assert difference[0] in text
        assert outcome in (None, printed.partition(":")[0])
    assert "(36 of 36)" in text  # replies that failed
    assert "Sent to other machines: nothing." in text

    assert (tmp_path / "runs" / "demo.yaml").read_text() == small.read_text()
    assert edited.read_text().endswith("# mine\n")
    commands = [line for line in lines if line.startswith("echat-eval ")]
    assert len(commands) == 3
    for command in commands:
        assert invoke(*shlex.split(command)[1:]).exit_code in (0, 1, 3), command


@pytest.mark.parametrize("folder", ["mine", "mine-broken"])
def test_a_run_that_the_demo_did_not_make_is_refused(small: Path, tmp_path: Path, folder: str) -> None:
    (tmp_path / "runs" / folder).mkdir(parents=True)
    (tmp_path / "runs" / folder / "manifest.json").write_text("{}")
    (tmp_path / "runs" / folder / "experiment.yaml").write_text("systems: {canned: {}}\n")
    (tmp_path / "runs" / "mine.yaml").write_text("# an experiment of mine")
    refused = invoke("demo", "--out", "runs/mine").exception
    assert isinstance(refused, UsageError)
    assert (
        str(refused) == f"runs/{folder}: a run that the demo did not make; choose another folder with --out"
    )
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted([folder, "mine.yaml"])


def test_the_demo_file_and_policy_are_whole() -> None:
    found = read_experiment(EXPERIMENT)
    assert {*SYSTEMS, "canned", "label-parrot", "reference"} <= set(found.systems)
    assert not found.overlap
    assert read_policy(POLICY).primary == "match_rate_proxy"
    assert demo_command.callback is not None
