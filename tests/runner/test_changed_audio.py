"""Bytes of a run folder that changed after they were hashed reach no system, no annotator and no page."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.ports import Silent
from echat_eval.records import Reply, Request
from echat_eval.report import build_report
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing import ScriptedAnnotator, ScriptedSystem
from tests.support.scripted_run import evaluated
from tests.support.scripted_world import tone

if TYPE_CHECKING:
    import pytest


def speaker(name: str) -> ScriptedSystem:
    """Return a system that fails a request whose audio is not what its name states."""

    def respond(request: Request) -> Reply:
        assert hashlib.sha256(request.audio.path.read_bytes()).hexdigest() == request.audio.path.stem
        return Reply(text="Hello.", audio=tone(200 + int(request.audio.sha256[:2], 16)))

    return ScriptedSystem(respond, name)


def damage(folder: Path) -> Path:
    """Change one byte of the first file of a folder, and keep its time as a failing disk does."""
    path = sorted(folder.glob("*.wav"))[0]
    content, time = bytearray(path.read_bytes()), path.stat().st_mtime_ns
    content[100] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(time, time))
    return path


def states(run: RunFolder, system: str) -> list[str]:
    return sorted(r.state for r in run.responses().values() if r.system == system)


def test_a_changed_query_is_withheld_and_copied_again(tmp_path: Path, tones: Path) -> None:
    run = evaluated(tmp_path / "run", tones, speaker("one"))
    path = damage(run.path / "requests")
    run = evaluated(tmp_path / "run", tones, [speaker("one"), speaker("two")])
    answered = len(states(run, "one"))
    assert states(run, "two") == ["missing"] + ["value"] * (answered - 1)
    (reason,) = (r.reason for r in run.responses().values() if r.state == "missing")
    assert reason is not None
    assert path.name in reason
    assert "its bytes are not those" in reason
    run = evaluated(tmp_path / "run", tones, [speaker("one"), speaker("two")])
    assert states(run, "two") == ["value"] * answered


def test_a_query_that_another_program_wrote_to_is_copied_again(tmp_path: Path, tones: Path) -> None:
    run = evaluated(tmp_path / "run", tones, speaker("one"))
    path = damage(run.path / "requests")
    path.touch()
    run = evaluated(tmp_path / "run", tones, [speaker("one"), speaker("two")])
    assert set(states(run, "two")) == {"value"}
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


def test_a_changed_reply_is_not_annotated(tmp_path: Path, tones: Path) -> None:
    run = evaluated(tmp_path / "run", tones, speaker("one"))
    damage(run.path / "audio")
    annotator = ScriptedAnnotator(lambda audio, _: {"seconds": audio.seconds}, "duration")
    run = evaluated(tmp_path / "run", tones, speaker("one"), annotators=[annotator])
    missing = [a.reason for a in run.annotations().values() if a.state == "missing"]
    assert ["its bytes are not those" in (reason or "") for reason in missing] == [True]


def test_a_changed_or_linked_sound_is_not_published(
    tmp_path: Path, tones: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = evaluated(tmp_path / "run", tones, speaker("one"))
    damaged = damage(run.path / "audio")
    linked = sorted((run.path / "requests").glob("*.wav"))[0]
    linked.rename(tmp_path / "elsewhere.wav")
    linked.symlink_to(tmp_path / "elsewhere.wav")
    build_report([str(run.path)], tmp_path / "out", progress=Silent(), only=["page"])
    published = {path.name for path in (tmp_path / "out" / "page" / "audio").iterdir()}
    assert not {damaged.name, linked.name} & published
    assert all(
        hashlib.sha256(p.read_bytes()).hexdigest() == p.stem for p in (tmp_path / "out/page/audio").iterdir()
    )
    assert "a link that leaves the folder" in caplog.text
