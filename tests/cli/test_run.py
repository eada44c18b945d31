"""The command line as a subprocess: one clear line, the right exit code, no lost rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from echat_eval.cli import COMMANDS, command_line
from echat_eval.store.keys import request_for
from echat_eval.task import load_task
from tests.support.command_line import call_here

ROOT = Path(__file__).resolve().parents[2]


def call(*words: str | Path, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "echat_eval", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        timeout=120,
    )


def test_help_shows_examples_and_imports_no_heavy_package() -> None:
    code = (
        "import sys; from echat_eval.cli import command_line; command_line.main(['--help'], standalone_mode=False); "
        "print(sorted({'numpy', 'rich', 'yaml', 'pandas', 'torch', 'openai', 'scipy', 'soundfile'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in COMMANDS:
        assert f"  {name} " in done.stdout
    assert "echat-eval run --system" in done.stdout


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in {"check", "export"}])
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = call_here(command, "--help", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert f"echat-eval {command}" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("rnu",), 2, "unknown command 'rnu'. Did you mean 'run'?"),
        (("run", "--system", "canend"), 2, "unknown system 'canend'. Did you mean 'canned'?"),
        (
            ("run", "--system", "echo", "--task", "emotoin"),
            2,
            "unknown task 'emotoin'. Did you mean 'emotion'?",
        ),
        (
            ("run", "--system", "echo", "--annotator", "wisper"),
            2,
            "unknown annotator 'wisper'. Did you mean 'whisper'?",
        ),
        (("run", "--system", "echo", "--judge", "m", "--rubric", "echat-r9"), 2, "unknown judge 'echat-r9'"),
        (("run", "--system", "canned", "--set", "colour=red"), 2, "unknown setting of system 'canned':"),
        (("run", "--system", "canned", "--set", "text"), 2, "not of the form name=value"),
        (("run", "--system", "echo:x"), 2, "takes no argument after a colon"),
        (("run", "--system", "replay"), 2, "needs replies"),
        (("run", "--system", "replay:none.jsonl"), 2, "none.jsonl: no such file or folder"),
        (("run", "--system", "echo", "--judge-url", "http://x"), 2, "--judge-url without --judge"),
        (("run", "--system", "echo", "--judge", "m", "--judge-url", "ftp://x"), 2, "expected http://"),
        (("run",), 2, "nothing to run; give an experiment file, or a system with --system NAME"),
        (("export", "requests"), 2, "Missing option '--out'; see `echat-eval export requests --help`"),
        (("run", "--sytem", "echo"), 2, "No such option '--sytem'."),
        (
            ("check", "judge", "--tolerance", "much"),
            2,
            "not a valid float; see `echat-eval check judge --help`",
        ),
        (("run", "--system", "echo", "--data", "nowhere"), 2, "nowhere"),
        (("score", "nowhere"), 2, "nowhere: not a run folder"),
        (("leaderboard", "nowhere"), 2, "nowhere: not a run folder"),
        (("check", "task", "nowhere"), 2, "nowhere: no such folder"),
        (("list", "system"), 2, "systems"),
    ],
)
def test_misuse_is_one_clear_line(tmp_path: Path, words: tuple[str, ...], code: int, line: str) -> None:
    done = call_here(*words, cwd=tmp_path)
    assert (done.returncode, line in done.stderr + done.stdout) == (code, True), done.stderr
    assert [line.startswith("echat-eval: ") for line in done.stderr.splitlines() if "note: " not in line] == [
        True
    ]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_run_in_which_every_reply_failed_exits_with_3(tmp_path: Path, tones: Path) -> None:
    ids = [request_for(sample).id for sample in load_task("emotion", data=tones).samples]
    replies = tmp_path / "replies.jsonl"
    words = ("run", "--system", f"mine=replay:{replies}", "--data", tones, "--annotator", "acoustics")
    for failed, code in ((len(ids), 3), (len(ids) - 1, 0)):
        rows = [{"id": name, "text": "Oh."} for name in ids[failed:]]
        rows += [{"id": name, "error": "the model crashed"} for name in ids[:failed]]
        replies.write_text("".join(json.dumps(row) + "\n" for row in rows))
        given = [str(word) for word in (*words, "--retry-failed", "--out", tmp_path / str(failed))]
        done = CliRunner().invoke(command_line, given, standalone_mode=False)
        assert done.return_value == code, done.output
        assert ("every reply failed" in done.stderr) == (code == 3)


def test_run_score_leaderboard_compare_and_gate(tmp_path: Path, tones: Path) -> None:
    arguments = (
        "run",
        "--system",
        "canned",
        "--system",
        "reference",
        "--data",
        tones,
        "--task",
        "emotion",
        "--annotator",
        "acoustics",
    )
    done = call(*arguments, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "canned (floor)" in done.stdout
    for name in (
        "manifest.json",
        "samples.jsonl",
        "responses.jsonl",
        "scores.jsonl",
        "leaderboard.md",
        "leaderboard.csv",
        "leaderboard.png",
    ):
        assert (tmp_path / "run" / name).is_file(), name
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["tasks"]["emotion"]["sha256"]
    assert manifest["environment"]["hardware"]["cores"]
    assert manifest["environment"]["hardware"]["device"] in ("cpu", "cuda")
    assert manifest["environment"]["commit"]["id"]
    assert {"seed", "fingerprint", "settings", "calls_at_once"} <= set(manifest["systems"]["canned"])
    assert str(tmp_path) not in json.dumps(manifest)
    again = call("leaderboard", tmp_path / "run", "--published", "echat-automatic")
    assert "OSUM-EChat" not in again.stdout
    assert "echat-automatic is not shown: nothing here has its measure, a judge's grade" in again.stdout
    assert call("score", tmp_path / "run", "--annotator", "acoustics").returncode == 0
    compared = call("compare", f"{tmp_path / 'run'}:canned", f"{tmp_path / 'run'}:reference")
    assert compared.returncode == 0, compared.stderr
    (tmp_path / "gate.yaml").write_text("margin: 5\nmetrics:\n  cue_contrast_proxy: {}\n")
    gated = call(
        "gate",
        f"{tmp_path / 'run'}:reference",
        "--against",
        f"{tmp_path / 'run'}:canned",
        "--policy",
        tmp_path / "gate.yaml",
    )
    assert gated.returncode in (0, 3), gated.stderr
    assert "cannot tell" in gated.stdout or "pass" in gated.stdout


def test_missing_replies_exit_with_3_and_are_filled_by_the_same_command(tmp_path: Path, tones: Path) -> None:
    call("export", "requests", "--data", tones, "--task", "emotion", "--out", tmp_path / "q")
    rows = [json.loads(line) for line in (tmp_path / "q" / "requests.jsonl").read_text().splitlines()]
    assert {tuple(sorted(row)) for row in rows} == {("audio", "id", "language")}
    for word in ("happy", "sad", "sentence", "g0"):
        assert word not in (tmp_path / "q" / "requests.jsonl").read_text()
    replies = tmp_path / "replies.jsonl"
    lines = [json.dumps({"id": row["id"], "text": "I see."}) + "\n" for row in rows]
    replies.write_text("".join(lines[:-1]))
    arguments = (
        "run",
        "--system",
        f"mine=replay:{replies}",
        "--data",
        tones,
        "--task",
        "emotion",
        "--annotator",
        "acoustics",
        "--out",
        tmp_path / "run",
    )
    first = call(*arguments)
    assert first.returncode == 3, first.stderr
    assert "scores are missing" in first.stderr
    assert "mine: 1 replies missing: no reply for request" in first.stderr
    replies.write_text("".join(lines))
    assert call(*arguments).returncode == 0


def test_unwritable_run_folder_is_one_clear_line(tmp_path: Path, tones: Path) -> None:
    (tmp_path / "file").write_text("")
    done = call(
        "run", "--system", "canned", "--data", tones, "--task", "emotion", "--out", tmp_path / "file" / "run"
    )
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_full_disk_keeps_finished_rows(tmp_path: Path, tones: Path) -> None:
    """A limit on file sizes simulates a full disk: the write that exceeds it is torn."""
    words = [
        "run",
        "--system",
        "canned",
        "--set",
        f"text={'kind words ' * 300}",
        "--data",
        str(tones),
        "--task",
        "emotion",
        "--annotator",
        "acoustics",
    ]
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (17_000, 17_000)); "
        "from echat_eval.cli import main; sys.argv = ['echat-eval', *sys.argv[1:]]; main()"
    )
    out = tmp_path / "run"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--out", str(out)],
        capture_output=True,
        text=True,
        env=env,
        timeout=120,
    )
    assert done.returncode == 3, done.stderr
    assert "File too large" in done.stderr or "disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    kept = (out / "responses.jsonl").read_text().splitlines()
    assert 1 <= len(kept) < 8
    assert all(json.loads(line) for line in kept)
    resumed = call(*words, "--out", out)
    assert resumed.returncode == 0, resumed.stderr
    assert f"respond: canned: {8 - len(kept)} of 8" in resumed.stderr


SLOW = """
from echat_eval.testing import ScriptedSystem
def slow():
    return ScriptedSystem("hm", "slow", seconds=0.15)
