"""Plugins: a system from another distribution, found by its entry point, and the shipped settings files."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from echat_eval.errors import UnknownName, UsageError
from echat_eval.io.strict_yaml import read_yaml
from echat_eval.systems import SYSTEMS, build_system, system_names
from echat_eval.systems.settings_files import system_settings, system_settings_names

ROOT = Path(__file__).resolve().parents[2]

MODULE = '''
from echat_eval.records import Reply


class Parrot:
    """Replies with a fixed word."""

    def __init__(self, word="polly", name="parrot"):
        self.name, self.word = name, word

    def respond(self, request):
        return Reply(text=self.word)

    def fingerprint(self):
        return "parrot-1"

    def settings(self):
        return {"word": self.word}
'''


def build_wheel(folder: Path) -> Path:
    """Write a wheel according to PEP 427, without a build tool or a network."""
    info = "echat_parrot-1.0.dist-info"
    files = {
        "echat_parrot.py": MODULE,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: echat-parrot\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": (
            "[echat_eval.systems]\nparrot = echat_parrot:Parrot\nlost = echat_parrot:Lost\n"
        ),
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text.encode())}\n"
    path = folder / "echat_parrot-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            wheel.writestr(name, text)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wheel = build_wheel(tmp_path_factory.mktemp("wheel"))
    target = tmp_path_factory.mktemp("site")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, capture_output=True)
    return target


def test_a_system_of_another_distribution_runs_by_its_name(site: Path, tones: Path, tmp_path: Path) -> None:
    arguments = ["run", "--system", "parrot", "--set", "word=hello", "--annotator", "acoustics"]
    arguments += ["--data", str(tones), "--task", "emotion", "--out", str(tmp_path / "run")]
    code = "from echat_eval.cli import main; main()"
    completed = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{site}:{ROOT}", "PATH": "/usr/bin:/bin", "MPLCONFIGDIR": str(tmp_path)},
        timeout=200,
    )
    assert completed.returncode == 0, completed.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "responses.jsonl").read_text().splitlines()]
    assert {row["reply"]["text"] for row in rows} == {"hello"}


def test_plugins_are_listed_and_a_wrong_entry_point_is_reported(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(site))
    assert {"parrot", "echo", "kimi-audio"} <= set(system_names())
    assert build_system("polly=parrot").name == "polly"
    with pytest.raises(UsageError, match="its entry point is wrong"):
        build_system("lost")
    with pytest.raises(UnknownName, match="Did you mean 'parrot'"):
        build_system("parot")


def test_every_settings_file_builds_its_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for replies in ("doubao-replies", "nova-2-sonic-replies"):
        (tmp_path / replies).mkdir()
    names = [name for name in system_settings_names() if not name.startswith("osum")]
    expected = {
        "qwen2.5-omni",
        "freeze-omni",
        "glm-4-voice",
        "baichuan-audio",
        "kimi-audio",
        "opens2s",
        "doubao",
        "gpt-4o-audio",
        "gpt-realtime-2.1",
        "qwen3.5-omni-plus-realtime",
        "stepaudio-3-realtime",
        "grok-voice",
        "gemini-3.1-flash-live",
        "nova-2-sonic",
        "qwen3-omni",
        "mimo-audio",
        "covo-audio",
        "minicpm-o-4.5",
        "ming-flash-omni",
        "qwen3-omni-live",
        "qwen3-omni-sglang",
        "qwen3-omni-live-sglang",
        "qwen3-omni-live-dynamo",
        "step-audio-2",
        "fun-audio-chat",
        "personaplex",
    }
    assert expected <= set(names)
    for name in names:
        settings = system_settings(name)
        assert settings.adapter in SYSTEMS
        assert settings.licence
        assert settings.source
        assert settings.untested
        if settings.adapter == "realtime":
            assert {"url", "dialect", "turn", "pace"} <= settings.settings.keys()
            assert settings.date
        assert build_system(name).name == name
    mine: Any = build_system("mine=kimi-audio", {"timeout": 9})
    assert mine.timeout == 9


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("colour: red\n", "unknown key 'colour'"),
        ("settings: [a]\n", "expected a mapping of names to plain values"),
        ("settings: {a: {b: 1}}\n", "expected a mapping of names to plain values"),
        ("licence: [MIT]\n", "'licence' is"),
    ],
)
def test_a_fault_in_a_settings_file_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, fault: str
) -> None:
    entries = {
        "title": "t",
        "adapter": "http",
        "settings": "{}",
        "served": "s",
        "licence": "l",
        "untested": "u",
        "source": "s",
    }
    entries.pop(text.partition(":")[0], None)
    (tmp_path / "systems").mkdir()
    path = tmp_path / "systems" / "bad.yaml"
    path.write_text("".join(f"{k}: {v}\n" for k, v in entries.items()) + text)
    monkeypatch.setattr("echat_eval.systems.settings_files.data_folder", lambda _: tmp_path)
    with pytest.raises(UsageError, match=r"bad\.yaml:\d+: ") as caught:
        system_settings("bad")
    assert fault in str(caught.value)
    assert read_yaml(path).content
