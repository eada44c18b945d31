"""`[NAME=]PATH[:SYSTEM]` means the same to `leaderboard`, `report`, `compare` and `gate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from echat_eval.analysis import load_scored_system
from echat_eval.cli.compare_gate import compare_command, gate_command
from echat_eval.cli.leaderboard import leaderboard
from echat_eval.cli.report import report
from echat_eval.errors import EChatError, Exit, UnknownName, UsageError
from echat_eval.store.select import open_run, parse_spec
from tests.support.scripted_world import make_run, make_task, scripted_system

POLICY = "margin: 90\nmin_clusters: 2\nmetrics:\n  judge_r0: {higher_is_better: true, low: 0, high: 100}\n"
#: Specs of the run under test: one system, or one of two.
SPECS = ["{one}", "{one}:mine", "new={one}", "new={one}:mine", "{two}:mine", "new={two}:mine"]


def invoke(command: Any, *words: object) -> tuple[int, str]:
    """Return exit code and output as `main` reports them."""
    result = CliRunner().invoke(command, [str(word) for word in words], standalone_mode=False)
    if isinstance(result.exception, EChatError):
        return int(result.exception.exit_code), str(result.exception)
    if result.exception is not None:
        raise result.exception
    return int(result.return_value or 0), result.output


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return run folders of one and of two systems, a base run, and a table file of the base run."""
    root = tmp_path_factory.mktemp("specs")
    task = make_task(root / "tasks", "emotion", 4)
    places = {
        "one": make_run(root / "one", [task], [scripted_system("mine", 0.8)]).path,
        "two": make_run(
            root / "two", [task], [scripted_system("mine", 0.8), scripted_system("unselected", 0.2)]
        ).path,
        "base": make_run(root / "base", [task], [scripted_system("base", 0.5)]).path,
        "table": root / "base.csv",
        "policy": root / "gate.yaml",
        "out": root / "out",
    }
    load_scored_system(str(places["base"])).frame.to_csv(places["table"], index=False)
    places["policy"].write_text(POLICY)
    return places


def words_of(command: Any, spec: str, places: dict[str, Path], base: object) -> list[object]:
    return {
        leaderboard: [spec, base],
        report: [spec, base, "--out", places["out"], "--only", "tables"],
        compare_command: [base, spec, "--metric", "judge_r0=higher"],
        gate_command: [spec, "--against", base, "--policy", places["policy"]],
    }[command]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("command", [leaderboard, report, compare_command, gate_command])
def test_every_command_takes_every_spec(command: Any, spec: str, places: dict[str, Path]) -> None:
    full_spec = spec.format(**places)
    code, output = invoke(command, *words_of(command, full_spec, places, places["base"]))
    assert code == Exit.DONE, output
    name = "new" if spec.startswith("new=") else "mine"
    if command is leaderboard:
        assert name in output
        assert "unselected" not in output
    elif command is report:
        written = (places["out"] / "tables" / "overview.md").read_text()
        assert f"| {name} |" in written
        assert "unselected" not in written
    elif command is compare_command and name == "new":
        assert "new minus" in output


@pytest.mark.parametrize("command", [compare_command, gate_command])
@pytest.mark.parametrize("spec", ["{table}", "{table}:base", "old={table}", "old={table}:base"])
def test_compare_and_gate_take_a_table_file(command: Any, spec: str, places: dict[str, Path]) -> None:
    base = spec.format(**places)
    code, output = invoke(command, *words_of(command, str(places["one"]), places, base))
    assert code == Exit.DONE, output
    run = load_scored_system(base)
    assert run.system == ("old" if spec.startswith("old=") else "base")
    assert run.name == ("old" if spec.startswith("old=") else base)


@pytest.mark.parametrize("command", [leaderboard, report])
def test_a_table_file_and_a_baseline_have_no_leaderboard(
    command: Any, places: dict[str, Path], tmp_path: Path
) -> None:
    code, output = invoke(command, *words_of(command, str(places["table"]), places, places["base"]))
    assert code == Exit.MISUSE
    assert "base.csv: a table file, which holds scores alone; expected a run folder" in output
    assert invoke(gate_command, "accept", places["base"], "--to", tmp_path / "kept")[0] == Exit.DONE
    code, output = invoke(command, *words_of(command, str(tmp_path / "kept"), places, places["base"]))
    assert code == Exit.MISUSE
    assert "a baseline of `gate accept`" in output
    renamed = load_scored_system(f"before={tmp_path / 'kept'}")
    assert (renamed.name, renamed.system, set(renamed.frame["system"])) == ("before", "before", {"before"})


@pytest.mark.parametrize("command", [leaderboard, report, compare_command, gate_command])
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{one}:nobody", "nobody"),
        ("new={two}", "2 systems (mine, unselected); name one: new="),
        ("{one}/nowhere", "nowhere"),
        ("x:y={one}", "x:y"),
    ],
)
def test_every_command_refuses_the_same_specs(
    command: Any, spec: str, message: str, places: dict[str, Path]
) -> None:
    words = words_of(command, spec.format(**places), places, places["base"])
    code, output = invoke(command, *words)
    assert code == Exit.MISUSE
    assert message in output


def test_a_renamed_run_has_the_same_scores_and_latency(places: dict[str, Path], tmp_path: Path) -> None:
    plain, renamed = (
        load_scored_system(f"{places['two']}:mine"),
        load_scored_system(f"new={places['two']}:mine"),
    )
    pd.testing.assert_frame_equal(
        plain.frame.drop(columns="system").reset_index(drop=True),
        renamed.frame.drop(columns="system").reset_index(drop=True),
    )
    assert renamed.hashes == plain.hashes
    assert dict(renamed.metrics) == dict(plain.metrics)
    assert renamed.manifest.systems["new"] == plain.manifest.systems["mine"]


def test_replies_from_the_cache_are_counted_under_the_new_name(
    places: dict[str, Path], tmp_path: Path
) -> None:
    path = places["one"] / "manifest.json"
    before = path.read_text()
    try:
        counts = {"response": {"mine": {"hits": 3, "stored": 1}}}
        path.write_text(json.dumps(json.loads(before) | {"cache": counts}))
        assert open_run(f"new={places['one']}").manifest().cache["response"]["new"].hits == 3
    finally:
        path.write_text(before)


def test_an_existing_path_is_taken_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b:c").mkdir()
    found = parse_spec("a=b:c")
    assert (found.label, found.path, found.system) == (None, Path("a=b:c"), None)
    with pytest.raises(UsageError):
        parse_spec("x:y=runs/x")
    assert issubclass(UnknownName, Exception)
