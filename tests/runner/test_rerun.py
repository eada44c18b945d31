"""What a change redoes, down to the single call; and that workers, batches and order change no row."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pytest

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.judge import Judge, JudgeClient, load_judge
from echat_eval.ports import Case, Silent
from echat_eval.records import AudioRef, Metric, Reply, Request, Score, Waveform
from echat_eval.runner.evaluate import evaluate
from echat_eval.scorers.judged import Judged, JudgedContrast
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from tests.conftest import write_task
from tests.support.faults import Faults, FaultyClient, share_of

JUDGE = load_judge("echat-r1")


def spoken(request: Request) -> Reply:
    """Reply with words and a voice that depend on the question's sound alone."""
    drawn = share_of(request.audio.sha256)
    samples = [share_of(request.audio.sha256, n) - 0.5 for n in range(400)]
    import numpy as np

    voice = Waveform(samples=np.array(samples, dtype=np.float32), sample_rate=16_000)
    return Reply(text=f"I hear {drawn:.6f}.", audio=voice)


class Speaker:
    name = "speaker"

    def __init__(self, workers: int = 1) -> None:
        self.asked: list[str] = []
        self.calls_at_once = workers

    def respond(self, request: Request) -> Reply:
        self.asked.append(request.audio.sha256)
        time.sleep(share_of(request.audio.sha256, "wait") / 200)  # so that replies come out of order
        return spoken(request)

    def fingerprint(self) -> str:
        return "speaker-1"

    def settings(self) -> Mapping[str, Any]:
        return {}


class BatchSpeaker(Speaker):
    def __init__(self, workers: int, batch_size: int) -> None:
        super().__init__(workers)
        self.batch_size = batch_size

    def respond_batch(self, requests: Sequence[Request]) -> list[Reply]:
        return [self.respond(request) for request in requests]


class Ear:
    version = "1"

    def __init__(self, name: str, workers: int = 1, batch_size: int | None = None) -> None:
        self.name = name
        self.calls_at_once = workers
        self.heard: list[str] = []
        self.weights = f"{name}-1"
        if batch_size is not None:
            self.batch_size = batch_size
            self.annotate_batch = self._annotate_batch

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        self.heard.append(audio.sha256)
        return {"heard": round(share_of(self.weights, audio.sha256), 6)}

    def _annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> list[Mapping[str, Any]]:
        return [self.annotate(audio, language=language) for audio in audios]

    def fingerprint(self) -> str:
        return self.weights

    def settings(self) -> Mapping[str, Any]:
        return {}


class Listener:
    """A scorer of what one ear heard."""

    version = "1"

    def __init__(self, ear: str, scope: Literal["sample", "contrast group"], workers: int = 1) -> None:
        self.name = f"{ear}-{scope.split()[0]}"
        self.needs = (ear,)
        self.scope = scope
        self.calls_at_once = workers
        self.scored: list[str] = []
        self.metrics = (
            Metric(name=self.name, title=self.name, unit="", low=-1, high=1, higher_is_better=True, worst=-1),
        )

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        self.scored += [case.sample.id for case in cases]
        heard = [case.annotations[self.needs[0]].values["heard"] for case in cases]
        return [
            Score(
                key="",
                system=case.response.system,
                task=case.sample.task,
                sample_id=case.sample.id,
                metric=self.name,
                state="value",
                value=round(value - sum(heard) / len(heard), 6),
            )
            for case, value in zip(cases, heard, strict=True)
        ]

    def fingerprint(self) -> str:
        return "mean"

    def settings(self) -> Mapping[str, Any]:
        return {}


@dataclass
class World:
    """Everything that can be asked, heard and scored, and counts it."""

    data: Path
    out: Path
    system: Speaker = field(default_factory=Speaker)
    ears: tuple[Ear, ...] = field(default_factory=lambda: (Ear("left"), Ear("right")))
    scorers: tuple[Listener, ...] = field(
        default_factory=lambda: (
            Listener("left", "sample"),
            Listener("left", "contrast group"),
            Listener("right", "sample"),
        )
    )
    judge: Judge = JUDGE
    workers: int = 1

    def go(self) -> RunFolder:
        self.client = FaultyClient(Faults(None))
        for log in (self.system.asked, *(e.heard for e in self.ears), *(s.scored for s in self.scorers)):
            log.clear()
        jury = JudgeClient(self.judge, self.client, store=self.out.with_suffix(".verdicts"))  # type: ignore[arg-type]
        judged = [cls(jury, calls_at_once=self.workers) for cls in (Judged, JudgedContrast)]
        with RunFolder(self.out).writing() as run:
            evaluate(
                run,
                systems=[self.system],
                tasks=[load_task("emotion", data=self.data)],
                annotators=self.ears,
                scorers=[*self.scorers, *judged],
                retry_policy=RetryPolicy(tries=1),
                progress=Silent(),
            )
        return run

    def verdicts(self) -> list[str]:
        return [prompt for prompt in self.client.prompts if "=====" in prompt]

    def nothing_but(self, *but: object) -> bool:
        logs = (self.system.asked, *(e.heard for e in self.ears), *(s.scored for s in self.scorers))
        return not any(log for log in logs if not any(log is one for one in but))


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(data=write_task(tmp_path / "data").parent, out=tmp_path / "run")
    made.go()
    assert len(made.system.asked) == 8
    assert len(made.verdicts()) == 16
    return made


