"""Recordings that were deleted from a run are found by a listing."""

from __future__ import annotations

from pathlib import Path

from echat_eval.leaderboard.notes import reply_notes
from echat_eval.records import Reply, Request
from echat_eval.store.lost_recordings import lost_recordings
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing import ScriptedSystem
from tests.support.scripted_run import evaluated
from tests.support.scripted_world import tone


def speaker(name: str) -> ScriptedSystem:
    def respond(request: Request) -> Reply:
        return Reply(text="Hello.", audio=tone(len(name) * (200 + int(request.audio.sha256[:2], 16))))

    return ScriptedSystem(respond, name)


def test_a_deleted_recording_is_noted_until_it_is_back(tmp_path: Path, tones: Path) -> None:
    systems = [speaker("one"), speaker("another"), ScriptedSystem(lambda _: Reply(text="Hm."), "text")]
    run = evaluated(tmp_path / "run", tones, systems)
    assert lost_recordings(run) == {}
    response = next(r for r in run.responses().values() if r.system == "one")
    assert response.reply is not None
    path = response.reply.audio.path  # type: ignore[union-attr]
    path.rename(tmp_path / "copy.wav")

    again = evaluated(tmp_path / "run", tones, systems)
    assert lost_recordings(again) == {"one": [path.name]}
    (line,) = reply_notes(again)
    assert line.startswith(f"one: 1 recording gone, such as {path}; restore the folder from a copy, or run")
    assert lost_recordings(evaluated(tmp_path / "new", tones, systems)) == {}
    (tmp_path / "copy.wav").rename(path)
    assert reply_notes(RunFolder(run.path)) == []
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    samples = len(run.samples())
    assert {name: len(lost) for name, lost in lost_recordings(run).items()} == {
        "one": samples,
        "another": samples,
    }
