"""The shape of the package: rooms, floors, cycles, light imports, mirrored tests, no code among the data."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "echat_eval"
#: Everything that stands at the package's root: these modules, and the rooms named in FLOORS.
LOOSE = {"__init__", "__main__", "errors", "languages", "ports", "records"}
#: From the bottom up. A room imports rooms of lower floors only.
FLOORS: list[set[str]] = [
    {"records", "errors", "languages"},
    {"ports", "plugins", "io", "concurrency", "stats"},
    {"cost", "executors", "labels"},
    {"clients", "osum", "task", "annotators"},
    {"importers", "trackers", "systems"},
    {"store", "serve"},
    {"analysis", "judge"},
    {"gate", "scorers"},
    {"leaderboard", "runner"},
    {"experiment", "report", "testing"},
    {"api", "checks"},
    {"cli", "testset"},
]
MAX_FLOORS = 12
#: All that osum/, a tenant, may import of the rest.
OSUM_IMPORTS = {"osum", "records", "errors", "labels", "io"}
#: The stages of a run, and what counts and places their calls: typed end to end, without reflection.
STAGES = ("runner", "cost", "executors", "store/reuse.py")
#: Reflection is the point of these: they send objects and calls of any type to other processes.
REFLECTIVE = {"executors/pickling.py", "executors/remote.py", "executors/worker.py"}
#: Who may ask an object by name for a member: `plugins`, on behalf of all others; the classes that the stages
#: count as reflective; and readers of objects of other libraries, whose types have no such declaration.
ASKING = {
    "plugins/names.py",
    "plugins/members.py",
    *REFLECTIVE,
    "annotators/sensevoice.py",
    "annotators/transformers_asr.py",
    "annotators/transformers_audio.py",
    "io/strict_yaml.py",
    "osum/model/tokenizer.py",
}
#: Folders of tests that mirror no room.
TEST_FOLDERS = {"support", "bench"}


def modules(package: Path) -> dict[str, Path]:
    """Return dotted name -> file of every module of a package."""
    found = {}
    for path in package.rglob("*.py"):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


@cache
def nodes(source: str) -> tuple[ast.AST, ...]:
    """Return the imports, calls and names of a module; planted faults leave most modules as they are."""
    kinds = (ast.Import, ast.ImportFrom, ast.Call, ast.Name)
    return tuple(node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds))


@cache
def imported_names(source: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return (module, imported names) of every import of a module, type checking and functions included."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for node in nodes(source):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Import):
            found += [(alias.name, ()) for alias in node.names]
    return tuple(found)


def imports(path: Path, known: set[str]) -> Iterator[str]:
    """Yield the modules of the package that a file imports anywhere."""
    for module, names in imported_names(path.read_text(encoding="utf-8")):
        if not names:
            yield module
        for name in names:
            full = f"{module}.{name}"
            yield full if full in known else module


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def structure_faults(package: Path) -> list[str]:
    """Return loose modules, imports that do not go down, and import cycles, one line each."""
    known = modules(package)
    graph = {
        name: {found for found in imports(path, set(known)) if found in known} for name, path in known.items()
    }
    # The package hands on the API's names when they are first used; see `__getattr__` there.
    graph[package.name].discard(f"{package.name}.api")
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    faults = [
        f"{path.name}: a loose module; move it into a room"
        for path in sorted(package.glob("*.py"))
        if path.stem not in LOOSE
    ]
    for name, targets in sorted(graph.items()):
        room = room_of(name)
        if room in {"__init__", "__main__"} or f"{room}.py" in {f.split(":")[0] for f in faults}:
            continue
        if room not in floor:
            faults.append(f"{room}: on no floor; add it to FLOORS")
            continue
        for target in sorted(targets):
            other = room_of(target)
            if other not in {room, "__init__"} and floor.get(other, len(FLOORS)) >= floor[room]:
                faults.append(f"{name} (floor {floor[room]}) imports {target} (floor {floor.get(other)})")
        faults += [
            f"{name} imports {taken} from the package's top; import it from its module"
            for taken in taken_from_top(known[name], set(known))
        ]
    return [*faults, *(f"cycle: {' -> '.join(cycle)}" for cycle in cycles(graph))]


def untyped_places(package: Path) -> list[str]:
    """Return every `Any`, `getattr`, `hasattr` and `setattr` in the stages, one line each."""
    names = {"Any", "getattr", "hasattr", "setattr"}
    files = [
        path
        for stage in STAGES
        for path in sorted(
            (package / stage).rglob("*.py") if (package / stage).is_dir() else [package / stage]
        )
        if path.relative_to(package).as_posix() not in REFLECTIVE
    ]
    return [
        f"{path.relative_to(package).as_posix()}:{node.lineno}: {node.id}"
        for path in files
        for node in nodes(path.read_text())
        if isinstance(node, ast.Name) and node.id in names
    ]


def asked_members(package: Path) -> list[str]:
    """Return every `hasattr`, and every `getattr` of a fixed name, outside `ASKING`, one line each.

    A `getattr` with a variable name reads a module or a record's own fields.
    """
    faults = []
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        for node in nodes(path.read_text()) if file not in ASKING else ():
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            fixed = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
            if node.func.id == "hasattr" or (node.func.id in {"getattr", "setattr"} and fixed):
                faults.append(f"{file}:{node.lineno}: {ast.unparse(node)}")
    return faults


def taken_from_top(path: Path, known: set[str]) -> list[str]:
    """Return the names, other than modules and the version, that a file takes from the package itself."""
    return [
        alias.name
        for node in nodes(path.read_text())
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE.name
        for alias in node.names
        if f"{node.module}.{alias.name}" not in known and alias.name != "__version__"
    ]


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in graph[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            cycle = stack[stack.index(name) :]
            del stack[-len(cycle) :]
            if len(cycle) > 1:
                found.append(sorted(cycle))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def test_rooms_floors_and_cycles() -> None:
    assert len(FLOORS) <= MAX_FLOORS
    faults = structure_faults(PACKAGE)
    assert not faults, "\n".join(faults)


def test_every_room_exists() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} - {"_data"}
    on_floors = set().union(*FLOORS)
    assert rooms | (LOOSE & on_floors) == on_floors


@pytest.fixture
def copied_package(tmp_path: Path) -> Path:
    copy = tmp_path / "echat_eval"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "_data"))
    return copy


@pytest.mark.parametrize(
    ("file", "source", "fault"),
    [
        ("helpers.py", "", "helpers.py: a loose module"),
        ("io/planted.py", "from echat_eval.cli import main\n", "echat_eval.io.planted (floor 1) imports"),
        ("io/planted.py", "from echat_eval import evaluate\n", "echat_eval.io.planted imports evaluate"),
        ("attic/__init__.py", "from echat_eval.errors import BadData\n", "attic: on no floor"),
        (
            "io/planted.py",
            "def f():\n    from echat_eval.io.jsonl import planted\n",
            "cycle: echat_eval.io.jsonl -> echat_eval.io.planted",
        ),
    ],
)
def test_a_planted_fault_is_found(copied_package: Path, file: str, source: str, fault: str) -> None:
    planted = copied_package / file
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(source)
    if "cycle" in fault:
        with (copied_package / "io" / "jsonl.py").open("a") as jsonl:
            jsonl.write("\nfrom echat_eval.io import planted\n")
    assert any(line.startswith(fault) for line in structure_faults(copied_package))


def test_stages_are_typed_without_reflection() -> None:
    faults = untyped_places(PACKAGE)
    assert not faults, "declare a protocol in ports.py:\n" + "\n".join(faults)
    assert all((PACKAGE / file).is_file() for file in REFLECTIVE)


@pytest.mark.parametrize(
    ("file", "source", "fault"),
    [
        (
            "runner/planted.py",
            "def f(x):\n    return getattr(x, 'y', None)\n",
            "runner/planted.py:2: getattr",
        ),
        ("cost/planted.py", "def f(x: Mapping[str, Any]) -> None: ...\n", "cost/planted.py:1: Any"),
        ("store/reuse.py", "found = hasattr(object(), 'load')\n", "store/reuse.py:1: hasattr"),
    ],
)
def test_planted_reflection_is_found(copied_package: Path, file: str, source: str, fault: str) -> None:
    (copied_package / file).write_text(source)
    assert fault in untyped_places(copied_package)


def test_optional_abilities_are_asked_for_by_their_protocols() -> None:
    faults = asked_members(PACKAGE)
    assert not faults, "test for a protocol in ports.py, or use plugins.absent_members:\n" + "\n".join(faults)
    assert all((PACKAGE / file).is_file() for file in ASKING)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("limit = getattr(part, 'calls_at_once', 1)", "getattr(part, 'calls_at_once', 1)"),
        ("if hasattr(part, 'load'): part.load()", "hasattr(part, 'load')"),
        ("found = [hasattr(part, name) for name in NAMES]", "hasattr(part, name)"),
        ("setattr(part, 'role', 'floor')", "setattr(part, 'role', 'floor')"),
    ],
)
def test_a_planted_question_for_a_member_is_found(copied_package: Path, source: str, fault: str) -> None:
    (copied_package / "systems" / "planted.py").write_text(source)
    (copied_package / "systems" / "fields.py").write_text(
        "values = [getattr(record, name) for name in NAMES]"
    )
    assert asked_members(copied_package) == [f"systems/planted.py:1: {fault}"]


def test_osum_is_a_tenant() -> None:
    known = modules(PACKAGE)
    for name, path in known.items():
        if room_of(name) == "osum":
            outside = {room_of(target) for target in imports(path, set(known)) if target in known}
            assert outside <= OSUM_IMPORTS, f"{name} imports {outside - OSUM_IMPORTS}"


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


def test_tests_mirror_the_package() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder = path.parent.relative_to(ROOT / "tests")
        if folder.parts and folder.parts[0] not in TEST_FOLDERS:
            assert (PACKAGE / folder).is_dir(), f"tests/{folder} mirrors no folder of echat_eval/"


def test_no_test_imports_a_test_module() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        for module, names in imported_names(path.read_text(encoding="utf-8")):
            for name in (module, *(names if module.startswith("tests") else ())):
                assert not name.split(".")[-1].startswith("test_"), f"{path} imports {name}"


def test_formatter_exceptions_are_rare() -> None:
    """Only tables of data may opt out of the formatter."""
    count = sum(path.read_text().count("fmt: skip") for path in PACKAGE.rglob("*.py"))
    assert count < 15


#: What a command may import beside `api`, `cli` and `errors`: what it prints, and, for a command that no verb
#: covers, the rooms that do its work. None may hold the runner, a judge's wiring, a cache or a budget.
CLI_IMPORTS: dict[str, set[str]] = {
    "__init__": {"__init__", "clients", "concurrency", "plugins"},
    "cache": {"store"},
    "check": {"plugins", "systems", "testing"},
    "check_annotators": {"annotators", "checks"},
    "check_instruments": {"checks"},
    "check_graded": {"checks", "judge"},
    "check_judge": {"checks", "judge", "plugins"},
    "check_people": {"checks", "report", "store"},
    "check_task": {"annotators", "checks", "task"},
    "check_listens": {"checks", "scorers", "store"},
    "compare_gate": {"gate", "io", "stats"},
    "demo": {"experiment", "gate", "io", "leaderboard", "report"},
    "demo_story": {"gate", "io", "leaderboard", "records"},
    "doctor": {"io", "store"},
    "executor": set(),
    "export": {"io", "records", "store", "task"},
    "fitted_table": {"io"},
    "export_run": {"experiment", "io", "report", "store"},
    "import_": {"clients", "importers", "task"},
    "leaderboard": set(),
    "list_names": {"judge", "leaderboard", "plugins", "systems", "task"},
    "options": {"plugins"},
    "osum": {"io", "osum", "plugins", "records", "systems"},
    "osum_serve": {"plugins", "serve", "systems"},
    "progress": set(),
    "rate": {"io", "judge", "report", "store", "task"},
    "report": {"experiment", "report", "store"},
    "run": {"leaderboard", "runner"},
    "table": {"checks", "io", "leaderboard", "report", "stats"},
    "show_runs": {"experiment"},
    "terminal": {"io"},
}
#: Modules of these rooms that a command may import; of other rooms above, any.
CLI_MODULES = {
    "clients": {"clients.keys"},
    "concurrency": {"concurrency.memory", "concurrency.own_faults"},
    "gate": {"gate.report", "gate.baseline_report", "gate.decision"},
    "runner": {"runner.cost_estimate"},
    "stats": {"stats"},
    "store": {
        "store.cache",
        "store.cache_prune",
        "store.environment",
        "store.keys",
        "store.select",
        "store.shared_cache",
    },
}


def cli_faults(package: Path) -> list[str]:
    """Return imports of the command line that do the API's work, one line each."""
    known = modules(package)
    faults = []
    for path in sorted((package / "cli").glob("*.py")):
        for target in sorted({found for found in imports(path, set(known)) if found in known}):
            room = room_of(target)
            allowed = CLI_IMPORTS.get(path.stem, set()) | {"api", "cli", "errors"}
            module = target.removeprefix(f"{package.name}.")
            if room not in allowed or module not in CLI_MODULES.get(room, {module}):
                faults.append(f"cli/{path.name} imports {target}")
    return faults


