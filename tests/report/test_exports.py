"""A run for other programs: Parquet, the long table, and results in the forms of the hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from echat_eval.errors import UsageError
from echat_eval.io import jsonl
from echat_eval.io.hashing import file_sha256
from echat_eval.io.unfinished import NewFolder
from echat_eval.report.export_hub import HubTarget, hub_files
from echat_eval.report.export_parquet import Exported, export_parquet
from echat_eval.report.runs import merge_runs
from echat_eval.store.run_folder import RunFolder
from echat_eval.store.select import open_run
from tests.support.command_line import call_here
from tests.support.present import present
from tests.support.scripted_world import make_run, make_task, scripted_system

pq = pytest.importorskip("pyarrow.parquet", reason="no pyarrow (the extra [hub])")


@pytest.fixture
def restricted(usual_run: RunFolder, tmp_path: Path) -> Callable[..., RunFolder]:
    """Return a copy of the run in which task `age` has other terms."""

    def copy(**terms: object) -> RunFolder:
        folder = tmp_path / "restricted"
        shutil.copytree(usual_run.path, folder)
        manifest = jsonl.loads((folder / "manifest.json").read_bytes())
        manifest["tasks"]["age"] |= terms
        (folder / "manifest.json").write_text(jsonl.dumps(manifest))
        return RunFolder(folder)

    return copy


def exported(run: RunFolder, out: Path, **options: object) -> Exported:
    with NewFolder(out, "test") as folder:
        return export_parquet(run, folder, **options)  # type: ignore[arg-type]


def test_parquet_holds_the_rows_of_the_run(usual_run: RunFolder, tmp_path: Path) -> None:
    made = exported(usual_run, tmp_path / "out", audio="path")
    tables = {path.stem: pq.read_table(path) for path in (tmp_path / "out").glob("*.parquet")}
    assert {name: table.num_rows for name, table in tables.items()} == dict(made.rows)
    scores = tables["scores"].to_pylist()
    own = usual_run.scores()
    assert {
        (r["system"], r["task"], r["sample_id"], r["metric"]): (r["state"], r["value"]) for r in scores
    } == {key: (score.state, score.value) for key, score in own.items()}
    for row in tables["responses"].to_pylist():
        reply = usual_run.responses()[row["system"], row["task"], row["sample_id"]].reply
        assert row["text"] == (None if reply is None else reply.text)
        if row["audio"] is not None:
            assert file_sha256(tmp_path / "out" / row["audio"]) in row["audio"]
    first = tables["annotations"].to_pylist()[0]
    assert isinstance(json.loads(first["value"]), str | dict)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8").split("---\n")
    configs = yaml.safe_load(card[1])["configs"]
    assert [config["config_name"] for config in configs] == list(made.rows)
    assert all((tmp_path / "out" / config["data_files"]).is_file() for config in configs)


def test_a_column_has_the_same_type_whatever_the_rows(usual_run: RunFolder, tmp_path: Path) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 2)
    silent = make_run(
        tmp_path / "run", [task], [scripted_system("words", 0.5, voice=False, names_cues=False)]
    )
    for name, run in (("usual", usual_run), ("silent", silent)):
        exported(run, tmp_path / name, audio="bytes")
    for table in ("samples", "responses", "scores"):
        schemas = [pq.read_schema(tmp_path / name / f"{table}.parquet") for name in ("usual", "silent")]
        types = [
            {f.name: f.type for f in schema if not f.name.startswith(("cue_", "perceived_"))}
            for schema in schemas
        ]
        assert types[0] == types[1]
    sound = pq.read_table(tmp_path / "usual" / "samples.parquet").to_pylist()[0]["audio"]
    assert sound["bytes"].startswith(b"RIFF")


def test_terms_of_the_tasks_are_obeyed(restricted: Callable[..., RunFolder], tmp_path: Path) -> None:
    run = restricted(redistributable=False, private=True)
    made = exported(run, tmp_path / "public", audio="path")
    assert "private tasks are left out: age" in made.notes[0]
    for path in (tmp_path / "public").glob("*.parquet"):
        assert set(pq.read_table(path).column("task").to_pylist()) == {"emotion"}, path.name
    made = exported(run, tmp_path / "mine", audio="path", with_private=True)
    queries = pq.read_table(tmp_path / "mine" / "samples.parquet").to_pylist()
    assert {row["task"] for row in queries if row["audio"] is not None} == {"emotion"}
    assert "no recordings of the samples of age" in made.notes[0]
    exported(run, tmp_path / "all", audio="path", with_private=True, with_audio=True)
    queries = pq.read_table(tmp_path / "all" / "samples.parquet").to_pylist()
    assert all(row["audio"] is not None for row in queries)


def test_a_withheld_recording_is_no_reply_either(
    restricted: Callable[..., RunFolder], tmp_path: Path
) -> None:
    run = restricted(redistributable=False)
    queries = {(s.task, s.id): s.audio for s in run.samples()}
    rows = [jsonl.loads(line) for line in (run.path / "responses.jsonl").read_bytes().splitlines()]
    echoed = [row for row in rows if row["system"] == "careful" and row["reply"]]
    for row in echoed:
        query = queries[row["task"], row["sample_id"]]
        file = str(query.path.relative_to(run.path))
        row["reply"]["audio"] = {"file": file, "sha256": query.sha256, "seconds": query.seconds}
    (run.path / "responses.jsonl").write_text("".join(jsonl.dumps(row) + "\n" for row in rows))
    exported(RunFolder(run.path), tmp_path / "out", audio="path", with_private=True)
    replies = pq.read_table(tmp_path / "out" / "responses.parquet").to_pylist()
    tasks = {row["task"] for row in replies if row["system"] == "careful" and row["audio"] is not None}
    assert tasks == {"emotion"}


def test_a_run_of_private_tasks_alone_is_refused(usual_run: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(usual_run.path, tmp_path / "run")
    manifest = jsonl.loads((tmp_path / "run" / "manifest.json").read_bytes())
    for facts in manifest["tasks"].values():
        facts["private"] = True
    (tmp_path / "run" / "manifest.json").write_text(jsonl.dumps(manifest))
    with pytest.raises(UsageError, match="every task of the run is private"):
        exported(RunFolder(tmp_path / "run"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_the_long_table_compares_as_the_run_does(usual_run: RunFolder, tmp_path: Path, ending: str) -> None:
    spec = f"{usual_run.path}:careful"
    out = tmp_path / f"careful.{ending}"
    assert call_here("export", "scores", spec, "--out", out, cwd=tmp_path).returncode == 0
    texts = []
    for run in (spec, out):
        done = call_here(
            "compare", f"{usual_run.path}:text-only", run, "--metric", "judge_r0=higher", cwd=tmp_path
        )
        texts.append([line.split() for line in done.stdout.splitlines() if "[" in line])
    assert texts[0] == texts[1] != []
    again = call_here("export", "scores", spec, "--out", out, cwd=tmp_path)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


def test_results_for_the_hub_are_the_numbers_of_the_leaderboard(usual_run: RunFolder) -> None:
    merged = merge_runs([usual_run], headline="judge_r0")
    files, notes = hub_files(merged, HubTarget(dataset="me/demo", revision="abc", date="2026-11-30"))
    assert yaml.safe_load(files["eval.yaml"])["tasks"] == [
        {"id": task, "config": task, "split": "test"} for task in ("emotion", "age")
    ]
    board = present(merged.board)
    results = yaml.safe_load(files["careful/.eval_results/echat-eval.yaml"])
    for result in results:
        estimate = present(board.summaries["careful", result["dataset"]["task_id"], "judge_r0"].estimate)
        assert result["value"] == pytest.approx(estimate.value, abs=0.05)
        assert f"{estimate.value:.1f} [" in result["notes"]
        assert result["dataset"] == {
            "id": "me/demo",
            "task_id": result["dataset"]["task_id"],
            "revision": "abc",
        }
        assert (result["date"], result["evaluation_framework"]) == ("2026-11-30", "echat-eval")
    assert len(results) == 2
    assert not any(name.startswith(("canned", "gold-labels")) for name in files)
    assert "canned" in files["careful/model-card.md"]
    assert notes == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dataset": "demo"}, "expected OWNER/NAME"),
        ({"url": "javascript:alert(1)"}, "expected an address that begins with https://"),
        ({"url": "https://a.example/\nvalue: 99"}, "expected an address"),
        ({"url": "https://a.example/\x1b[2J"}, "expected an address"),
        ({"revision": "abc\nvalue: 99"}, "--revision .*: expected one word"),
        ({"split": ""}, "--split '': expected one word"),
    ],
)
def test_an_unsafe_name_or_address_for_the_hub_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        HubTarget(**{"dataset": "me/demo", **given})
    assert "\n" not in str(caught.value)


def test_a_result_with_missing_rows_is_left_out(tmp_path: Path) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 4)
    run = make_run(tmp_path / "run", [task], [scripted_system("holes", 0.5, breaks="missing")])
    files, notes = hub_files(merge_runs([open_run(str(run.path))]), HubTarget(dataset="me/demo"))
    assert files == {}
    assert notes == ["holes, emotion: no result is written: rows are missing"]


def test_failures_and_floors_alone_are_no_result(usual_run: RunFolder, tmp_path: Path) -> None:
    target = HubTarget(dataset="me/demo")
    failed = tmp_path / "failed"
    shutil.copytree(usual_run.path, failed)
    rows = [jsonl.loads(line) for line in (failed / "scores.jsonl").read_bytes().splitlines()]
    for row in rows:
        if row["system"] == "careful" and row["task"] == "emotion" and row["state"] == "value":
            row |= {"state": "failed", "value": None}
    (failed / "scores.jsonl").write_text("".join(jsonl.dumps(row) + "\n" for row in rows))
    files, notes = hub_files(merge_runs([open_run(str(failed))], headline="judge_r0"), target)
    assert notes == ["careful, emotion: no result is written: all failed"]
    results = yaml.safe_load(files["careful/.eval_results/echat-eval.yaml"])
    assert [result["dataset"]["task_id"] for result in results] == ["age"]

    words: list[str | Path] = ["export", "hub", f"{usual_run.path}:canned", "--dataset", "me/demo"]
    done = call_here(*words, "--out", tmp_path / "hub", cwd=tmp_path)
    assert done.returncode == 3
    assert "note: no system" in done.stderr
    assert "nothing is written" in done.stderr
    assert not (tmp_path / "hub").exists()


def test_the_hub_command_writes_every_file(usual_run: RunFolder, tmp_path: Path) -> None:
    words: list[str | Path] = ["export", "hub", usual_run.path, "--dataset", "me/demo"]
    words += ["--out", tmp_path / "hub"]
    assert call_here(*words, cwd=tmp_path).returncode == 0
    assert (tmp_path / "hub" / "careful" / ".eval_results" / "echat-eval.yaml").is_file()
    assert call_here(*words, cwd=tmp_path).returncode == 2