def test_nothing_changed_nothing_is_redone(world: World) -> None:
    world.go()
    assert world.nothing_but()
    assert not world.verdicts()


def test_one_byte_of_one_wav_redoes_its_sample_and_what_its_group_hangs_on(world: World) -> None:
    index = world.data / "emotion" / "samples.jsonl"
    rows = [json.loads(line) for line in index.read_text().splitlines()]
    wav = world.data / "emotion" / rows[3]["audio"]
    content = bytearray(wav.read_bytes())
    content[-1] ^= 1
    wav.write_bytes(content)
    rows[3]["audio_sha256"] = hashlib.sha256(content).hexdigest()
    index.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = {
        name: (world.out / name).read_text().splitlines()
        for name in ("responses.jsonl", "annotations.jsonl", "scores.jsonl")
    }
    run = world.go()
    changed, group = (
        rows[3]["id"],
        {row["id"] for row in rows if row["contrast_group"] == rows[3]["contrast_group"]},
    )
    assert world.system.asked == [rows[3]["audio_sha256"]]
    assert [len(ear.heard) for ear in world.ears] == [1, 1]
    assert [sorted(scorer.scored) for scorer in world.scorers] == [[changed], sorted(group), [changed]]
    # The judge is asked for the new reply under both labels, and its scores alone.
    reply = run.responses()["speaker", "emotion", changed].reply
    assert reply is not None
    assert len(world.verdicts()) == 2
    assert all(str(reply.text) in prompt for prompt in world.verdicts())
    for name, lines in before.items():
        for old, new in zip(lines, (world.out / name).read_text().splitlines(), strict=True):
            row = json.loads(old)
            dependent = row["sample_id"] == changed or (
                row["sample_id"] in group
                and row.get("metric") in ("left-contrast", "judge_echat_r1_cue_contrast")
            )
            assert (old == new) != dependent, old


def test_another_judge_prompt_asks_for_verdicts_and_nothing_else(world: World) -> None:
    frames = {language: frame + "\nBe fair." for language, frame in world.judge.frames.items()}
    world.judge = replace(world.judge, frames=MappingProxyType(frames))
    world.go()
    assert world.nothing_but()
    assert len(world.verdicts()) == 16


def test_new_weights_of_an_ear_redo_what_it_heard_and_what_hangs_on_it(world: World) -> None:
    left, left_group, _ = world.scorers
    world.ears[0].weights = "left-2"
    world.go()
    assert len(world.ears[0].heard) == len(left.scored) == len(left_group.scored) == 8
    assert world.nothing_but(world.ears[0].heard, left.scored, left_group.scored)
    assert not world.verdicts()


def rows_of(run: RunFolder, *, ordered: bool = True) -> list[Any]:
    """Return every row but measured times; a score's key holds how long its reply took."""
    found = []
    for name in ("responses.jsonl", "annotations.jsonl", "scores.jsonl"):
        rows = [json.loads(line) for line in (run.path / name).read_text().splitlines()]
        for row in rows:
            row.pop("seconds", None)
            if name == "scores.jsonl":
                del row["key"]
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        found.append(lines if ordered else sorted(lines))
    return found


def test_neither_workers_nor_batches_change_a_row(tmp_path: Path) -> None:
    data = write_task(tmp_path / "data", groups=6).parent
    found = []
    for workers in (1, 2, 3, 8):
        for batch in (None, 1, 3, 8):
            system = Speaker(workers) if batch is None else BatchSpeaker(workers, batch)
            world = World(
                data=data,
                out=tmp_path / f"{workers}-{batch}",
                system=system,
                workers=workers,
                ears=(Ear("left", workers, batch), Ear("right", workers)),
                scorers=(
                    Listener("left", "sample", workers),
                    Listener("left", "contrast group"),
                    Listener("right", "sample", workers),
                ),
            )
            found.append(rows_of(world.go()))
            assert len(world.system.asked) == 12
    assert all(rows == found[0] for rows in found)


def test_the_order_of_the_samples_changes_no_row(tmp_path: Path) -> None:
    data = write_task(tmp_path / "data", groups=6).parent
    straight = World(data=data, out=tmp_path / "straight").go()
    index = data / "emotion" / "samples.jsonl"
    lines = index.read_text().splitlines()
    random.Random(0).shuffle(lines)
    index.write_text("\n".join(lines) + "\n")
    shuffled = World(data=data, out=tmp_path / "shuffled", system=Speaker(3)).go()
    assert rows_of(straight, ordered=False) == rows_of(shuffled, ordered=False)
    assert rows_of(straight) != rows_of(shuffled)
