"""The ledger under fire: what faults may cost, and what they may never do to a number."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.judge import JudgeClient, load_judge
from echat_eval.leaderboard.build import OVERALL, Leaderboard, build_leaderboard
from echat_eval.ports import Silent
from echat_eval.runner.evaluate import evaluate
from echat_eval.scorers.judged import Judged, JudgedContrast
from echat_eval.store.run_folder import RunFolder
from echat_eval.systems.http import Http
from echat_eval.task import Task, load_task
from tests.conftest import write_task
from tests.support.faults import Faults, FaultyClient, FaultySystem, faulty_server

JUDGE = load_judge("echat-r1")


def run_of(
    out: Path, task: Task, systems: Sequence[Any], client: Any, *, tries: int, store: Path | None = None
) -> RunFolder:
    jury = JudgeClient(JUDGE, client, store=store)
    scorers = [Judged(jury), JudgedContrast(jury)]
    with RunFolder(out).writing() as run:
        evaluate(
            run,
            systems=systems,
            tasks=[task],
            annotators=[],
            scorers=scorers,
            retry_policy=RetryPolicy(tries=tries, first_wait=0.0),
            progress=Silent(),
        )
    return run


def values_of(run: RunFolder) -> dict[Any, Any]:
    return {ident: (score.state, score.value) for ident, score in run.scores().items()}


def labels_of(task: Task) -> dict[str, str]:
    return {sample.audio.sha256: sample.cues["emotion"] for sample in task.samples}


def test_after_retries_the_scores_are_those_without_faults(tmp_path: Path) -> None:
    task = load_task("emotion", data=write_task(tmp_path / "data", groups=10).parent)
    found = []
    for seed in (None, 1):
        judge, system = Faults(seed), Faults(seed, ("429", "time-out"))
        with faulty_server(judge, system, labels_of(task), late=1.0) as url:
            client = ChatClient(model="m-2026-01-01", base_url=f"{url}/v1", timeout=0.5)
            run = run_of(
                tmp_path / str(seed),
                task,
                [Http(f"{url}/speak", name="spoken", timeout=0.5, calls_at_once=4)],
                client,
                tries=25,
                store=tmp_path / f"{seed}.jsonl",
            )
        found.append(values_of(run))
    assert set(judge.happened) == {"429", "time-out", "unparsable"}
    assert set(system.happened) >= {"429"}
    assert {state for state, _ in found[0].values()} == {"value", "not applicable"}
    assert found[1] == found[0]


def check_bounds(faulty: Leaderboard, sound: Leaderboard) -> int:
    """Hold every summary against the one without faults; return how many had something missing."""
    lacking = 0
    for cell, summary in faulty.summaries.items():
        true = sound.summaries[cell].estimate
        if true is None:
            assert summary.estimate is None
        elif summary.bounds is None:
            assert summary.estimate is not None
            assert summary.estimate.value == true.value, cell
        else:
            lacking += 1
            assert summary.bounds.low is not None
            assert summary.bounds.high is not None
            assert summary.bounds.low - 1e-9 <= true.value <= summary.bounds.high + 1e-9, cell
    return lacking


def order_of(board: Leaderboard, names: Sequence[str]) -> list[str]:
    """Return the order by the means of what is there, as if what is missing did not matter."""
    cells = {name: board.summaries[name, OVERALL, board.headline.name].estimate for name in names}
    return sorted(names, key=lambda name: -(cell.value if (cell := cells[name]) is not None else 0.0))


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(5))
def test_without_retries_the_bounds_hold_the_true_mean_and_no_rank_is_shown_that_they_do_not_bear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hundred: int
) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)  # power stays on here
    task = load_task("emotion", data=write_task(tmp_path / "data", groups=3).parent)
    labels, names = labels_of(task), ("ash", "birch", "cedar")

    def board_of(seed: int | None) -> Leaderboard:
        systems = [FaultySystem(name, labels, Faults(seed, ("429", "time-out"))) for name in names]
        run = run_of(tmp_path / str(seed), task, systems, FaultyClient(Faults(seed)), tries=1)
        return build_leaderboard([run])

    sound = board_of(None)
    assert sorted(sound.ranks) == sorted(names)
    lacking = shown = withheld = fooled = 0
    for seed in range(100 * hundred, 100 * hundred + 100):
        board = board_of(seed)
        lacking += check_bounds(board, sound)
        for name in names:
            shown += name in board.ranks
            withheld += name not in board.ranks
            assert board.ranks.get(name, sound.ranks[name]) == sound.ranks[name]
        fooled += order_of(board, names) != order_of(sound, names)
    # Faults that did not matter would prove nothing: many a mean would have told another order.
    assert lacking > 100
    assert fooled > 10
    assert shown > 0
    assert withheld > 0
