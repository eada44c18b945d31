"""The wheel, built and installed without a network: one top-level package, with all data."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [*pip, "--disable-pip-version-check", "-w", str(out), str(ROOT)], check=True, capture_output=True
    )
    return next(out.glob("*.whl"))


def test_the_package_is_the_only_top_level_folder(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"echat_eval"}
    assert not [name for name in names if "__pycache__" in name]
    assert [name for name in names if name.endswith("licenses/LICENSE")]


PRINT_DATA = """
import echat_eval
from echat_eval.io.data_folder import data_folder
from echat_eval.judge import judge_names, load_judge
from echat_eval.leaderboard.published import published, published_names
from echat_eval.task import known_tasks, load_task

print(echat_eval.__file__)
print([len(load_task(name).samples) for name in known_tasks()])
print([load_judge(name).name for name in judge_names()])
print([published(name).name for name in published_names()])
print(data_folder('reports').is_dir())
"""


def test_an_installed_wheel_finds_all_data_folders(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    completed = subprocess.run(
        [sys.executable, "-c", PRINT_DATA],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
    )
    assert completed.returncode == 0, completed.stderr
    lines = completed.stdout.splitlines()
    assert lines[0].startswith(str(tmp_path))
    assert eval(lines[1])
    assert min(eval(lines[1])) >= 24
    assert "echat-automatic" in lines[3]
    assert lines[4] == "True"
