"""Which calls a change repeats; workers, batches and order change no row."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pytest

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.judge import Judge, JudgeClient, load_judge
from echat_eval.ports import Case
from echat_eval.records import AudioRef, Metric, Reply, Request, Score, Waveform
from echat_eval.scorers.judged import Judged, JudgedContrast
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing import ScriptedAnnotator, ScriptedScorer, ScriptedSystem
from tests.support.faults import Faults, faulty_client, share_of
from tests.support.scripted_parts import scored_ids
from tests.support.scripted_run import evaluated
from tests.support.tones import write_task

JUDGE = load_judge("echat-r1")


def reply_to(request: Request) -> Reply:
    """Return text and audio that depend on the query audio only."""
    drawn = share_of(request.audio.sha256)
    samples = [share_of(request.audio.sha256, n) - 0.5 for n in range(400)]
    import numpy as np

    voice = Waveform(samples=np.array(samples, dtype=np.float32), sample_rate=16_000)
    return Reply(text=f"I hear {drawn:.6f}.", audio=voice)


def speaker(workers: int = 1, batch_size: int | None = None) -> ScriptedSystem:
    """Return a system whose replies come out of order."""
    return ScriptedSystem(
        reply_to,
        "speaker",
        calls_at_once=workers,
        batch_size=batch_size,
        seconds=lambda request: share_of(request.audio.sha256, "wait") / 200,
    )


def annotator(name: str, workers: int = 1, batch_size: int | None = None) -> ScriptedAnnotator:
    """Return an annotator whose values depend on its fingerprint."""

    def value(audio: AudioRef, language: str) -> dict[str, float]:
        return {"value": round(share_of(made.fingerprint_value, audio.sha256), 6)}

    made = ScriptedAnnotator(
        value, name, calls_at_once=workers, batch_size=batch_size, fingerprint=f"{name}-1"
    )
    return made


class AnnotationScorer(ScriptedScorer):
    """A scorer of the values of one annotator, relative to their mean in the scope."""

    def __init__(self, annotator: str, scope: Literal["sample", "contrast group"], workers: int = 1) -> None:
        name = f"{annotator}-{scope.split()[0]}"
        super().__init__(
            lambda case: case.annotations[annotator].values["value"],
            name,
            metrics=[Metric(name=name, title=name, unit="", low=-1, high=1, higher_is_better=True, worst=-1)],
            needs=(annotator,),
            scope=scope,
            calls_at_once=workers,
        )

    def score(self, cases: Sequence[Case]) -> list[Score]:
        scores = super().score(cases)
        mean = sum(score.value for score in scores) / len(scores)
        return [replace(score, value=round(score.value - mean, 6)) for score in scores]


@dataclass
class Experiment:
    """All parts of a run, which count their calls."""

    data: Path
    out: Path
    system: ScriptedSystem = field(default_factory=speaker)
    annotators: tuple[ScriptedAnnotator, ...] = field(
        default_factory=lambda: (annotator("left"), annotator("right"))
    )
    scorers: tuple[AnnotationScorer, ...] = field(
        default_factory=lambda: (
            AnnotationScorer("left", "sample"),
            AnnotationScorer("left", "contrast group"),
            AnnotationScorer("right", "sample"),
        )
    )
    judge: Judge = JUDGE
    workers: int = 1

    def run(self) -> RunFolder:
        self.client = faulty_client(Faults(None))
        logs: tuple[list[Any], ...] = (
            self.system.requests,
            *(e.audios for e in self.annotators),
            *(s.cases for s in self.scorers),
        )
        for log in logs:
            log.clear()
        judge_client = JudgeClient(self.judge, self.client, store=self.out.with_suffix(".verdicts"))  # type: ignore[arg-type]
        judged = [cls(judge_client, calls_at_once=self.workers) for cls in (Judged, JudgedContrast)]
        return evaluated(
            self.out,
            self.data,
            self.system,
            annotators=self.annotators,
            scorers=[*self.scorers, *judged],
            retry_policy=RetryPolicy(tries=1),
        )

    def verdicts(self) -> list[str]:
        return [prompt for prompt in self.client.prompts if "=====" in prompt]

    def no_calls_except(self, *allowed: object) -> bool:
        logs = (
            self.system.requests,
            *(e.audios for e in self.annotators),
            *(s.cases for s in self.scorers),
        )
        return not any(log for log in logs if not any(log is other for other in allowed))


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    made = Experiment(data=write_task(tmp_path / "data").parent, out=tmp_path / "run")
    made.run()
    assert len(made.system.requests) == 8
    assert len(made.verdicts()) == 16
    return made


def test_without_a_change_nothing_is_repeated(experiment: Experiment) -> None:
    experiment.run()
    assert experiment.no_calls_except()
    assert not experiment.verdicts()


def test_a_changed_byte_of_audio_repeats_its_sample_and_group_scores(experiment: Experiment) -> None:
    index = experiment.data / "emotion" / "samples.jsonl"
    rows = [json.loads(line) for line in index.read_text().splitlines()]
    wav = experiment.data / "emotion" / rows[3]["audio"]
    content = bytearray(wav.read_bytes())
    content[-1] ^= 1
    wav.write_bytes(content)
    rows[3]["audio_sha256"] = hashlib.sha256(content).hexdigest()
    index.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = {
        name: (experiment.out / name).read_text().splitlines()
        for name in ("responses.jsonl", "annotations.jsonl", "scores.jsonl")
    }
    run = experiment.run()
    changed, group = (
        rows[3]["id"],
        {row["id"] for row in rows if row["contrast_group"] == rows[3]["contrast_group"]},
    )
    assert [r.audio.sha256 for r in experiment.system.requests] == [rows[3]["audio_sha256"]]
    assert [len(annotator.audios) for annotator in experiment.annotators] == [1, 1]
    assert [sorted(scored_ids(scorer)) for scorer in experiment.scorers] == [
        [changed],
        sorted(group),
        [changed],
    ]
    # The judge is requests for the new reply under both labels, and its scores alone.
    reply = run.responses()["speaker", "emotion", changed].reply
    assert reply is not None
    assert len(experiment.verdicts()) == 2
    assert all(str(reply.text) in prompt for prompt in experiment.verdicts())
    for name, lines in before.items():
        for old, new in zip(lines, (experiment.out / name).read_text().splitlines(), strict=True):
            row = json.loads(old)
            dependent = row["sample_id"] == changed or (
                row["sample_id"] in group
                and row.get("metric") in ("left-contrast", "judge_echat_r1_cue_contrast")
            )
            assert (old == new) != dependent, old


def test_a_changed_judge_prompt_repeats_only_verdicts(experiment: Experiment) -> None:
    frames = {language: frame + "\nBe fair." for language, frame in experiment.judge.frames.items()}
    experiment.judge = replace(experiment.judge, frames=MappingProxyType(frames))
    experiment.run()
    assert experiment.no_calls_except()
    assert len(experiment.verdicts()) == 16


def test_new_annotator_weights_repeat_its_annotations_and_their_scores(experiment: Experiment) -> None:
    left, left_group, _ = experiment.scorers
    experiment.annotators[0].fingerprint_value = "left-2"
    experiment.run()
    assert len(experiment.annotators[0].audios) == len(left.cases) == len(left_group.cases) == 8
    assert experiment.no_calls_except(experiment.annotators[0].audios, left.cases, left_group.cases)
    assert not experiment.verdicts()


def rows_of(run: RunFolder, *, ordered: bool = True) -> list[Any]:
    """Return every row allowed measured times; a score's key holds how long its reply took."""
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


