"""A run folder is finished elsewhere and scored again from its own record, and takes in no foreign task."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import echat_eval as ev
from echat_eval.experiment import read_commands
from echat_eval.experiment.record import read_recorded, stored_path
from echat_eval.ports import Silent
from echat_eval.report import build_report
from echat_eval.testing import ScriptedChatServer, ScriptedSystem
from tests.support.scripted_judge import fitting
from tests.support.tones import write_task

SYSTEM = """
import os
from echat_eval import Reply

class Mine:
    name = "mine"
    def __init__(self, text: str = "Lovely, I am sorry.", stop_after: int = 99):
        self.text, self.left = text, stop_after
    def respond(self, request):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return Reply(text=self.text)
    def fingerprint(self):
        return "mine-1"
    def settings(self):
        return {"text": self.text}
"""


@pytest.fixture
def my_file(tmp_path: Path) -> Path:
    path = tmp_path / "my.py"
    path.write_text(SYSTEM)
    return path


def evaluate(systems: Any, **arguments: Any) -> ev.Run:
    return ev.evaluate(
        systems,
        **{
            "annotators": [],
            "scorers": "outcome",
            "cache": False,
            "progress": Silent(),
            **arguments,
        },
    )


@contextmanager
def interrupted() -> Iterator[None]:
    with pytest.raises((KeyboardInterrupt, ev.EChatError)):
        yield


def test_a_folder_records_its_experiment_commands_and_inputs(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["echat-eval", "run", "x", "http://me:secret-word@host/"])
    (tmp_path / "prices.yaml").write_text(
        (Path(ev.__file__).parents[1] / "baselines/prices.yaml").read_text()
    )
    systems = {"calm": {"use": "canned", "text": "Oh."}, "copy": "echo"}
    run = evaluate(
        systems,
        data=tones,
        tasks="emotion",
        limit=4,
        prices=tmp_path / "prices.yaml",
        retry_failed=True,
        out=tmp_path / "run",
    )
    recorded = read_recorded(run.path)
    assert recorded is not None
    assert not recorded.retry_failed
    assert recorded.systems == {"calm": {"use": "canned", "text": "Oh."}, "copy": {"use": "echo"}}
    assert recorded.tasks == [{"name": "emotion", "data": str(tones), "limit": 4}]
    assert (recorded.scorers, recorded.annotators) == ({"outcome": {}}, {})
    (command,) = read_commands(run.path)
    assert command.argv[3] == "http://me:[secret]@host/"
    assert (command.outcome, bool(command.host), command.started <= (command.ended or "")) == (
        "done",
        True,
        True,
    )
    assert {"echat_eval", "python", "packages"} <= set(command.versions)
    assert {"task emotion", "../prices.yaml"} <= set(command.inputs)


def test_a_run_folder_holds_no_absolute_path_and_its_report_no_name_of_the_host(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.node", lambda: "name-of-the-host")
    monkeypatch.setattr("sys.argv", [str(tmp_path / "bin" / "echat-eval"), "run", "x"])
    monkeypatch.chdir(tmp_path)
    prices = Path(ev.__file__).parents[1] / "baselines/prices.yaml"
    Path("prices.yaml").write_bytes(prices.read_bytes())
    run = evaluate("canned", data=tones, tasks="emotion", prices="prices.yaml", out="runs/one")
    for name in ("experiment.yaml", "commands.jsonl", "manifest.json"):
        assert str(tmp_path) not in (run.path / name).read_text(), name
    assert "data: ../../data" in (run.path / "experiment.yaml").read_text()
    (command,) = read_commands(run.path)
    assert (command.folder, command.argv[0], command.host) == ("../..", "echat-eval", "name-of-the-host")
    build_report(["runs/one"], Path("out"), progress=Silent(), only=["tables", "page"])
    for path in Path("out").rglob("*"):
        if path.is_file():
            assert b"name-of-the-host" not in path.read_bytes(), path
            assert str(tmp_path).encode() not in path.read_bytes(), path
    # The project is moved as a whole, and the folder is continued from another place.
    recording = sorted((run.path / "requests").iterdir())[0]
    recording.unlink()
    rows = (run.path / "responses.jsonl").read_text().splitlines(keepends=True)
    (run.path / "responses.jsonl").write_text("".join(rows[:-1]))
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("runs", "data", "prices.yaml"):
        (tmp_path / name).rename(moved / name)
    monkeypatch.chdir(moved / "runs")
    assert len(ev.evaluate(Path("one"), progress=Silent()).responses()) == 8
    assert "data: ../../data" in Path("one/experiment.yaml").read_text()
    assert "prices: ../../prices.yaml" in Path("one/experiment.yaml").read_text()


def test_data_outside_the_project_keep_their_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for data, expected in (
        (tmp_path / "home" / "project" / "data", "../../data"),
        (tmp_path / "home" / "data", str(tmp_path / "home" / "data")),
        (tmp_path / "corpus", str(tmp_path / "corpus")),
        (Path("/corpus"), "/corpus"),
    ):
        assert stored_path(tmp_path / "home" / "project" / "runs" / "one", str(data)) == expected


def test_a_broken_off_run_finishes_elsewhere_without_its_data(
    tones: Path, my_file: Path, tmp_path: Path
) -> None:
    systems = {"mine": {"use": f"{my_file}:Mine", "stop_after": 3}, "copy": "echo"}
    with interrupted():
        evaluate(systems, data=tones, tasks="emotion", out=tmp_path / "run")
    assert read_commands(tmp_path / "run")[0].outcome in {"interrupted", None}
    moved = tmp_path / "elsewhere" / "run"
    moved.parent.mkdir()
    shutil.move(tmp_path / "run", moved)
    shutil.rmtree(tones)
    my_file.write_text(SYSTEM.replace("stop_after: int = 99", "stop_after: int = 99, **_"))
    run = ev.evaluate(moved, settings={"mine.stop_after": 99}, progress=Silent())
    states = run.responses().groupby("system")["state"].agg(["count", "nunique"])
    assert states.to_numpy().tolist() == [[8, 1], [8, 1]]
    assert [command.outcome for command in read_commands(moved)][-1] == "done"


def test_a_finished_folder_is_scored_again_without_its_systems(tones: Path, tmp_path: Path) -> None:
    system = ScriptedSystem(lambda request: ev.Reply(text="Lovely."), "mine")
    run = evaluate([system, "canned"], data=tones, tasks="emotion", out=tmp_path / "run")
    calls = len(system.requests)
    with ScriptedChatServer(fitting) as server:
        for name in ("first", "second"):
            judge = {name: {"model": f"{name}-2026-01-01", "url": server.url}}
            again = ev.evaluate(str(run.path), judges=judge, annotators=[], progress=Silent())
        metrics = {metric.name for metric in run.folder.manifest().metrics}
        sent = len(server.prompts)
        ev.evaluate(run.path, annotators=[], progress=Silent())
        assert len(server.prompts) == sent
    assert {"judge_first", "judge_second", "judge_second_cue_contrast"} <= metrics
    assert again.scores().query("metric == 'judge_first'")["state"].eq("value").all()
    assert len(system.requests) == calls


def test_an_unfinished_object_of_python_is_named(tones: Path, tmp_path: Path) -> None:
    def stop(request: Any) -> ev.Reply:
        raise KeyboardInterrupt

    with interrupted():
        evaluate(ScriptedSystem(stop, "mine"), data=tones, tasks="emotion", out=tmp_path / "run")
    with pytest.raises(ev.UsageError, match=r"system 'mine' was an object in Python \(.*ScriptedSystem\)"):
        ev.evaluate(tmp_path / "run", progress=Silent())


def test_lost_recordings_come_back_from_a_moved_data_folder(
    tones: Path, my_file: Path, tmp_path: Path
) -> None:
    systems = {"mine": {"use": f"{my_file}:Mine"}}
    run = evaluate(systems, data=tones, tasks="emotion", out=tmp_path / "run")
    lost = sorted((run.path / "requests").iterdir())[0]
    lost.unlink()
    rows = (run.path / "responses.jsonl").read_text().splitlines(keepends=True)
    (run.path / "responses.jsonl").write_text("".join(rows[:-1]))
    moved = tones.rename(tmp_path / "moved")
    with pytest.raises(
        ev.BadData, match=r"of task 'emotion' are missing, and .* is not there; give the place"
    ):
        ev.evaluate(run.path, progress=Silent())
    other = write_task(tmp_path / "other", groups=5).parent
    with pytest.raises(ev.UsageError, match=r"holds task 'emotion' of .*; this command has another one, of"):
        ev.evaluate(run.path, data=other, progress=Silent())
    finished = ev.evaluate(run.path, data=moved, progress=Silent())
    assert len(finished.responses()) == 8
    assert lost.is_file()


def test_a_repeated_command_without_its_data_adds_nothing_foreign(tones: Path, tmp_path: Path) -> None:
    own = write_task(tmp_path / "own", "calls").parent
    run = evaluate("canned", data=own, out=tmp_path / "run")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(ev.UsageError) as error:
        evaluate("canned", limit=4, out=tmp_path / "run")
    assert (
        f"holds tasks of {own}; this command would add 'emotion' of the demo split; give --data {own}"
        in str(error.value)
    )
    with pytest.raises(ev.UsageError, match="this command would add 'emotion' of"):
        evaluate("canned", data=tones, out=tmp_path / "run")
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    evaluate("canned", data=own, out=tmp_path / "run")


def test_data_that_were_edited_in_place_are_the_same_source(tones: Path, tmp_path: Path) -> None:
    evaluate("canned", data=tones, tasks="emotion", out=tmp_path / "run")
    file = tones / "emotion" / "samples.jsonl"
    file.write_text(file.read_text().replace("sentence number 0", "sentence number zero"))
    run = evaluate("canned", data=tones, tasks="emotion", out=tmp_path / "run")
    assert "sentence number zero" in set(run.samples()["transcript"])


def test_a_folder_with_the_name_of_a_system_is_no_system_and_hides_none(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evaluate("echo", data=tones, tasks="emotion", out="canned")
    assert evaluate("canned", data=tones, tasks="emotion", out="other").systems == ["canned"]
    assert ev.evaluate(Path("canned"), progress=Silent()).systems == ["echo"]


def test_a_folder_of_an_older_version_is_scored_again(tones: Path, tmp_path: Path) -> None:
    run = evaluate("canned", data=tones, tasks="emotion", out=tmp_path / "run")
    (run.path / "experiment.yaml").unlink()
    (run.path / "commands.jsonl").unlink()
    again = ev.evaluate(run.path, annotators=[], scorers="outcome", progress=Silent())
    assert len(again.scores()) == len(run.scores())


def test_the_headline_of_the_file_leads_and_ranks(tones: Path, tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(
        f"systems: [canned, echo]\ntasks: emotion\ndata: {tones}\nannotators: []\nout: {tmp_path / 'run'}\nscorers: outcome\n"
        "metrics: {headline: seconds}\n"
    )
    assert ev.evaluate(path, progress=Silent()).leaderboard().board.headline.name == "seconds"
    assert ev.evaluate(tmp_path / "run", progress=Silent()).leaderboard().board.headline.name == "seconds"
    path.write_text(path.read_text().replace("seconds", "secnods"))
    with pytest.raises(ev.UnknownName, match=r"unknown metric 'secnods'\. Did you mean 'seconds'"):
        ev.evaluate(path, progress=Silent())


#: File of a run folder, content, and the line about it.
DAMAGED = [
    ("experiment.yaml", "systems: [canned]", ":1: 'systems' is ['canned'], expected a mapping of names"),
    (
        "experiment.yaml",
        "systems: {a: echo}",
        ":1: 'systems' is {'a': 'echo'}, expected a mapping of names",
    ),
    ("experiment.yaml", "tasks: [emotion]", ":1: 'tasks' is ['emotion'], expected a list of mappings"),
    ("experiment.yaml", "tasks: [{data: x}]", ":1: 'tasks' is [{'data': 'x'}], expected a list"),
    ("experiment.yaml", "judges: {a: b}", ":1: 'judges' is {'a': 'b'}, expected a list of mappings"),
    ("experiment.yaml", "runner: [", "not YAML"),
    ("experiment.yaml", "x: 1", "unknown key 'x'"),
    ("commands.jsonl", "{", "commands.jsonl:1: "),
    ("commands.jsonl", '{"id": "a"}', "commands.jsonl:1: 'id' is 'a', expected a whole number"),
]


def test_a_damaged_record_is_one_line(tones: Path, tmp_path: Path) -> None:
    run = evaluate("canned", data=tones, tasks="emotion", out=tmp_path / "run")
    for name, text, line in DAMAGED:
        whole = (run.path / name).read_text()
        (run.path / name).write_text(text + "\n")
        with pytest.raises(ev.BadData) as error:
            ev.evaluate(run.path, progress=Silent())
        assert line in str(error.value)
        assert "\n" not in str(error.value)
        (run.path / name).write_text(whole)


def test_tasks_that_share_a_list_of_languages_are_read_again(tones: Path, tmp_path: Path) -> None:
    write_task(tones, "age")
    evaluate("canned", data=tones, languages=["en"], out=tmp_path / "run")
    assert len(evaluate(tmp_path / "run").responses()) == 16