"""


def slow_program(tmp_path: Path) -> list[str]:
    (tmp_path / "slow_system.py").write_text(SLOW)
    return [
        sys.executable,
        "-c",
        "import sys; from echat_eval.systems import SYSTEMS; SYSTEMS['slow'] = 'slow_system:slow'; "
        "from echat_eval.cli import main; sys.argv = ['echat-eval', *sys.argv[1:]]; main()",
    ]


@pytest.mark.parametrize(("kill", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_run_continues_after_a_signal(tmp_path: Path, tones: Path, kill: int, code: int) -> None:
    words = [
        *slow_program(tmp_path),
        "run",
        "--system",
        "slow",
        "--data",
        str(tones),
        "--task",
        "emotion",
        "--annotator",
        "acoustics",
        "--out",
        str(tmp_path / "run"),
    ]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    process = subprocess.Popen(
        words,
        env=env,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Children of a shell in the background ignore Ctrl-C; restore the default.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    responses = tmp_path / "run" / "responses.jsonl"
    deadline = time.monotonic() + 60
    while not (responses.exists() and responses.read_text().count("\n") >= 2):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(kill)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    kept = responses.read_text().count("\n")
    assert 2 <= kept < 8
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"{8 - kept} of 8 rows to do" in done.stderr
    assert responses.read_text().count("\n") == 8


def test_doctor_lists_hardware_and_optional_packages(tmp_path: Path) -> None:
    done = call("doctor")
    assert done.returncode == 0
    assert "cores" in done.stdout
    assert "faster_whisper" in done.stdout


@pytest.mark.parametrize("kind", ["tasks", "systems", "annotators", "scorers", "judges", "published"])
def test_list_describes_every_name(kind: str) -> None:
    done = call("list", kind)
    assert done.returncode == 0, done.stderr
    assert all(len(line.split()) > 1 for line in done.stdout.splitlines()), done.stdout
