"""The three stages over a small task: what is done once, done again, kept, and named."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echat_eval.errors import Busy, SystemFailure, Unavailable, UsageError
from echat_eval.ports import Silent
from echat_eval.records import AudioRef, Reply, Request, Waveform
from echat_eval.runner.evaluate import evaluate
from echat_eval.store.ledger import check_ledger
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from tests.support.scripted_parts import IMPATIENT, Length, Loudness, hum, lines


def go(
    out: Path, data: Path, *systems: Any, annotators: Sequence[Any] = (), scorers: Sequence[Any] | None = None
) -> Any:
    with RunFolder(out).writing() as run:
        states = evaluate(
            run,
            systems=systems,
            tasks=[load_task("emotion", data=data)],
            annotators=annotators,
            scorers=[Length()] if scorers is None else scorers,
            retry_policy=IMPATIENT,
            progress=Silent(),
        )
    return run, states


def test_every_sample_has_its_rows(tmp_path: Path, tones: Path, scripted: Any) -> None:
    run, states = go(
        tmp_path / "run", tones, scripted(hum), scripted(hum, name="again"), annotators=[Loudness()]
    )
    assert len(run.responses()) == len(run.annotations()) == len(run.scores()) == 16
    assert states == {"value": 16}
    for response in run.responses().values():
        assert response.reply is not None
        assert isinstance(response.reply.audio, AudioRef)
        assert response.reply.audio.path.stem == response.reply.audio.sha256
    assert check_ledger(run) == states


def test_doing_it_again_does_nothing_again(tmp_path: Path, tones: Path, scripted: Any) -> None:
    first, ears, scorer = scripted(hum), Loudness(), Length()
    go(tmp_path / "run", tones, first, annotators=[ears], scorers=[scorer])
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").glob("*.jsonl")}
    asked, heard, scored = len(first.asked), len(ears.heard), len(scorer.scored)
    go(tmp_path / "run", tones, first, annotators=[ears], scorers=[scorer])
    assert (len(first.asked), len(ears.heard), len(scorer.scored)) == (asked, heard, scored) == (8, 8, 8)
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").glob("*.jsonl")} == before


def test_another_system_in_the_same_folder_leaves_the_first_alone(
    tmp_path: Path, tones: Path, scripted: Any
) -> None:
    first = scripted(hum)
    go(tmp_path / "run", tones, first)
    run, _ = go(tmp_path / "run", tones, scripted(hum, name="second"))
    assert len(first.asked) == 8
    assert {system for system, _, _ in run.responses()} == {"scripted", "second"}


def test_stopped_in_the_middle_it_goes_on(tmp_path: Path, tones: Path, scripted: Any) -> None:
    def stop_at_fifth(request: Request) -> Reply:
        if len(system.asked) == 5:
            raise KeyboardInterrupt
        return hum(request)

    system = scripted(stop_at_fifth)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", tones, system)
    assert len(lines(tmp_path / "run" / "responses.jsonl")) == 4
    run, states = go(tmp_path / "run", tones, healthy := scripted(hum))
    assert len(healthy.asked) == 4
    assert states == {"value": 8}
    assert len(run.responses()) == 8


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_torn_row_is_done_again(tmp_path: Path, tones: Path, scripted: Any, cut: int) -> None:
    go(tmp_path / "run", tones, scripted(hum))
    path = tmp_path / "run" / "responses.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    run, states = go(tmp_path / "run", tones, again := scripted(hum))
    assert len(again.asked) == 1
    assert states == {"value": 8}


def test_the_number_of_workers_changes_no_row(tmp_path: Path, tones: Path, scripted: Any) -> None:
    def slow(request: Request) -> Reply:
        time.sleep(int(request.audio.sha256[:2], 16) / 10_000)
        return hum(request)

    found = []
    for workers in (1, 2, 3, 8):
        system = scripted(slow)
        system.calls_at_once = workers
        out = tmp_path / str(workers)
        go(out, tones, system, annotators=[Loudness()])
        rows = lines(out / "responses.jsonl")
        for row in rows:
            del row["seconds"]
        annotations = (out / "annotations.jsonl").read_text()
        scores = [{k: v for k, v in row.items() if k != "key"} for row in lines(out / "scores.jsonl")]
        found.append((rows, annotations, scores))
    assert found[1:] == found[:1] * 3


def test_one_byte_of_one_wav_redoes_exactly_its_rows(tmp_path: Path, tones: Path, scripted: Any) -> None:
    system = scripted(hum)
    go(tmp_path / "run", tones, system, annotators=[ears := Loudness()])
    index = tones / "emotion" / "samples.jsonl"
    rows = lines(index)
    wav = tones / "emotion" / rows[3]["audio"]
    data = bytearray(wav.read_bytes())
    data[-1] ^= 1
    wav.write_bytes(data)
    import hashlib

    rows[3]["audio_sha256"] = hashlib.sha256(data).hexdigest()
    index.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked, heard = list(system.asked), len(ears.heard)
    go(tmp_path / "run", tones, system, annotators=[ears], scorers=[scorer := Length()])
    assert len(system.asked) == len(asked) + 1
    assert len(ears.heard) == heard + 1
    assert scorer.scored == [rows[3]["id"]]


def test_other_settings_or_weights_are_another_system(tmp_path: Path, tones: Path, scripted: Any) -> None:
    go(tmp_path / "run", tones, scripted(hum))
    go(tmp_path / "run", tones, warmer := scripted(hum, temperature=1))
    assert len(warmer.asked) == 8
    retrained = scripted(hum, temperature=1)
    retrained.print = "scripted-2"
    go(tmp_path / "run", tones, retrained)
    assert len(retrained.asked) == 8


def test_a_new_scorer_version_scores_again_and_asks_nobody(
    tmp_path: Path, tones: Path, scripted: Any
) -> None:
    go(tmp_path / "run", tones, system := scripted(hum), annotators=[ears := Loudness()])
    changed = Length()
    changed.print = "letters"
    go(tmp_path / "run", tones, system, annotators=[ears], scorers=[changed])
    assert (len(system.asked), len(ears.heard), len(changed.scored)) == (8, 8, 8)


LONG = "x" * 100_001
NAN = Waveform(samples=np.array([0.0, np.nan] * 800, dtype=np.float32), sample_rate=16_000)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda r: Reply(), "empty reply"),
        (lambda r: Reply(text=" \n"), "empty reply"),
        (lambda r: None, "returned a NoneType"),
        (lambda r: Reply(text=3), "reply text is a int"),
        (lambda r: Reply(text=LONG), "100,001 characters; the limit is 100,000"),
        (lambda r: Reply(text="\ud800"), "lone surrogate"),
        (lambda r: Reply(text="a", perceived={"emotion": "hungry"}), "perceived emotion 'hungry'"),
        (lambda r: Reply(text="a", audio=NAN), "broken reply audio"),
        (
            lambda r: Reply(audio=Waveform(samples=np.zeros(0, np.float32), sample_rate=16_000)),
            "broken reply audio",
        ),
        (
            lambda r: Reply(audio=Waveform(samples=np.zeros((2, 9), np.float32), sample_rate=16_000)),
            "broken reply audio",
        ),
        (
            lambda r: Reply(audio=Waveform(samples=np.zeros(900, np.float32), sample_rate=0)),
            "broken reply audio",
        ),
        (
            lambda r: Reply(audio=AudioRef(path=Path("/nowhere.wav"), sha256="", seconds=1)),
            "broken reply audio",
        ),
        (lambda r: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_systems_faults_are_failures_with_a_reason(
    tmp_path: Path, tones: Path, scripted: Any, answer: Any, reason: str
) -> None:
    run, states = go(tmp_path / "run", tones, scripted(answer))
    assert states == {"failed": 8}
    for response in run.responses().values():
        assert response.state == "failed"
        assert reason in (response.reason or "")
        assert "\n" not in (response.reason or "")


def test_a_failed_row_is_counted_and_not_asked_again(tmp_path: Path, tones: Path, scripted: Any) -> None:
    go(tmp_path / "run", tones, broken := scripted(lambda r: Reply()))
    asked = len(broken.asked)
    go(tmp_path / "run", tones, broken)
    assert len(broken.asked) == asked == 16  # eight rows, two tries each


def test_a_missing_row_is_tried_again_and_heals(tmp_path: Path, tones: Path, scripted: Any) -> None:
    def limited(request: Request) -> Reply:
        raise Unavailable("429 too many requests")

    run, states = go(tmp_path / "run", tones, scripted(limited))
    assert states == {"missing": 8}
    assert {score.value for score in run.scores().values()} == {None}
    run, states = go(tmp_path / "run", tones, scripted(hum))
    assert states == {"value": 8}


def test_an_annotators_fault_is_never_the_systems(tmp_path: Path, tones: Path, scripted: Any) -> None:
    class Deaf(Loudness):
        def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
            raise RuntimeError("out of memory")

    run, _ = go(tmp_path / "run", tones, scripted(hum), annotators=[Deaf()])
    assert {a.state for a in run.annotations().values()} == {"missing"}
    run, _ = go(tmp_path / "run", tones, scripted(hum), annotators=[Loudness()])
    assert {a.state for a in run.annotations().values()} == {"value"}


def test_the_same_sound_is_heard_once(tmp_path: Path, tones: Path, scripted: Any) -> None:
    same = Waveform(samples=np.full(1600, 0.1, np.float32), sample_rate=16_000)
    run, _ = go(
        tmp_path / "run", tones, scripted(lambda r: Reply(audio=same)), annotators=[ears := Loudness()]
    )
    assert len(ears.heard) == 1
    assert len(run.annotations()) == 8
    assert len(list((tmp_path / "run" / "audio").iterdir())) == 1


class InBatches:
    name = "batched"
    batch_size = 3

    def __init__(self, wrong: bool = False) -> None:
        self.sizes: list[int] = []
        self.wrong = wrong

    def respond(self, request: Request) -> Reply:
        self.sizes.append(1)
        return hum(request)

    def respond_batch(self, requests: Sequence[Request]) -> list[Reply]:
        self.sizes.append(len(requests))
        return [hum(r) for r in requests][: 1 if self.wrong else None]

    def fingerprint(self) -> str:
        return "b"

    def settings(self) -> Mapping[str, Any]:
        return {}


def test_batches_answer_as_singles_do(tmp_path: Path, tones: Path, scripted: Any) -> None:
    run, _ = go(tmp_path / "a", tones, system := InBatches())
    assert system.sizes == [3, 3, 2]
    alone, _ = go(tmp_path / "b", tones, scripted(hum, name="batched"))
    assert [r.reply.text for r in run.responses().values()] == [
        r.reply.text for r in alone.responses().values()
    ]
    assert all(r.seconds is None for r in run.responses().values())


def test_a_batch_of_the_wrong_size_is_asked_one_by_one(tmp_path: Path, tones: Path) -> None:
    _, states = go(tmp_path / "a", tones, system := InBatches(wrong=True))
    assert states == {"value": 8}
    assert system.sizes.count(1) == 8


def test_a_second_writer_is_told_and_stops(tmp_path: Path, tones: Path, scripted: Any) -> None:
    with RunFolder(tmp_path / "run").writing(), pytest.raises(Busy, match="another process is writing"):
        go(tmp_path / "run", tones, scripted(hum))


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path, tones: Path, scripted: Any) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not empty and not a run folder"):
        go(tmp_path, tones, scripted(hum))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_two_systems_of_one_name_are_refused(tmp_path: Path, tones: Path, scripted: Any) -> None:
    with pytest.raises(UsageError, match="two systems are named 'scripted'"):
        go(tmp_path / "run", tones, scripted(hum), scripted(hum))


def test_a_score_out_of_its_range_is_missing_and_never_clamped(
    tmp_path: Path, tones: Path, scripted: Any
) -> None:
    run, states = go(tmp_path / "run", tones, scripted(lambda r: Reply(text="y" * 2000)))
    assert states == {"missing": 8}
    assert "outside 0 to 1000" in str({s.reason for s in run.scores().values()})


def test_a_system_that_fails_once_is_not_a_failure(tmp_path: Path, tones: Path, scripted: Any) -> None:
    seen: set[str] = set()

    def first_time_unlucky(request: Request) -> Reply:
        if request.id not in seen:
            seen.add(request.id)
            raise SystemFailure("hiccup")
        return hum(request)

    run, states = go(tmp_path / "run", tones, scripted(first_time_unlucky))
    assert states == {"value": 8}
    assert {r.tries for r in run.responses().values()} == {2}


def test_a_run_folder_may_be_named_by_a_relative_path(
    tmp_path: Path, tones: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    go(Path("runs/x"), tones, system := scripted(hum), annotators=[Loudness()])
    _, states = go(Path("runs/x"), tones, system, annotators=[Loudness()])
    assert states == {"value": 8}
    assert len(system.asked) == 8


def test_a_run_folder_can_be_moved(tmp_path: Path, tones: Path, scripted: Any) -> None:
    go(tmp_path / "here", tones, system := scripted(hum))
    (tmp_path / "here").rename(tmp_path / "there")
    go(tmp_path / "there", tones, system)
    assert len(system.asked) == 8
