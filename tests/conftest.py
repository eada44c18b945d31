"""Fixtures that every test can use: a small task of tones, a scripted system, and an empty cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.records import Reply, Request
from tests.support.tones import write_task

#: Fixtures that several folders use.
pytest_plugins = [
    "tests.support.http_server",
    "tests.support.osum_fixtures",
    "tests.support.report_runs",
    "tests.support.score_tables",
]


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Return a folder that contains the task `emotion`, made of eight tones."""
    write_task(tmp_path / "data")
    return tmp_path / "data"


class Scripted:
    """A system that answers with a function and records the ids of its requests."""

    def __init__(self, answer: Callable[[Request], Reply], name: str = "scripted", **settings: Any) -> None:
        self.name = name
        self.answer = answer
        self.request_ids: list[str] = []
        self._settings = settings
        self.fingerprint_value: str | None = "scripted-1"
        self.calls_at_once = 1

    def respond(self, request: Request) -> Reply:
        self.request_ids.append(request.id)
        return self.answer(request)

    def fingerprint(self) -> str | None:
        return self.fingerprint_value

    def settings(self) -> Mapping[str, Any]:
        return self._settings


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test an empty cache folder, and return the folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ECHAT_EVAL_CACHE", str(folder))
    return folder


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted


@pytest.fixture
def quick_retry() -> RetryPolicy:
    """Return a policy of two tries without a wait."""
    return RetryPolicy(tries=2, first_wait=0.0)
