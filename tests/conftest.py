"""What tests share: a small task of tones, and systems whose behaviour is scripted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.records import Reply, Request

#: Fixtures that several folders use.
pytest_plugins = [
    "tests.support.http_server",
    "tests.support.osum_fixtures",
    "tests.support.report_runs",
    "tests.support.score_tables",
]

IMPATIENT = RetryPolicy(tries=2, first_wait=0.0)
TONE_RATE = 16_000


def write_tone(path: Path, hertz: float, seconds: float = 0.5, seed: int = 0) -> str:
    """Write a tone and return the file's sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * TONE_RATE)) / TONE_RATE
    noise = np.random.default_rng(seed).normal(0, 1e-3, time.size)
    sf.write(path, 0.3 * np.sin(2 * np.pi * hertz * time) + noise, TONE_RATE, subtype="PCM_16")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_task(root: Path, name: str = "emotion", groups: int = 4) -> Path:
    """Write a task folder of contrast groups of two: happy is a high tone, sad a low one."""
    folder = root / name
    rows = []
    for group in range(groups):
        for cue, hertz in (("happy", 400 + group), ("sad", 150 + group)):
            audio = f"audio/{group}-{cue[0]}.wav"
            digest = write_tone(folder / audio, hertz, seed=group * 2 + (cue == "sad"))
            rows.append(
                {
                    "id": f"s{group}{cue[0]}",
                    "audio": audio,
                    "audio_sha256": digest,
                    "transcript": f"sentence number {group}",
                    "cues": {"emotion": cue},
                    "language": "en",
                    "source": "synthetic",
                    "contrast_group": f"g{group}",
                    "references": [f"{'Lovely' if cue == 'happy' else 'I am sorry'}, {group}."],
                }
            )
    (folder / "task.yaml").write_text(
        f"name: {name}\nversion: 1\ntitle:\n  en: Tones\n  zh: 音\ndescription: Tones for tests.\n"
        "cues: [emotion]\nlicence: CC0-1.0\n"
    )
    (folder / "samples.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return folder


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """A folder that holds the task `emotion` made of eight tones."""
    write_task(tmp_path / "data")
    return tmp_path / "data"


class Scripted:
    """A system that does what a function says, and counts how often it was asked."""

    def __init__(self, answer: Callable[[Request], Reply], name: str = "scripted", **settings: Any) -> None:
        self.name = name
        self.answer = answer
        self.asked: list[str] = []
        self._settings = settings
        self.print = "scripted-1"
        self.calls_at_once = 1

    def respond(self, request: Request) -> Reply:
        self.asked.append(request.id)
        return self.answer(request)

    def fingerprint(self) -> str | None:
        return self.print

    def settings(self) -> Mapping[str, Any]:
        return self._settings


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a cache of its own, so that none is answered by another or by an earlier day."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ECHAT_EVAL_CACHE", str(folder))
    return folder


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted


@pytest.fixture
def impatient() -> RetryPolicy:
    return IMPATIENT
