"""The files and commands of docs/systems.md work as documented."""

from __future__ import annotations

import json
import random
import re
import runpy
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.testing import check_system
from tests.support.tones import write_tone

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, flags=re.DOTALL))
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
COMMANDS = [line for language, block in BLOCKS if not language for line in block.splitlines()]
QUICK = ["--annotator", "acoustics"]  # the default instruments need packages that a small machine may lack


@pytest.fixture
def folder(tmp_path: Path, tones: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def documented_command(start: str) -> list[str]:
    """Return the arguments of the page's only command with this start."""
    (line,) = [line for line in COMMANDS if line.startswith(start)]
    return shlex.split(line)[1:]


def run(words: list[str], data: Path) -> str:
    if words[0] in ("run", "export"):
        words = [*words, "--data", str(data)]
    if words[0] == "run":
        words = [*words, *QUICK]
    done = CliRunner().invoke(command_line, words, catch_exceptions=False, standalone_mode=False)
    return f"{done.return_value or 0} {done.output}"


def replies(path: str) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in Path(path, "responses.jsonl").read_text().splitlines()]
    return {row["sample_id"]: row for row in rows}


def test_examples_have_at_most_ten_lines() -> None:
    for name, text in FILES.items():
        code = [
            line
            for line in text.splitlines()
            if line.strip() and not line.startswith(("#!", "import ", "from "))
        ]
        assert len(code) <= 10, name


def test_external_replies_are_scored_as_documented(folder: Path, tones: Path) -> None:
    run(documented_command("echat-eval export requests --task emotion --limit"), tones)
    runpy.run_path("to_televal.py")
    # The external inference, of which only the output's form is imitated.
    request_rows = [json.loads(line) for line in Path("ours.jsonl").read_text().splitlines()]
    rows = []
    for n, row in enumerate(request_rows):
        assert Path(row["audio"]).is_file()
        wav = Path("prediction/model/audio") / f"{row['key']}.wav"
        write_tone(folder / wav, 200 + n)
        rows.append({"key": row["key"], "pred": f"Reply {n}.", "ref": "", "pred_audio": str(wav)})
    lost = rows.pop(3)
    random.Random(0).shuffle(rows)
    Path("prediction/model/ours.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    runpy.run_path("from_televal.py")
    output = run(documented_command("echat-eval run --task emotion --limit 8 --system mine=replay"), tones)
    assert output.startswith("3 "), output
    assert f"no reply for request '{lost['key']}'" in output
    states = [row["state"] for row in replies("runs/mine").values()]
    assert (states.count("value"), states.count("missing")) == (7, 1)
    with open("replies.jsonl", "a") as file:
        print(json.dumps({"id": lost["key"], "text": "late", "audio": lost["pred_audio"]}), file=file)
    assert run(
        documented_command("echat-eval run --task emotion --limit 8 --system mine=replay"), tones
    ).startswith("0 ")
    assert {row["state"] for row in replies("runs/mine").values()} == {"value"}


def test_exported_requests_reveal_no_labels(folder: Path, tones: Path) -> None:
    run(documented_command("echat-eval export requests --task emotion --limit"), tones)
    text = Path("questions/requests.jsonl").read_text()
    names = " ".join(path.name for path in Path("questions").iterdir())
    for word in ("happy", "sad", "emotion", "sentence", "s0h", "g0", "synthetic"):
        assert word not in text + names
    assert all(re.fullmatch(r"[0-9a-f]{64}\.wav", path.name) for path in Path("questions").glob("*.wav"))
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    run(documented_command("echat-eval export requests --task emotion --ask emotion"), tones)
    assert "instruction" in Path("probes/requests.jsonl").read_text()


def test_the_documented_program_runs(folder: Path, tones: Path) -> None:
    (folder / "infer.py").chmod(0o755)
    assert "'infer' can be run" in run(
        documented_command("echat-eval check system command:./infer.py"), tones
    )
    assert run(
        documented_command("echat-eval run --task emotion --limit 8 --system mine=command:./infer.py"), tones
    ).startswith("0 ")
    assert {row["reply"]["text"] for row in replies("runs/program").values()} == {"I hear you."}


def test_the_documented_program_per_request_runs(folder: Path, tones: Path) -> None:
    (folder / "once.sh").chmod(0o755)
    words = documented_command('echat-eval run --task emotion --limit 8 --system "mine=command:./once.sh')
    assert run(words, tones).startswith("0 ")
    found = replies("runs/once")
    assert {row["reply"]["text"] for row in found.values()} == {"I heard a sound in en."}
    samples = [json.loads(line) for line in (tones / "emotion" / "samples.jsonl").read_text().splitlines()]
    assert {n: row["reply"]["audio"]["sha256"] for n, row in found.items()} == {
        row["id"]: row["audio_sha256"] for row in samples
    }


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    text = (folder / "server.py").read_text().replace("9000", str(free))
    (folder / "server.py").write_text(text)
    server = subprocess.Popen([sys.executable, "server.py"], stderr=subprocess.DEVNULL)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", free)) == 0:
                break
        time.sleep(0.05)
    yield free
    server.kill()
    server.wait()


def test_the_documented_server_runs(folder: Path, tones: Path, port: int) -> None:
    words = [w.replace("9000", str(port)) for w in documented_command("echat-eval check system http")]
    assert "can be run" in run(words, tones)
    words = [
        w.replace("9000", str(port))
        for w in documented_command("echat-eval run --task emotion --limit 8 --system mine=http")
    ]
    assert run(words, tones).startswith("0 ")
    assert all("audio" in row["reply"] for row in replies("runs/server").values())


@pytest.mark.parametrize(
    ("module", "name"), [("echat_parrot", "Parrot"), ("echat_honest", "Honest"), ("echat_talker", "Talker")]
)
def test_the_documented_classes_conform(
    folder: Path, module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    system = runpy.run_path(f"{module}.py")[name]()
    assert not [f for f in check_system(system) if f.outcome == "fail"]


def test_the_page_names_every_way_to_connect() -> None:
    from echat_eval.systems import ARGUMENT

    for word in ARGUMENT:
        assert word in PAGE or word == "qwen-omni", word
