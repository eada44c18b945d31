"""Run folders and pages for the tests of reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from echat_eval.io import jsonl
from echat_eval.io.ratings import Rating, ratings_csv
from echat_eval.ports import Silent
from echat_eval.records import Reply, Request
from echat_eval.report.outlet import Outlet
from echat_eval.report.page import PageFront, write_page
from echat_eval.report.people import with_people
from echat_eval.report.runs import merge_runs
from echat_eval.scorers.cue_contrast import MATCH
from echat_eval.scorers.understanding import Understanding
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from echat_eval.task.probe import probing
from echat_eval.testing import ScriptedScorer, ScriptedSystem
from tests.support.scripted_parts import length
from tests.support.scripted_run import evaluated
from tests.support.scripted_world import (
    HOSTILE,
    make_run,
    make_task,
    marks_scorer,
    scripted_system,
    usual_systems,
)
from tests.support.tones import write_dialogues


@pytest.fixture(scope="session")
def usual_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run of two tasks, three systems, a floor and a ceiling."""
    root = tmp_path_factory.mktemp("usual")
    tasks = [make_task(root / "tasks", "emotion"), make_task(root / "tasks", "age", 6)]
    return make_run(root / "run", tasks, usual_systems())


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run whose names, transcripts, replies and verdicts contain HTML, script and LaTeX."""
    root = tmp_path_factory.mktemp("hostile")
    task = make_task(root / "tasks", "emotion", 3, hostile=True)
    hostile = scripted_system(HOSTILE, 0.5, text=HOSTILE)
    longest = scripted_system("a/b\\c " + "长" * 294, 0.5)
    inherited = [scripted_system(name, 0.5) for name in ("__proto__", "constructor", "toString")]
    systems = [hostile, longest, *inherited]
    return make_run(root / "run", [task], systems, scorers=[marks_scorer(reason=HOSTILE)])


@pytest.fixture(scope="session")
def timed_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run of dialogues of three turns with a live system of each mode, and one without times."""

    class Live(ScriptedSystem):
        def settings(self) -> dict[str, Any]:
            return {"turn": self.name, "pace": "at_once"}

    def timed(request: Request) -> Reply:
        return Reply(
            text="Yes.",
            first_audio_seconds=(seconds := 0.1 * (1 + len(request.history))),
            first_audible_seconds=seconds + 0.25,
            round_trip_seconds=0.012,
            interruptions=0,
        )

    root = tmp_path_factory.mktemp("timed")
    write_dialogues(root, groups=1)
    systems = [Live(timed, "vad"), Live(timed, "commit"), ScriptedSystem(lambda request: "Yes.", "text")]
    return evaluated(root / "run", load_task("emotion", data=root), systems, scorers=[length(needs=())])


@pytest.fixture(scope="session")
def asked_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run of a system that names every label when asked, and matches 60 % with its replies."""
    root = tmp_path_factory.mktemp("asked")
    task = make_task(root / "tasks", "emotion", 4)
    labels = {sample.audio.sha256: sample.cues["emotion"] for sample in task.samples}
    system = ScriptedSystem(
        lambda request: labels[request.audio.sha256] if request.instruction else "Yes.", "mine"
    )
    match = ScriptedScorer(60.0, "match", metrics=(MATCH,), families=("dialogue",))
    return evaluated(root / "run", [task, probing(task, "emotion")], system, scorers=[match, Understanding()])


def rated(run: RunFolder, path: Path) -> Path:
    """Write ratings of a run's replies by two raters, whole grades 1 to 5 that follow the judge's score."""
    rows = [
        Rating(
            rater=rater,
            system=score.system,
            task=score.task,
            sample_id=score.sample_id,
            dimension="empathy",
            value=min(5, max(1, round((score.value or 0) / 25) + shift)),
            low=1,
            high=5,
        )
        for score in run.scores().values()
        if score.metric == "judge_r0" and score.state == "value" and score.sample_id.startswith(("g0", "g1"))
        for rater, shift in (("ann", 1), ("ben", 2))
    ]
    path.write_text(ratings_csv(rows), encoding="utf-8")
    return path


def make_page(
    runs: list[RunFolder], out: Path, *, ratings: Path | None = None, front: PageFront | None = None
) -> Path:
    outlet = Outlet(out, ["page"])
    merged = merge_runs(runs)
    merged = merged if ratings is None else with_people(ratings, merged)
    write_page(merged, outlet, published=[], progress=Silent(), front=front)
    outlet.close()
    return out / "page"


def english(text: Any) -> str:
    """Return a text of the page's data, which may be a template with values, in English."""
    if isinstance(text, str):
        return text
    found: str = text["say"].format(**{name: english(value) for name, value in text["with"].items()})
    return found


def data_of(page: Path, name: str) -> Any:
    script = (page / "data" / f"{name}.js").read_text(encoding="utf-8")
    return jsonl.loads(jsonl.loads(script.removeprefix(f'EChat.receive("{name}",').removesuffix(");\n")))
