"""The shape of the house: floors, light imports, no code among the data, file and function sizes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "echat_eval"
FLOORS: list[set[str]] = [
    {"records", "errors"},
    {
        "labels",
        "ports",
        "jsonl",
        "yaml_file",
        "resources",
        "csv_cells",
        "setting_types",
        "loop",
        "threads",
        "limits",
        "progress",
        "cache_sounds",
    },
    {"bounded_http", "flow", "prices", "executors"},
    {"cost", "message_size"},
    {
        "chat_client",
        "manifest",
        "plugins",
        "cache",
        "audio",
        "text",
        "stats",
        "assets",
        "keys",
        "ratings",
    },
    {"judge", "baseline", "cue_gain", "system_settings", "importers", "cache_upkeep"},
    {"task"},
    {"osum"},
    {"systems", "annotators", "scorers"},
    {"rows", "attempts"},
    {"run_folder"},
    {"ledger"},
    {"tables"},
    {"replies", "controls", "recall", "spending"},
    {"testing"},
    {"respond", "annotate", "score"},
    {"pipeline", "earlier", "estimate"},
    {"runner"},
    {"leaderboard"},
    {"leaderboard_files", "gate", "check", "checks"},
    {"compare", "report"},
    {"cli"},
]
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if "_data" not in p.parts)


def floor_of(part: str) -> int:
    for number, names in enumerate(FLOORS):
        if part in names:
            return number
    raise AssertionError(f"echat_eval.{part} stands on no floor; add it to FLOORS")


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [
                f"{node.module}.{a.name}" for a in node.names if node.module == "echat_eval"
            ]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("echat_eval.")}
    return {part for part in found if (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    part = part_of(path)
    if part in {"__init__", "__main__"}:
        return
    own = floor_of(part)
    for other in imported_parts(ast.parse(path.read_text())):
        assert other == part or floor_of(other) < own, (
            f"{part} (floor {own}) imports {other} (floor {floor_of(other)})"
        )


def test_records_import_nothing_of_ours() -> None:
    assert not imported_parts(ast.parse((PACKAGE / "records.py").read_text()))


def test_osum_knows_only_audio_refs_and_errors() -> None:
    for path in (PACKAGE / "osum").rglob("*.py"):
        assert imported_parts(ast.parse(path.read_text())) <= {"osum", "records", "errors", "labels"}, path


def test_import_is_light() -> None:
    code = (
        "import sys, echat_eval; "
        "heavy = {'torch', 'pandas', 'matplotlib', 'soundfile', 'numpy', 'transformers', 'scipy', 'openai'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("folder", ["tasks", "judges", "baselines", "reports"])
def test_data_folders_hold_no_python(folder: str) -> None:
    assert not list((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= 300, "over 300 lines: is it two ideas?"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"
