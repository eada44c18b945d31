"""Optional abilities: an object has one if it has the members, and defaults apply where it has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from echat_eval.annotators.acoustics import Acoustics
from echat_eval.cost.meter import BilledPart, MeteredSystem, billed_client_of
from echat_eval.executors.remote import RemoteProxy
from echat_eval.judge.scorer import JudgingScorer, judge_clients_of
from echat_eval.ports import (
    Annotator,
    BatchAnnotator,
    BatchSystem,
    CachedReplies,
    Closable,
    Concurrent,
    FamilyScorer,
    GpuUser,
    LanguageLimited,
    Licensed,
    Loadable,
    OnDevice,
    Oracle,
    RepliesByFile,
    RoleMarked,
    RunsInDriver,
    Scorer,
    System,
    batch_size_of,
    calls_at_once_of,
    families_of,
    has_cached_replies,
    licence_of,
    role_of,
)
from echat_eval.records import AudioRef, Reply, Request
from echat_eval.runner.queues import queue_for
from echat_eval.scorers.judged import judged_scorers
from echat_eval.scorers.outcome import OutcomeScorer
from echat_eval.systems.gold_labels import GoldLabels
from echat_eval.systems.openai_chat import OpenAIChat
from echat_eval.systems.replay import Replay


class Plain:
    """A system with the required members only."""

    name = "plain"

    def respond(self, request: Request) -> Reply:
        return Reply(text="yes")

    def fingerprint(self) -> str | None:
        return None

    def settings(self) -> Mapping[str, Any]:
        return {}


class Able(Plain):
    """A system with every optional ability."""

    name = "able"
    calls_at_once = 8
    batch_size = 4
    cached = False
    role = "floor"
    runs_here = True
    wants_gpu = True
    device = "cuda"
    licence = "MIT"

    def load(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def respond_batch(self, requests: Sequence[Request]) -> Sequence[Reply]:
        return [self.respond(request) for request in requests]

    def unclaimed(self, requests: object) -> list[str]:
        return ["x"]


class Measuring:
    """An annotator with every optional ability."""

    name, version = "measuring", "1"
    batch_size = 0
    languages: tuple[str, ...] = ("en",)

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        return {}

    def annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> Sequence[Mapping[str, Any]]:
        return [{} for _ in audios]

    def fingerprint(self) -> str:
        return "f"

    def settings(self) -> Mapping[str, Any]:
        return {}


SYSTEM_ABILITIES = [
    BatchSystem,
    CachedReplies,
    Closable,
    Concurrent,
    GpuUser,
    Licensed,
    Loadable,
    OnDevice,
    RepliesByFile,
    RoleMarked,
    RunsInDriver,
]


@pytest.mark.parametrize("ability", SYSTEM_ABILITIES)
def test_a_system_has_the_abilities_of_its_members(ability: type) -> None:
    assert isinstance(Able(), ability)
    assert not isinstance(Plain(), ability)


def test_defaults_without_an_ability() -> None:
    plain, able = Plain(), Able()
    assert isinstance(plain, System)
    assert not isinstance(plain, Oracle)
    assert isinstance(GoldLabels("m", url="http://127.0.0.1:9/v1"), Oracle)
    facts: list[tuple[Callable[[Any], object], object, object]] = [
        (calls_at_once_of, 1, 8),
        (batch_size_of, 1, 4),
        (has_cached_replies, True, False),
        (role_of, "system", "floor"),
        (licence_of, None, "MIT"),
    ]
    for fact, default, stated in facts:
        assert (fact(plain), fact(able)) == (default, stated)


def test_annotators_and_scorers() -> None:
    measuring = Measuring()
    assert isinstance(measuring, Annotator)
    assert isinstance(measuring, BatchAnnotator)
    assert isinstance(measuring, LanguageLimited)
    assert batch_size_of(measuring) == 1  # a size below 1 is no batch
    assert not isinstance(Acoustics(), BatchAnnotator)
    outcome: Any = OutcomeScorer()
    assert isinstance(outcome, Scorer)
    assert isinstance(outcome, FamilyScorer)
    assert families_of(outcome) == ("dialogue", "understanding")


def test_clients_that_may_cost_money() -> None:
    paid: Any = OpenAIChat("m", url="http://127.0.0.1:9/v1", max_tokens=5)
    assert isinstance(paid, MeteredSystem)
    client: Any = billed_client_of(paid)
    assert client is paid
    assert billed_client_of(Plain()) is None
    judged = judged_scorers("m-2026-01-01", "http://127.0.0.1:9/v1")
    for scorer in judged:
        assert isinstance(scorer, JudgingScorer)
        assert isinstance(scorer, BilledPart)
        assert billed_client_of(scorer) is scorer.judge_client.client
    assert judge_clients_of([*judged, OutcomeScorer()]) == [judged[0].judge_client]


def test_replay_lists_unclaimed_replies(tmp_path: Path) -> None:
    assert isinstance(Replay(str(tmp_path)), RepliesByFile)


def test_a_proxy_has_the_abilities_of_its_owner() -> None:
    class NoPool:
        """Stands in for the workers."""

    able = RemoteProxy(Able(), pool=NoPool(), calls_at_once=16)  # type: ignore[arg-type]
    plain = RemoteProxy(Plain(), pool=NoPool(), calls_at_once=2)  # type: ignore[arg-type]
    for proxy in (able, plain):
        assert isinstance(proxy, System)
        assert isinstance(proxy, Loadable)
        assert isinstance(proxy, Closable)
        # In Python 3.12 and later a test for a protocol does not call __getattr__.
        assert {"name", "settings", "fingerprint", "respond"} <= vars(proxy).keys()
    assert (calls_at_once_of(able), batch_size_of(able), role_of(able)) == (16, 4, "floor")
    assert (calls_at_once_of(plain), batch_size_of(plain), role_of(plain)) == (2, 1, "system")
    assert not has_cached_replies(able)
    assert not isinstance(plain, BatchSystem)


def test_a_queue_loads_and_closes_only_a_part_that_can() -> None:
    from echat_eval.concurrency import event_loop
    from echat_eval.concurrency.work_queue import Workflow

    events: list[str] = []

    class Counted(Plain):
        def load(self) -> None:
            events.append("load")

        async def close(self) -> None:
            events.append("close")

    async def work(batch: list[int]) -> None:
        events.append("work")

    async def go(part: Plain) -> None:
        workflow = Workflow()
        queue = queue_for(workflow, part, work)
        queue.put(1)
        await workflow.drain(queue)
        await workflow.settle()

    event_loop.run(go(Plain()))
    assert events == ["work"]
    event_loop.run(go(Counted()))
    assert events == ["work", "load", "work", "close"]
