"""Faults that are the same for every row stop a run at once; finished rows are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echat_eval.errors import Exit, UsageError
from echat_eval.store.run_folder import RunFolder
from echat_eval.systems.openai_chat import OpenAIChat
from echat_eval.testing import chat_completion
from tests.support.scripted_run import evaluated

Serve = Callable[[Callable[[Any], None]], Any]


@pytest.mark.parametrize(
    ("status", "error", "advice"),
    [
        (401, "no key", "ECHAT_EVAL_API_KEY"),
        (402, "pay", "ECHAT_EVAL_API_KEY"),
        (403, "no", "ECHAT_EVAL_API_KEY"),
        (404, "none", "--set url"),
        (413, "too large", "the server's limit"),
        (400, {"param": "temperature"}, "--set temperature=null"),
        (422, {"detail": [{"loc": ["body", "modalities"]}]}, "--set modalities=null"),
        (429, {"code": "insufficient_quota"}, "ECHAT_EVAL_API_KEY"),
        (200, {"code": "insufficient_quota"}, "ECHAT_EVAL_API_KEY"),
    ],
)
def test_a_fault_of_every_row_stops_the_run_and_loses_nothing(
    serve: Serve, tmp_path: Path, tones: Path, status: int, error: Any, advice: str
) -> None:
    sound = [3]

    def script(handler: Any) -> None:
        if handler.command == "GET":  # the list of models, for the fingerprint
            handler.reply(status=404)
            return
        sound[0] -= 1
        if sound[0] >= 0:
            handler.reply(json.dumps(chat_completion("Oh!")), "application/json")
        else:
            handler.reply(json.dumps({"error": error}), "application/json", status=status)

    server = serve(script)
    system = OpenAIChat("m", url=f"{server.url}/v1", calls_at_once=1)
    with pytest.raises(UsageError, match=advice) as caught:
        evaluated(tmp_path / "run", tones, system)
    assert caught.value.exit_code == Exit.MISUSE
    chat_calls = [request for request in server.received if request[0] == "POST"]
    assert len(chat_calls) <= 5  # the fault, and a second look
    states = [response.state for response in RunFolder(tmp_path / "run").responses().values()]
    assert states == ["value"] * 3
    sound[0] = 99
    folder = evaluated(tmp_path / "run", tones, system)
    assert [response.state for response in folder.responses().values()] == ["value"] * 8
