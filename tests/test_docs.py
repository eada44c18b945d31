"""Commands, code blocks and links of the documentation work."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
import pytest

import echat_eval as ev
from echat_eval.cli import COMMANDS, command_line
from echat_eval.cli.demo_story import quality_cells
from echat_eval.errors import UsageError
from echat_eval.gate.policy import read_policy
from echat_eval.importers.mapping import read_mapping
from echat_eval.io.audio import check_waveform
from echat_eval.ports import System
from echat_eval.task import find_faults
from tests.support.own_task import write_own_task

if TYPE_CHECKING:
    from echat_eval.leaderboard.build import Leaderboard

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "judges").rglob("README.md")),
]
COMMAND = re.compile(r"^\s*\$?\s*(echat-eval [^\n`|]*)", re.MULTILINE)


def blocks(page: Path) -> list[str]:
    return re.findall(r"```[a-z]*\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def documented_commands() -> list[tuple[str, str]]:
    return [
        (str(page.relative_to(ROOT)), line)
        for page in PAGES
        for block in blocks(page)
        for line in COMMAND.findall(block.replace("\\\n", " "))
    ]


@pytest.mark.parametrize(("page", "line"), documented_commands())
def test_documented_command_parses(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = command_line
    context = click.Context(command_line)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"{page}: no command '{words[0]}' in: {line}"
        command, words = found, words[1:]
        context = click.Context(command, parent=context, resilient_parsing=True)
    command.parse_args(context, words)


def test_every_command_is_documented() -> None:
    text = (ROOT / "README.md").read_text()
    documented = {line.split()[1] for _, line in documented_commands()}
    documented |= set(re.findall(r"echat-eval ([a-z]+)", text))
    assert documented >= set(COMMANDS) - {"list"}, set(COMMANDS) - documented


def test_start_page_links_every_page() -> None:
    docs = ROOT / "docs"
    links = {
        (page.parent / target).resolve()
        for page in (docs / "index.md", docs / "decisions" / "README.md")
        for target in re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
    }
    assert links >= set(docs.rglob("*.md")) - {docs / "index.md"}


def test_the_site_names_files_that_are_no_page_of_it() -> None:
    from tools.docs_site import on_page_markdown

    def shown(text: str, page: str = "gate.md") -> str:
        given: Any = SimpleNamespace(file=SimpleNamespace(src_uri=page))
        config: Any = SimpleNamespace(docs_dir=str(ROOT / "docs"))
        return on_page_markdown(text, page=given, config=config, files=config)

    assert shown("[results](../bench/results/gate_sim.md#power)") == (
        "results (`bench/results/gate_sim.md` in the repository)"
    )
    assert shown("[`CONTRIBUTING.md`](../CONTRIBUTING.md)") == "`CONTRIBUTING.md`"
    for kept in ("[tasks](tasks.md)", "[nothing](../nowhere.md)"):
        assert shown(kept) == kept
    assert shown("<!-- file: a.py -->\n```python\n") == '```python title="a.py"\n'
    assert shown("[tasks](../tasks.md)", "reference/cli.md") == "[tasks](../tasks.md)"


def test_gate_table_shows_the_committed_results() -> None:
    from bench.gate import rivals
    from bench.gate.simulate import summary, table

    results, page = ROOT / "bench" / "results", (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    cells = json.loads((results / "gate_sim.json").read_text(encoding="utf-8"))["cells"]
    assert table(cells) in (results / "gate_sim.md").read_text(encoding="utf-8")
    assert summary(cells) in page
    worst, mean = (
        re.findall(rf"{rate} false pass[^|]*\| ([\d.]+);", summary(cells))[0] for rate in ("worst", "mean")
    )
    shown = f"In {mean} % of runs on average, and in {worst} % in the worst of {len(cells)} simulated cells"
    assert shown in " ".join(page.split())
    others = json.loads((results / "gate_sim_rivals.json").read_text(encoding="utf-8"))["cells"]
    assert rivals.table(others) in page


def test_readme_class_is_a_system() -> None:
    pytest.importorskip("numpy")
    (block,) = (b for b in blocks(ROOT / "README.md") if "class Mine" in b)
    names: dict[str, type] = {}
    exec(compile(block, "README.md", "exec"), names)
    system = names["Mine"]()
    reply = system.respond(None)
    check_waveform(reply.audio)
    assert isinstance(system, System)
    assert (system.name, reply.text, system.settings()) == ("mine", "...", {"temperature": 0})


def test_readme_has_at_most_900_words() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


def python_blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        block
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        if page != "README.md" or "class Mine" not in block
    ]


@pytest.mark.parametrize("page", ["README.md", "docs/python.md", "docs/own-parts.md"])
def test_python_snippets_run_in_order(page: str, tmp_path: Path) -> None:
    code = "\n".join(python_blocks(page))
    assert "ev.evaluate(" in code
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "first" / "leaderboard.csv").is_file()
    if page == "docs/python.md":
        assert "cannot tell" in done.stdout


@pytest.fixture(scope="module")
def demo_board(tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    """Return the leaderboard of two of the demo's fast systems."""
    run = ev.evaluate(
        ["canned", "reference"],
        tasks=["emotion", "age", "gender", "event", "multi"],
        languages="en",
        annotators=[],
        scorers=["defaults", "reference-similarity"],
        out=tmp_path_factory.mktemp("demo") / "run",
        cache=False,
    )
    return run.leaderboard().board


