"""Conformance checks of trackers: does a tracker take every finished run, and leave it as it is?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from echat_eval.io.hashing import file_sha256
from echat_eval.ports import Sending, TrackedRun, Tracker
from echat_eval.testing.finding import Finding, fact, finding_from_error
from echat_eval.testing.part_suite import PartSuite

__all__ = ["check_tracker", "tracked_run"]

#: Columns of the leaderboard that hold text; all others hold numbers.
_TEXTS = {"system": "checked", "role": "system", "task": "all", "metric": "match_rate_proxy", "unit": "%"}


def tracked_run(folder: Path) -> TrackedRun:
    """Write a small run folder with a page, and return what a tracker gets of it.

    Args:
        folder: an empty folder.
    """
    from echat_eval.leaderboard.table_rows import CSV_COLUMNS  # numpy comes with it

    run, page = folder / "run", folder / "page"
    for path, text in (
        (run / "leaderboard.csv", "system,task,metric,value\n"),
        (page / "index.html", "<!doctype html><title>Check</title>"),
        (page / "audio" / "a.wav", "no sound"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    row = {name: _TEXTS.get(name, 1.0) for name in CSV_COLUMNS}
    return TrackedRun(
        name="run",
        folder=run,
        experiment={"systems": {"checked": {"use": "canned"}}, "tasks": {"emotion": {}}},
        headline="match_rate_proxy",
        columns=CSV_COLUMNS,
        rows=[row, {**row, "task": "emotion", "metric": "seconds"}],
        page=page,
    )


def check_tracker(tracker: Tracker, *, seconds: float = 120.0) -> Iterator[Finding]:
    """Give a tracker finished runs, and yield a finding for each check.

    Args:
        tracker: a tracker. It logs as it does in a run, so let it be one that works offline.
        seconds: time limit of a call; a slower call fails its check.
    """
    yield from _TrackerSuite(tracker, seconds).run()


class _TrackerSuite(PartSuite):
    kind, ports = "tracker", (Tracker,)
    results, inputs = "copies", "runs"

    def _facts(self) -> Iterator[Finding]:
        name = self.part.name
        yield fact("name", isinstance(name, str) and bool(name.strip()), repr(name))
        if isinstance(self.part, Sending):
            servers, error = self.call(self.part.destinations)
            if error is not None:
                yield finding_from_error("destinations", error)
            else:
                yield fact("destinations", True, ", ".join(server.url for server in servers) or "none")

    def checks(self) -> Iterator[Finding]:
        with tempfile.TemporaryDirectory(prefix="echat-eval-check-") as scratch:
            run = tracked_run(Path(scratch))
            before = _contents(run.folder)
            nothing: dict[str, Any] = {name: _TEXTS.get(name) for name in run.columns}
            for check, given in (
                ("finished run", run),
                ("same run again", run),
                ("run without a page", replace(run, page=None)),
                ("run without a value", replace(run, rows=[nothing])),
                ("run without rows", replace(run, rows=[])),
                ("run with words of any script", replace(run, name="声音 🙂 <b>")),
            ):
                _, error = self.call(self.part.log, given)
                if error is None:
                    yield Finding(outcome="pass", check=check, message="was copied")
                else:
                    yield finding_from_error(check, error)
            after = _contents(run.folder)
            changed = sorted(name for name in before if after.get(name) != before[name])
            yield fact(
                "run folder",
                not changed,
                f"changed or removed: {', '.join(changed)}; a tracker may only add files"
                if changed
                else "its files are as before",
            )


def _contents(folder: Path) -> dict[str, str]:
    """Return file -> hash of its bytes."""
    return {
        path.relative_to(folder).as_posix(): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
