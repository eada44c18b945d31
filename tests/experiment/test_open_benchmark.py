"""The example for public benchmarks: its commands import files of their form, and its tasks can be run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.parquet
from click.testing import CliRunner

import echat_eval as ev
from echat_eval.cli import command_line
from echat_eval.experiment import read_experiment
from echat_eval.systems import SYSTEMS
from tests.support.tones import write_tone

if TYPE_CHECKING:
    import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "open-benchmark.yaml"


def import_commands() -> list[list[str]]:
    """Return the commands of the comments, as words."""
    text = re.sub(r"\\\n#\s*", "", EXAMPLE.read_text(encoding="utf-8"))
    return [shlex.split(line) for line in re.findall(r"^#\s+echat-eval (import .*)$", text, re.MULTILINE)]


def write_echomind(folder: Path) -> None:
    voices = ("target", "neutral", "alternative")
    for number, voice in enumerate(voices):
        write_tone(folder / "audio" / f"1_{voice}.wav", 200 + 50 * number, seconds=0.1)
    row: dict[str, Any] = {
        f"{voice}_audio_info": {f"{voice}_input_audio_file": f"1_{voice}.wav"} for voice in voices
    }
    row["alternative_audio_info"]["spoken_info"] = "sad-toned expressive voice"
    row |= {"case_id": 1, "spoken_info": "happy-toned expressive voice", "speak_A": "I passed."}
    (folder / "script_info_human.json").write_text(json.dumps([row]))


def write_televal(folder: Path, **labels: str) -> None:
    rows = []
    for number in range(2):
        write_tone(folder / "x.wav", 300 + 50 * number, seconds=0.1)
        audio = {"bytes": (folder / "x.wav").read_bytes(), "path": f"{number}.wav"}
        rows.append({"key": f"k{number}", "query": f"第{number}句", "audio": audio} | labels)
    (folder / "x.wav").unlink()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")


def test_commands_import_files_of_the_form_and_the_tasks_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_echomind(tmp_path / "EchoMind")
    (tmp_path / "emotion").mkdir()
    (tmp_path / "age").mkdir()
    write_televal(tmp_path / "emotion", query_emo="sad", answer="抱抱")
    write_televal(tmp_path / "age", age="child", answer_age="从前")
    for words in import_commands():
        if "--from-hub" in words:  # the user's own copy stands in for the hub
            at = words.index("--from-hub")
            words[at : at + 4] = ["emotion" if "televal-emotion" in words[-1] else "age"]
        done = CliRunner().invoke(command_line, words, catch_exceptions=False, standalone_mode=False)
        assert "no fault found" in done.output
    experiment = read_experiment(EXAMPLE)
    run = ev.evaluate("canned", tasks=experiment.tasks, annotators=[], out="run", cache=False)
    facts = run.folder.manifest().tasks
    assert {name: task.samples for name, task in facts.items()} == {
        "echomind-emotion": 3,
        "televal-emotion": 2,
        "televal-age": 2,
    }
    assert all(task.citation and "arXiv" in task.citation for task in facts.values())
    origin = json.loads((tmp_path / "open/televal-age/import.json").read_text())["origin"]
    assert list(origin["sha256"]) == ["train-00000-of-00001.parquet"]


def test_example_names_known_systems_with_floor_and_ceiling() -> None:
    experiment = read_experiment(EXAMPLE)
    assert isinstance(experiment.systems, dict)
    assert {"canned", "transcript-only", "gold-labels"} <= set(experiment.systems) & set(SYSTEMS)
    assert experiment.judges