@pytest.mark.assets
@pytest.mark.parametrize("system", ["canned", "reference"])
def test_the_demo_page_shows_the_output_of_the_demo(demo_board: Leaderboard, system: str) -> None:
    """The numbers of the table; the last digit depends on the type of processor."""
    page = (ROOT / "docs" / "demo.md").read_text()
    (line,) = [row for row in page.splitlines() if row.startswith(f" {system} (")]
    (cells,) = [row for row in quality_cells(demo_board).sections[0] if row[0].split()[0] == system]

    def numbers(text: str) -> list[float]:
        return [float(number) for number in re.findall(r"-?\d+\.\d", text)]

    assert numbers(line) == pytest.approx(numbers(" ".join(cells)), abs=0.16)


def test_readme_picture_is_the_one_that_its_script_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    script = ROOT / "tools" / "readme_picture.py"
    subprocess.run([sys.executable, str(script), str(tmp_path / "drawn.svg")], check=True, timeout=120)
    committed = (ROOT / "docs" / "images" / "two-voices.svg").read_bytes()
    assert (tmp_path / "drawn.svg").read_bytes() == committed


def test_definitions_of_own_cues_are_valid(tmp_path: Path) -> None:
    (definition,) = blocks(ROOT / "docs" / "own-cues.md")
    rows = {"sarcasm": "sincere", "emotion": "sad"}
    folder = write_own_task(tmp_path, definition)
    samples = (folder / "samples.jsonl").read_text(encoding="utf-8")
    for label in ("sincere", "sarcastic"):
        named = json.dumps({**rows, "sarcasm": label})
        samples = samples.replace(json.dumps({"sarcasm": label}), named)
    (folder / "samples.jsonl").write_text(samples, encoding="utf-8")
    assert find_faults(folder) == []
    mapping = next(block for block in blocks(ROOT / "docs" / "import.md") if "sarcasm" in block)
    (tmp_path / "m.yaml").write_text(mapping, encoding="utf-8")
    assert read_mapping(str(tmp_path / "m.yaml")).cues == ("sarcasm",)


def test_readme_policy_is_valid(tmp_path: Path) -> None:
    (block,) = (b for b in blocks(ROOT / "README.md") if b.startswith("margin:"))
    (tmp_path / "gate.yaml").write_text(block)
    known = {"cue_contrast_proxy": {"higher_is_better": True, "low": -100, "high": 100}}
    assert read_policy(tmp_path / "gate.yaml", known=known).margin == 2
    with pytest.raises(UsageError, match=r"unknown metric 'cue_contrast_proxy'\. Known: judge_echat_r1"):
        read_policy(tmp_path / "gate.yaml", known={"judge_echat_r1": {"higher_is_better": True}})


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_relative_links_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)\s#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_no_paths_of_a_machine_in_the_repository() -> None:
    words = re.compile(r"(?<![\w.])/(work|farm|root)/|/tmp/v/|files\.pythonhosted|pypi\.org/simple")
    suffixes = {
        ".py",
        ".md",
        ".toml",
        ".yaml",
        ".yml",
        ".txt",
        ".in",
        ".jsonl",
        ".json",
        ".js",
        ".css",
        ".html",
    }
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if path.suffix in suffixes and not any(p.startswith(".") or p in ("runs", "out") for p in parts):
            found = words.search(path.read_text(encoding="utf-8", errors="replace"))
            assert found is None or path.name == "test_docs.py", f"{path}: {found and found.group()}"
