"""A verdict that was paid for is kept whatever fails next; damaged files have one clear message, or heal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from echat_eval.clients.chat import ChatAnswer
from echat_eval.errors import BadData, Unavailable
from echat_eval.io.jsonl import Appender, read_rows
from echat_eval.judge import JudgeClient, Question, load_judge
from echat_eval.judge.server_identity import ServerIdentityLog
from echat_eval.store.cache import Cache
from echat_eval.testing import ScriptedChatClient, judge_verdict

QUESTION = Question(task="emotion", language="en", transcript="Oh.", cues={"emotion": "sad"}, reply="Hm.")


class Client(ScriptedChatClient):
    """A chat client that reports the models of a list in turn."""

    def __init__(self, models: Iterator[str] | None = None) -> None:
        super().__init__(lambda prompt: judge_verdict(4, 4, 4))
        self.models = models

    async def ask(self, *args: Any, **more: Any) -> ChatAnswer:
        answer = await super().ask(*args, **more)
        model = next(self.models) if self.models is not None else answer.model
        return ChatAnswer(text=answer.text, model=model, server="1", prompt_tokens=1, completion_tokens=1)


def judging(client: Client, store: Path | None, **more: Any) -> JudgeClient:
    return JudgeClient(load_judge("echat-r1"), client, store=store, **more)  # type: ignore[arg-type]


class FullDisk:
    """Stands in for `Appender.append` until there is room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full, append = True, Appender.append

        def write(appender: Appender, row: Mapping[str, Any]) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            append(appender, row)

        monkeypatch.setattr(Appender, "append", write)


@pytest.mark.parametrize("cached", [False, True])
def test_a_full_disk_loses_no_verdict_and_asks_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    disk, client, store = FullDisk(monkeypatch), Client(), tmp_path / "v.jsonl"
    cache = Cache(tmp_path / "cache") if cached else None
    judge_client = judging(client, store, cache=cache)
    for _ in range(3):
        with suppress(OSError):
            judge_client.rule(QUESTION)
    requested = len(client.prompts)
    assert requested == (2 if cached else 1)  # with the request for the identity
    disk.full = False
    judge_client.rule(QUESTION)
    judge_client.close()
    assert len(client.prompts) == requested
    assert len(list(read_rows(store))) == 1


def test_a_full_disk_until_the_end_is_an_error_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullDisk(monkeypatch)
    judge_client = judging(Client(), tmp_path / "v.jsonl")
    with pytest.raises(OSError, match="No space"):
        judge_client.rule(QUESTION)
    with pytest.raises(OSError, match="No space"):
        judge_client.close()


def test_the_verdict_of_another_model_is_kept_for_that_model(tmp_path: Path) -> None:
    store = tmp_path / "v.jsonl"
    judge_client = judging(Client(iter(["first", "second"])), store)
    judge_client.server_identity()
    with pytest.raises(Unavailable, match="now reports 'second'"):
        judge_client.rule(QUESTION)
    judge_client.close()
    assert [row["model"] for _, row in read_rows(store)] == ["second"]
    client = Client(iter(["second"]))
    later = judging(client, store)
    assert later.rule(QUESTION).model == "second"
    assert len(client.prompts) == 1  # the identity alone
    later.close()


def row(**changes: Any) -> str:
    verdict = {"grades": {"content": 4, "cue_awareness": 4, "empathy": 4}, "reason": "r", "voice": None}
    good = {
        "key": "k",
        "verdict": verdict,
        "prompt_sha256": "0",
        "model": "m",
        "server": None,
        "tokens": [1, 1],
    }
    return json.dumps({**good, **changes})


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        row(key=None),
        row(verdict=[]),
        row(verdict={"grades": {"content": "4"}, "reason": "r", "voice": None}),
        row(verdict={"grades": {"content": -1}, "reason": "r", "voice": None}),
        row(verdict={"grades": [4], "reason": "r", "voice": None}),
        row(verdict={"grades": {}, "reason": 5, "voice": None}),
        row(tokens=None),
        row(tokens=[1]),
        row(tokens=["1", "2"]),
        row(model=["m"]),
        row(extra=1),
    ],
)
def test_a_row_that_is_no_verdict_is_named(tmp_path: Path, line: str) -> None:
    store = tmp_path / "v.jsonl"
    store.write_text(f"{row()}\n{line}\n")
    with pytest.raises(BadData, match=r"v\.jsonl:2: not a verdict.*remove the line"):
        judging(Client(), store).stored_rulings()


def test_a_verdict_of_the_cache_that_is_none_is_asked_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    judge_client = judging(Client(), None, cache=cache)
    made = judge_client.rule(QUESTION)
    cache.put("verdict", made.key, {"key": made.key, "verdict": 5}, owner="scripted")
    client = Client()
    assert judging(client, None, cache=cache).rule(QUESTION) == made
    assert len(client.prompts) == 2


@pytest.mark.parametrize("cut", [1, 20])
def test_a_torn_list_of_servers_heals(tmp_path: Path, cut: int) -> None:
    store = tmp_path / "v.jsonl"
    judge_client = judging(Client(), store)
    judge_client.rule(QUESTION)
    judge_client.close()
    served = tmp_path / "v.served.jsonl"
    served.write_bytes(served.read_bytes()[:-cut])
    client = Client()
    later = judging(client, store)
    later.rule(QUESTION)
    later.close()
    assert len(client.prompts) == 1
    assert len(list(read_rows(served))) == 1


@pytest.mark.parametrize(
    "line", ["{}", "{", '{"asked": "k", "first": true, "model": 5, "server": null}', '{"asked": 5}']
)
def test_a_row_that_is_no_server_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "v.served.jsonl").write_text(line + "\n")
    with pytest.raises(BadData, match=r"v\.served\.jsonl:1: .*delete the file and run"):
        ServerIdentityLog(tmp_path / "v.jsonl", "k").stored()
