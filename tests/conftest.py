"""Fixtures that every test can use: a small task of tones, servers, and an empty cache."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from echat_eval import errors
from echat_eval.cli import exit_code
from echat_eval.records import Request
from echat_eval.store.keys import request_for
from echat_eval.task import load_task
from echat_eval.testing import ScriptedServer
from tests.support.tones import write_task

#: Fixtures that several folders use.
pytest_plugins = [
    "tests.support.osum_fixtures",
    "tests.support.report_runs",
    "tests.support.score_tables",
]

# The same examples in every run; `pytest --hypothesis-profile default` searches for others.
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")


def pytest_configure() -> None:
    """Let an interrupted program that runs inside a test raise SystemExit: it would end the tests at once."""
    pytest.MonkeyPatch().setattr(exit_code, "end_now", sys.exit)


def pytest_collection() -> None:
    """Collect without the collector of cycles: modules and tests stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave modules and tests out of every later search for cycles."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files of slow tests last, the largest first, so that no worker is left with a long one."""
    last = {item.path: -item.path.stat().st_size for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path in last, last.get(item.path, 0)))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `uninstrumented` test in a process of its own while coverage is measured.

    The measuring adds objects to the code that can be neither pickled nor compiled by torch.
    """
    if not pyfuncitem.get_closest_marker("uninstrumented") or "SLIPCOVER_ENABLED" not in os.environ:
        return None
    outer = ("SLIPCOVER_", "PYTEST_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", pyfuncitem.nodeid]
    done = subprocess.run(
        command, env=environment, cwd=pyfuncitem.config.rootpath, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return True


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Return a folder that contains the task `emotion`, made of eight tones."""
    write_task(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def requests(tones: Path) -> list[Request]:
    return [request_for(sample) for sample in load_task("emotion", data=tones).samples]


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Any], None]], ScriptedServer]]:
    """Return a function that starts a server with a script; the servers stop after the test."""
    with ExitStack() as servers:
        yield lambda script: servers.enter_context(ScriptedServer(script))


@pytest.fixture(autouse=True)
def own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrub no secrets of other tests."""
    monkeypatch.setattr(errors, "_secrets", set())


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test an empty cache folder, and return the folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ECHAT_EVAL_CACHE", str(folder))
    return folder
