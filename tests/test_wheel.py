"""The wheel, built and installed elsewhere without network, holds its data and nothing else at the top."""

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


def test_nothing_but_the_package_is_at_the_top(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"echat_eval"}
    assert not [name for name in names if "__pycache__" in name]
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_every_data_folder_is_read_from_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import echat_eval; from echat_eval.task import known_tasks, load_task; from echat_eval.judge import judge_names, load_judge; "
        "from echat_eval.leaderboard.published import published_names, published; from echat_eval.io.data_folder import data_folder; "
        "print(echat_eval.__file__); print([len(load_task(n).samples) for n in known_tasks()]); "
        "print([load_judge(n).name for n in judge_names()]); print([published(n).name for n in published_names()]); "
        "print(data_folder('reports').is_dir())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(str(tmp_path))
    assert eval(lines[1])
    assert min(eval(lines[1])) >= 24
    assert "echat-automatic" in lines[3]
    assert lines[4] == "True"
