"""What needs neither pandas nor scipy nor matplotlib: the help, an import, a run of a replay and its list."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from echat_eval.records import Request
from tests.support.recordings import write_recordings

BLOCKED = ("matplotlib", "pandas", "scipy")
#: Runs each command of the arguments in one process, in which the packages cannot be imported.
PROGRAM = f"""
import json, sys
for name in {BLOCKED}:
    sys.modules[name] = None
import echat_eval
from echat_eval.cli import command_line
from echat_eval.errors import NotInstalled
for words in json.loads(sys.argv[1]):
    try:
        code = command_line.main(words, prog_name="echat-eval", standalone_mode=False)
    except ModuleNotFoundError as error:
        code = error.name
    except NotInstalled as error:
        code = str(error).replace(" ", "_")
    print("code:", code or 0, words, flush=True)
"""


def test_a_replay_is_imported_run_and_shown(tmp_path: Path, tones: Path, requests: list[Request]) -> None:
    table, mapping = write_recordings(tmp_path / "recordings")
    rows = [{"id": request.id, "text": f"Lovely, {number}."} for number, request in enumerate(requests)]
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    systems = ["--system", "mine=replay:replies.jsonl", "--system", "canned"]
    scorers = ["--scorer", "cue-contrast", "--scorer", "outcome", "--scorer", "readability"]
    own_task = ["--task", "emotion", "--data", str(tones)]
    commands = [
        ["--help"],
        ["import", "table", str(table), "--map", str(mapping), "--out", "calls"],
        ["run", *systems, *scorers, *own_task, "--out", "runs/mine"],
        ["show"],
        ["show", "runs/mine"],
        ["compare", "runs/mine:mine", "runs/mine:canned"],
        ["run", *systems, "--system", "too=replay:replies.jsonl", *scorers, *own_task, "--out", "runs/two"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)], cwd=tmp_path, capture_output=True, text=True
    )
    codes = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("code:")]
    assert codes[:6] == ["0"] * 5 + ["pandas"], done.stdout + done.stderr
    # Refused before anything is asked.
    assert codes[6] == "the_ranks_of_several_systems_need_scipy,_which_is_not_installed;_pip_install_scipy"
    assert not (tmp_path / "runs" / "two" / "responses.jsonl").exists()
    assert "no leaderboard.png, which needs matplotlib" in done.stderr
    run = tmp_path / "runs" / "mine"
    assert "\nmine,system,all,cue_contrast" in (run / "leaderboard.csv").read_text()
    assert not (run / "leaderboard.png").exists()
