"""Announced shutdowns: the table that ships, the systems that it concerns, and the date in a server's list."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from echat_eval.errors import BadData
from echat_eval.systems import build_system
from echat_eval.systems.shutdowns import shutdown_of, shutdowns, stale_systems
from tests.support.command_line import call_here


def test_the_table_names_models_of_shipped_settings() -> None:
    assert shutdowns()["gpt-4o-2024-11-20"].day == date(2027, 1, 14)
    assert set(stale_systems()) == {"gpt-4o-audio"}
    assert shutdown_of("gpt-4o-2024-11-20", "https://api.openai.com/v1") is not None
    assert shutdown_of("gpt-4o-2024-11-20", "http://127.0.0.1:8000/v1") is None
    assert shutdown_of("gpt-realtime-2.1", None) is None


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        (date(2027, 1, 13), "stops serving gpt-4o-2024-11-20 on 2027-01-14, in 1 day; it names"),
        (date(2027, 1, 20), "stopped serving gpt-4o-2024-11-20 on 2027-01-14"),
    ],
)
def test_a_line_states_the_days_that_are_left(today: date, expected: str) -> None:
    assert expected in shutdowns()["gpt-4o-2024-11-20"].line(today)
    assert "instead" not in shutdowns()["o4-mini"].line(today)


def test_commands_warn_of_shutdowns(tmp_path: Path) -> None:
    shown = call_here("show", "systems", "--stale", cwd=tmp_path)
    assert shown.returncode == 0
    assert "system gpt-4o-audio: OpenAI stop" in shown.stdout
    assert "judge echat-r1" not in shown.stdout  # its model has no announced shutdown
    assert "judge echat-voice-r1: OpenAI stop" in shown.stdout
    assert "was read on 2026-11-30" in shown.stdout
    found = call_here("doctor", cwd=tmp_path).stdout
    assert "warning  system gpt-4o-audio: OpenAI stop" in found
    refused = call_here("show", "tasks", "--stale", cwd=tmp_path)
    assert (refused.returncode, "--stale belongs to" in refused.stderr) == (2, True)


@pytest.mark.parametrize("adapter", ["openai-chat", "realtime"])
def test_the_date_of_a_server_is_a_warning_and_no_new_fingerprint(
    adapter: str, serve: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    entry: dict[str, Any] = {"id": "omni"}
    server = serve(lambda h: h.reply(json.dumps({"data": [entry]}), "application/json"))
    path = {"openai-chat": "/v1", "realtime": "/v1/realtime"}[adapter]
    system = build_system(f"{adapter}:omni", {"url": f"{server.url}{path}"})
    before = system.fingerprint()
    assert before is not None
    assert not caplog.records
    entry["shutdown_date"] = "2027-01-20"
    assert system.fingerprint() == before
    assert "stops serving omni on 2027-01-20" in caplog.text
    entry["shutdown_date"] = None
    assert system.fingerprint() == before


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("m: {date: 20270114}", "missing"),
        ("m: {provider: p, day: x}", "unknown key"),
        ("m: {provider: p, host: h, date: soon, replacement: r, read: soon, source: s}", "YYYY-MM-DD"),
    ],
)
def test_a_fault_of_the_table_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, fault: str
) -> None:
    (tmp_path / "shutdowns.yaml").write_text(text)
    monkeypatch.setattr("echat_eval.systems.shutdowns.data_folder", lambda _: tmp_path)
    shutdowns.cache_clear()
    try:
        with pytest.raises(BadData, match=r"baselines/shutdowns\.yaml:1: m: ") as caught:
            shutdowns()
        assert fault in str(caught.value)
    finally:
        shutdowns.cache_clear()
