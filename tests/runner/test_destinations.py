"""Private data reach named hosts only, and every run states and records which host gets what."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import echat_eval as ev
from echat_eval.clients.chat import ChatClient
from echat_eval.executors.place import parse_executor
from echat_eval.ports import Silent
from echat_eval.runner.destinations import private_tasks, receivers_of, refuse_private_data, send_to_hosts
from echat_eval.scorers.judged import judged_scorers
from echat_eval.store.manifest import RunManifest, TaskFacts
from echat_eval.store.run_folder import RunFolder
from echat_eval.systems import build_system
from echat_eval.task import load_task
from echat_eval.testing import ScriptedChatServer
from tests.support.scripted_judge import fitting

#: Nothing listens there, and nothing resolves the names: a refused run sends nothing.
AWAY = "https://judge.example.com:8443/v1"
PARTS: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "openai-chat": ("a=openai-chat", "judge.example.com:8443", ("query audio", "earlier turns")),
    "openai-chat without audio": ("b=openai-chat", "judge.example.com:8443", ("earlier turns",)),
    "http": (f"c={AWAY}", "judge.example.com:8443", ("query audio", "earlier turns")),
    "transcript-only": ("transcript-only", "judge.example.com:8443", ("transcripts", "earlier turns")),
    "gold-labels": ("gold-labels", "judge.example.com:8443", ("transcripts", "gold labels", "earlier turns")),
}


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def with_facts(tones: Path, facts: str) -> Path:
    """Return the tones with these lines in task.yaml instead of its own about passing data on."""
    path = tones / "emotion" / "task.yaml"
    kept = [line for line in path.read_text().splitlines() if not line.startswith("redistributable")]
    path.write_text("\n".join([*kept, facts, ""]))
    return tones


@pytest.fixture
def private(tones: Path) -> Path:
    return with_facts(tones, "private: true")


@pytest.mark.parametrize("name", PARTS)
def test_adapters_name_their_server_and_what_it_gets(name: str) -> None:
    spec, host, contents = PARTS[name]
    settings = {} if name == "http" else {"model": "m", "url": AWAY}
    settings |= {"audio_in": "none"} if "without" in name else {}
    (receiver,) = receivers_of([build_system(spec, settings)], [])
    assert (receiver.host, receiver.contents, receiver.local) == (host, contents, False)


def test_scorers_of_a_judge_are_one_receiver() -> None:
    (receiver,) = receivers_of([], judged_scorers("m", "http://127.0.0.1:1/v1", "echat-r1"))
    assert receiver.local
    assert receiver.line == (
        "127.0.0.1:1 (this machine) gets transcripts, gold labels, words of replies from scorer 'judged' "
        "and scorer 'judged-contrast'"
    )


@pytest.mark.parametrize(
    ("executor", "host"),
    [
        (None, None),
        ("ray", None),
        ({"name": "ray", "address": "local"}, None),
        ({"name": "ray", "address": "Head.lan:6379"}, "head.lan:6379"),
        ({"name": "ray", "address": "ray://127.0.0.1:10001"}, "127.0.0.1:10001"),
        ({"name": "ray", "address": "auto"}, "auto"),
    ],
)
def test_workers_of_a_cluster_elsewhere_get_private_data_only_if_it_is_named(
    executor: Any, host: str | None
) -> None:
    receivers = receivers_of([], [], parse_executor(executor))
    assert [receiver.host for receiver in receivers] == ([] if host is None else [host])
    if host is not None:
        with pytest.raises(ev.UsageError, match="gets query audio, earlier turns, audio of replies from the"):
            refuse_private_data(["calls"], receivers, ())
        refuse_private_data(["calls"], receivers, send_to_hosts(host.partition(":")[0]))


@pytest.mark.parametrize("judge", [{"model": "m", "url": AWAY}, {"model": "gpt-4o-2024-11-20"}])
def test_a_judge_elsewhere_is_refused_before_anything_is_written(
    private: Path, tmp_path: Path, judge: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHAT_EVAL_API_KEY", "k-12345678")
    host = "judge.example.com" if "url" in judge else "api.openai.com"
    notes = Notes()
    with pytest.raises(ev.UsageError, match=rf"'emotion': private data, and {host}.* --send-to {host} "):
        ev.evaluate(
            "canned", data=private, tasks="emotion", judges=judge, out=tmp_path / "run", progress=notes
        )
    assert not (tmp_path / "run").exists()
    assert any(line.startswith(f"sends: {host}") and "gold labels" in line for line in notes.lines)


def test_a_system_elsewhere_is_refused(private: Path, tmp_path: Path) -> None:
    with pytest.raises(ev.UsageError, match=r"gets query audio, earlier turns from system 'mine'; allow"):
        ev.evaluate(f"mine={AWAY}", data=private, tasks="emotion", out=tmp_path / "run")


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        ((), True),
        (("example.com",), True),
        (("judge.example.com:1",), True),
        (("judge.example.com",), False),
        (("other.org", "judge.example.com:8443"), False),
    ],
)
def test_only_named_hosts_are_allowed(allowed: tuple[str, ...], refused: bool) -> None:
    receivers = receivers_of([build_system(f"mine={AWAY}")], [])
    refuse_private_data([], receivers, allowed)
    if refused:
        with pytest.raises(ev.UsageError, match="task 'a', 'b': private data"):
            refuse_private_data(["a", "b"], receivers, allowed)
    else:
        refuse_private_data(["a"], receivers, allowed)


def test_this_machine_gets_everything_and_the_manifest_records_it(private: Path, tmp_path: Path) -> None:
    with ScriptedChatServer(fitting) as judge, ScriptedChatServer("Hm.") as server:
        notes = Notes()
        arguments: dict[str, Any] = {"data": private, "tasks": "emotion", "annotators": [], "limit": 4}
        settings = {"model": "m", "url": judge.url}
        ev.evaluate("canned", judges=settings, out=tmp_path / "run", progress=notes, **arguments)
        mine = {"use": "openai-chat", "model": "m", "url": server.url}
        ev.evaluate({"mine": mine}, out=tmp_path / "run", **arguments)
    first, second = (url.split("/")[2] for url in (judge.url, server.url))
    assert RunFolder.existing(tmp_path / "run").manifest().destinations == {
        first: ("transcripts", "gold labels", "words of replies"),
        second: ("query audio", "earlier turns"),
    }
    sent = [n for n, line in enumerate(notes.lines) if line.startswith("sends: ")]
    assert sent == [0]


@pytest.mark.parametrize(
    ("line", "private"),
    [
        ("", True),
        ("private: false", False),
        ("redistributable: true", False),
        ("redistributable: true\nprivate: true", True),
        ("redistributable: false", True),
    ],
)
def test_own_data_are_private_by_default(tones: Path, line: str, private: bool) -> None:
    before = load_task("emotion", data=tones).sha256
    task = load_task("emotion", data=with_facts(tones, line))
    assert task.private is private
    assert task.sha256 == before  # it changes no result


def test_shipped_tasks_are_not_private() -> None:
    assert private_tasks([load_task("emotion"), load_task("multi")], RunManifest()) == []


def test_tasks_of_earlier_commands_count() -> None:
    facts = {"old": TaskFacts(), "own": TaskFacts(private=True), "open": TaskFacts(private=False)}
    task: Any = SimpleNamespace(name="own", private=False)
    assert private_tasks([task], RunManifest(tasks=facts)) == ["old"]


@pytest.mark.parametrize("given", ["https://host/v1", 3, [""], ["*"], ["a b"]])
def test_a_host_is_no_address(given: Any) -> None:
    with pytest.raises(ev.UsageError, match="expected a host"):
        send_to_hosts(given)


@pytest.mark.parametrize("model", ["qwen2.5-72b-instruct", "gpt-oss-120b", "llama-3", "m", "my-gpt-4o"])
def test_a_model_of_others_needs_an_address(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k-12345678")
    with pytest.raises(ev.UsageError, match=r"no name of a model of OpenAI; give --judge-url the address"):
        ChatClient(model=model)
    with pytest.raises(ev.UsageError, match=r"no name of a model of OpenAI; give --set url= the address"):
        build_system("openai-chat", {"model": model})
    build_system("openai-chat", {"model": model, "url": "https://api.openai.com/v1"})  # named


@pytest.mark.parametrize(
    "model", ["gpt-4o-2024-11-20", "o3-mini", "ft:gpt-4o-mini:team::a", "chatgpt-4o-latest"]
)
def test_a_model_of_openai_needs_no_address(model: str) -> None:
    assert ChatClient(model=model).address == "https://api.openai.com/v1"