def test_workers_and_batches_change_no_row(tmp_path: Path) -> None:
    data = write_task(tmp_path / "data", groups=6).parent
    found = []
    for workers in (1, 2, 3, 8):
        for batch in (None, 1, 3, 8):
            system = speaker(workers, batch)
            experiment = Experiment(
                data=data,
                out=tmp_path / f"{workers}-{batch}",
                system=system,
                workers=workers,
                annotators=(annotator("left", workers, batch), annotator("right", workers)),
                scorers=(
                    AnnotationScorer("left", "sample", workers),
                    AnnotationScorer("left", "contrast group"),
                    AnnotationScorer("right", "sample", workers),
                ),
            )
            found.append(rows_of(experiment.run()))
            assert len(experiment.system.requests) == 12
    assert all(rows == found[0] for rows in found)


def test_the_order_of_the_samples_changes_no_row(tmp_path: Path) -> None:
    data = write_task(tmp_path / "data", groups=6).parent
    straight = Experiment(data=data, out=tmp_path / "straight").run()
    index = data / "emotion" / "samples.jsonl"
    lines = index.read_text().splitlines()
    random.Random(0).shuffle(lines)
    index.write_text("\n".join(lines) + "\n")
    shuffled = Experiment(data=data, out=tmp_path / "shuffled", system=speaker(3)).run()
    assert rows_of(straight, ordered=False) == rows_of(shuffled, ordered=False)
    assert rows_of(straight) != rows_of(shuffled)
