"""Runs with faulty servers: retries recover the scores, and missing rows never distort a reported number."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.judge import JudgeClient, load_judge
from echat_eval.judge.question import Prompt, Question
from echat_eval.leaderboard.build import OVERALL, Leaderboard, build_leaderboard
from echat_eval.scorers.judged import Judged, JudgedContrast
from echat_eval.store.run_folder import RunFolder
from echat_eval.systems.http import Http
from echat_eval.task import Task, load_task
from tests.support.faults import Faults, faulty_client, faulty_server, faulty_system
from tests.support.scripted_run import evaluated
from tests.support.tones import write_task

JUDGE = load_judge("echat-r1")
NAMES = ("ash", "birch", "cedar")


def run_of(
    out: Path, task: Task, systems: Sequence[Any], judge_client: JudgeClient, *, tries: int
) -> RunFolder:
    return evaluated(
        out,
        task,
        list(systems),
        scorers=[Judged(judge_client), JudgedContrast(judge_client)],
        retry_policy=RetryPolicy(tries=tries, first_wait=0.0),
    )


def values_of(run: RunFolder) -> dict[Any, Any]:
    return {ident: (score.state, score.value) for ident, score in run.scores().items()}


def labels_of(task: Task) -> dict[str, str]:
    return {sample.audio.sha256: sample.cues["emotion"] for sample in task.samples}


def test_after_retries_the_scores_are_those_without_faults(tmp_path: Path) -> None:
    task = load_task("emotion", data=write_task(tmp_path / "data", groups=10).parent)
    values = []
    for seed in (None, 1):
        judge, system = Faults(seed), Faults(seed, ("429", "time-out"))
        with faulty_server(judge, system, labels_of(task), late=1.0) as server:
            url = server.url
            client = ChatClient(model="m-2026-01-01", base_url=f"{url}/v1", timeout=0.5)
            run = run_of(
                tmp_path / str(seed),
                task,
                [Http(f"{url}/speak", name="spoken", timeout=0.5, calls_at_once=4)],
                JudgeClient(JUDGE, client, store=tmp_path / f"{seed}.jsonl"),
                tries=25,
            )
        values.append(values_of(run))
    assert set(judge.happened) == {"429", "time-out", "unparsable"}
    assert set(system.happened) >= {"429"}
    assert {state for state, _ in values[0].values()} == {"value", "not applicable"}
    assert values[1] == values[0]


class PreparedJudgeClient(JudgeClient):
    """A judge client that renders each prompt once in all runs."""

    prompts: dict[tuple[str, int], tuple[Prompt, str]] = {}  # noqa: RUF012  shared by all runs

    def prompt_of(self, question: Question, repeat: int) -> tuple[Prompt, str]:
        key = (repr(question), repeat)
        if key not in self.prompts:
            self.prompts[key] = super().prompt_of(question, repeat)
        return self.prompts[key]


@dataclass
class FaultyRuns:
    """Runs of one task with three systems; each seed draws other faults."""

    folder: Path
    task: Task

    def __post_init__(self) -> None:
        self.labels = labels_of(self.task)
        self.sound = self.board_of(None)

    def board_of(self, seed: int | None) -> Leaderboard:
        systems = [faulty_system(name, self.labels, Faults(seed, ("429", "time-out"))) for name in NAMES]
        judge_client = PreparedJudgeClient(JUDGE, faulty_client(Faults(seed)))  # type: ignore[arg-type]
        run = run_of(self.folder / str(seed), self.task, systems, judge_client, tries=1)
        return build_leaderboard([run])


@pytest.fixture(scope="module")
def faulty_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyRuns]:
    """Runs in memory, where available: no power loss is simulated here."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() else tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir=parent) as name:
        patch.setattr(os, "fsync", lambda file: None)
        folder = Path(name)
        task = load_task("emotion", data=write_task(folder / "data", groups=2).parent)
        yield FaultyRuns(folder=folder, task=task)


def check_bounds(faulty: Leaderboard, sound: Leaderboard) -> int:
    """Compare every summary with the one without faults; return the number of summaries with missing rows."""
    incomplete = 0
    for cell, summary in faulty.summaries.items():
        true = sound.summaries[cell].estimate
        if true is None:
            assert summary.estimate is None
        elif summary.bounds is None:
            assert summary.estimate is not None
            assert summary.estimate.value == true.value, cell
        else:
            incomplete += 1
            assert summary.bounds.low is not None
            assert summary.bounds.high is not None
            assert summary.bounds.low - 1e-9 <= true.value <= summary.bounds.high + 1e-9, cell
    return incomplete


def naive_order(board: Leaderboard) -> list[str]:
    """Return the systems ordered by the means of the rows that exist, ignoring missing rows."""
    estimates = {name: board.summaries[name, OVERALL, board.headline.name].estimate for name in NAMES}
    return sorted(NAMES, key=lambda name: -(e.value if (e := estimates[name]) is not None else 0.0))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(5))
def test_without_retries_bounds_hold_the_true_mean_and_ranks_their_sets(
    faulty_runs: FaultyRuns, part: int
) -> None:
    sound = faulty_runs.sound
    true_sets = sound.ranking.sets
    assert sorted(true_sets) == sorted(NAMES)
    incomplete = ranked = misordered = 0
    for seed in range(60 * part, 60 * part + 60):
        board = faulty_runs.board_of(seed)
        incomplete += check_bounds(board, sound)
        for name in NAMES:
            if (found := board.ranking.sets.get(name)) is not None:
                assert found.low <= true_sets[name].low
                assert found.high >= true_sets[name].high
                ranked += 1
        misordered += naive_order(board) != naive_order(sound)
    # The faults matter: without the bounds, many means would give another order.
    assert incomplete > 60
    assert misordered > 6
    assert ranked > 0