def test_the_command_line_only_parses_calls_the_api_and_prints() -> None:
    assert not cli_faults(PACKAGE)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("run.py", "from echat_eval.runner.evaluate import evaluate\n"),
        ("run.py", "def f():\n    from echat_eval.store.run_folder import RunFolder\n"),
        ("compare_gate.py", "from echat_eval.gate.decide import decide\n"),
        ("planted.py", "from echat_eval.cost.meter import Meter\n"),
    ],
)
def test_a_planted_import_of_the_command_line_is_found(copied_package: Path, file: str, source: str) -> None:
    with (copied_package / "cli" / file).open("a") as planted:
        planted.write(source)
    assert [fault for fault in cli_faults(copied_package) if fault.startswith(f"cli/{file}")]


def test_public_names_are_there_and_listed() -> None:
    code = (
        "import sys, types, echat_eval as ev; "
        "from echat_eval.gate import Policy; "  # the package `gate` does not hide the verb
        "assert callable(ev.gate) and not isinstance(ev.gate, types.ModuleType); "
        "missing = [name for name in ev.__all__ if not hasattr(ev, name)]; "
        "hidden = [name for name, value in vars(ev).items() if name[0] != '_' and name not in ev.__all__ "
        "and not isinstance(value, types.ModuleType) and name not in {'annotations', 'TYPE_CHECKING', 'Any', "
        "'ModuleType'}]; "
        "print(missing, hidden)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout.strip() == "[] []"
