"""Trackers of a user's own, and what becomes of a run whose tracker fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import echat_eval as ev
from echat_eval.experiment.record import read_recorded
from echat_eval.ports import Silent, TrackedRun


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


class Keeping:
    name = "keeping"

    def __init__(self) -> None:
        self.runs: list[TrackedRun] = []

    def log(self, run: TrackedRun) -> None:
        assert run.page is not None
        assert (run.page / "index.html").is_file()
        self.runs.append(run)


class Failing:
    name = "failing"

    def log(self, run: TrackedRun) -> None:
        raise RuntimeError("no\nroom")


def evaluate(tones: Path, out: Path, notes: Notes, **more: Any) -> ev.Run:
    return ev.evaluate(
        "canned",
        data=tones,
        tasks="emotion",
        annotators=[],
        scorers="outcome",
        out=out,
        progress=notes,
        **more,
    )


def test_a_failing_tracker_is_one_line_and_the_others_get_the_run(tones: Path, tmp_path: Path) -> None:
    notes, kept = Notes(), Keeping()
    run = evaluate(tones, tmp_path / "run", notes, track=[Failing(), kept])
    assert [line for line in notes.lines if "tracker" in line] == [
        f"note: tracker 'failing' failed: RuntimeError: no room; the run is complete in {run.path}"
    ]
    (tracked,) = kept.runs
    assert (tracked.name, tracked.folder, tracked.headline) == ("run", run.path, "failed")
    assert tracked.rows[0]["metric"] == "failed"
    assert [list(tracked.columns), len(tracked.rows)] == [
        list(run.leaderboard().to_frame().columns),
        len(run.leaderboard().to_frame()),
    ]
    assert tracked.experiment["systems"] == {"canned": {}}
    assert "track" not in tracked.experiment  # objects are not recorded
    assert len(run.scores()) == 16


def test_a_tracker_of_a_file_is_recorded_with_its_settings(tones: Path, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(
        "class Mine:\n    def __init__(self, room='a'):\n        self.name, self.room = 'mine', room\n"
        "    def log(self, run):\n        (run.folder / 'tracked').write_text(self.room + ' ' + run.headline)\n"
    )
    use = f"{tmp_path / 'my.py'}:Mine"
    run = evaluate(tones, tmp_path / "run", Notes(), settings={"track": use, "track.room": "b"})
    assert (run.path / "tracked").read_text() == "b failed"
    recorded = read_recorded(run.path)
    assert recorded is not None
    assert recorded.track == [{"use": use, "room": "b"}]
    (run.path / "tracked").unlink()
    ev.evaluate(run.path, progress=Notes())
    assert (run.path / "tracked").is_file()


def test_unknown_trackers_and_settings_stop_before_anything_is_written(tones: Path, tmp_path: Path) -> None:
    for settings, line in (
        ({"track": "mlflw"}, "unknown tracker 'mlflw'"),
        ({"track.project": "x"}, "--set track.project without a tracker; name it with --set track=wandb"),
    ):
        with pytest.raises(ev.UsageError, match=line):
            evaluate(tones, tmp_path / "run", Notes(), settings=settings)
        assert not (tmp_path / "run").exists()
    with pytest.raises(ev.UsageError, match="a tracker that is an object takes no settings; got room"):
        evaluate(tones, tmp_path / "run", Notes(), track=Keeping(), settings={"track.room": "b"})
