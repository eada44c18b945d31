"""The three stages on a small task: which rows are made once, made again or kept."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echat_eval.errors import BadData, Busy, SystemFailure, Unavailable, UsageError
from echat_eval.ports import Silent
from echat_eval.records import AudioRef, Reply, Request, Waveform
from echat_eval.runner.evaluate import evaluate
from echat_eval.store.ledger import check_ledger
from echat_eval.store.manifest import RunSettings
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from echat_eval.testing import ScriptedSystem
from tests.support.scripted_parts import hum, length, lines, loudness, scored_ids
from tests.support.scripted_run import QUICK_RETRY, evaluated


def run_once(
    out: Path, data: Path, *systems: Any, annotators: Sequence[Any] = (), scorers: Sequence[Any] | None = None
) -> Any:
    with RunFolder(out).writing() as run:
        states = evaluate(
            run,
            systems=systems,
            tasks=[load_task("emotion", data=data)],
            annotators=annotators,
            scorers=[length()] if scorers is None else scorers,
            settings=RunSettings(retry_policy=QUICK_RETRY),
            progress=Silent(),
        )
    return run, states


def test_every_sample_has_its_rows(tmp_path: Path, tones: Path) -> None:
    run, states = run_once(
        tmp_path / "run",
        tones,
        ScriptedSystem(hum),
        ScriptedSystem(hum, name="again"),
        annotators=[loudness()],
    )
    assert len(run.responses()) == len(run.annotations()) == len(run.scores()) == 16
    assert states == {"value": 16}
    for response in run.responses().values():
        assert response.reply is not None
        assert isinstance(response.reply.audio, AudioRef)
        assert response.reply.audio.path.stem == response.reply.audio.sha256
    assert check_ledger(run) == states


def test_failed_replies_are_asked_again_on_demand(tmp_path: Path, tones: Path) -> None:
    data = load_task("emotion", data=tones)
    answers: list[Any] = [SystemFailure("broken")] * 2 + ["I see."] * (len(data.samples) - 1)
    first = evaluated(tmp_path / "run", tones, ScriptedSystem(answers), scorers=[length()])
    assert sorted(r.state for r in first.responses().values()) == ["failed"] + ["value"] * 7
    again = ScriptedSystem("I see.")
    evaluated(tmp_path / "run", tones, again, scorers=[length()])
    assert not again.requests
    on_demand = replace(QUICK_RETRY, failed_again=True)
    run = evaluated(tmp_path / "run", tones, again, scorers=[length()], retry_policy=on_demand)
    assert len(again.requests) == 1
    assert {r.state for r in run.responses().values()} == {"value"}
    assert {s.state for s in run.scores().values()} == {"value"}


def test_a_second_run_repeats_nothing(tmp_path: Path, tones: Path) -> None:
    first, annotator, scorer = ScriptedSystem(hum), loudness(), length()
    run_once(tmp_path / "run", tones, first, annotators=[annotator], scorers=[scorer])
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").glob("*.jsonl")}
    counts = len(first.requests), len(annotator.audios), len(scorer.cases)
    run_once(tmp_path / "run", tones, first, annotators=[annotator], scorers=[scorer])
    assert (len(first.requests), len(annotator.audios), len(scorer.cases)) == counts == (8, 8, 8)
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").glob("*.jsonl")} == before


def test_another_system_in_the_same_folder_leaves_the_first_alone(tmp_path: Path, tones: Path) -> None:
    first = ScriptedSystem(hum)
    run_once(tmp_path / "run", tones, first)
    run, _ = run_once(tmp_path / "run", tones, ScriptedSystem(hum, name="second"))
    assert len(first.requests) == 8
    assert {system for system, _, _ in run.responses()} == {"scripted", "second"}


def test_an_interrupted_run_continues(tmp_path: Path, tones: Path) -> None:
    def stop_at_fifth(request: Request) -> Reply:
        if len(system.requests) == 5:
            raise KeyboardInterrupt
        return hum(request)

    system = ScriptedSystem(stop_at_fifth)
    with pytest.raises(KeyboardInterrupt):
        run_once(tmp_path / "run", tones, system)
    assert len(lines(tmp_path / "run" / "responses.jsonl")) == 4
    run, states = run_once(tmp_path / "run", tones, healthy := ScriptedSystem(hum))
    assert len(healthy.requests) == 4
    assert states == {"value": 8}
    assert len(run.responses()) == 8


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_truncated_row_is_made_again(tmp_path: Path, tones: Path, cut: int) -> None:
    run_once(tmp_path / "run", tones, ScriptedSystem(hum))
    path = tmp_path / "run" / "responses.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    run, states = run_once(tmp_path / "run", tones, again := ScriptedSystem(hum))
    assert len(again.requests) == 1
    assert states == {"value": 8}


def test_the_number_of_workers_changes_no_row(tmp_path: Path, tones: Path) -> None:
    def slow(request: Request) -> Reply:
        time.sleep(int(request.audio.sha256[:2], 16) / 10_000)
        return hum(request)

    found = []
    for workers in (1, 2, 3, 8):
        system = ScriptedSystem(slow)
        system.calls_at_once = workers
        out = tmp_path / str(workers)
        run_once(out, tones, system, annotators=[loudness()])
        rows = lines(out / "responses.jsonl")
        for row in rows:
            del row["seconds"]
        annotations = (out / "annotations.jsonl").read_text()
        scores = [{k: v for k, v in row.items() if k != "key"} for row in lines(out / "scores.jsonl")]
        found.append((rows, annotations, scores))
    assert found[1:] == found[:1] * 3


def test_a_changed_byte_of_audio_remakes_only_its_rows(tmp_path: Path, tones: Path) -> None:
    system = ScriptedSystem(hum)
    run_once(tmp_path / "run", tones, system, annotators=[annotator := loudness()])
    index = tones / "emotion" / "samples.jsonl"
    rows = lines(index)
    wav = tones / "emotion" / rows[3]["audio"]
    data = bytearray(wav.read_bytes())
    data[-1] ^= 1
    wav.write_bytes(data)
    import hashlib

    rows[3]["audio_sha256"] = hashlib.sha256(data).hexdigest()
    index.write_text("".join(json.dumps(row) + "\n" for row in rows))
    requests, annotations = len(system.requests), len(annotator.audios)
    run_once(tmp_path / "run", tones, system, annotators=[annotator], scorers=[scorer := length()])
    assert len(system.requests) == requests + 1
    assert len(annotator.audios) == annotations + 1
    assert scored_ids(scorer) == [rows[3]["id"]]


def test_changed_settings_or_weights_request_all_replies_again(tmp_path: Path, tones: Path) -> None:
    run_once(tmp_path / "run", tones, ScriptedSystem(hum))
    run_once(tmp_path / "run", tones, warmer := ScriptedSystem(hum, settings={"temperature": 1}))
    assert len(warmer.requests) == 8
    retrained = ScriptedSystem(hum, settings={"temperature": 1})
    retrained.fingerprint_value = "scripted-2"
    run_once(tmp_path / "run", tones, retrained)
    assert len(retrained.requests) == 8


def test_a_new_scorer_version_repeats_only_scoring(tmp_path: Path, tones: Path) -> None:
    run_once(tmp_path / "run", tones, system := ScriptedSystem(hum), annotators=[annotator := loudness()])
    changed = length()
    changed.fingerprint_value = "letters"
    run_once(tmp_path / "run", tones, system, annotators=[annotator], scorers=[changed])
    assert (len(system.requests), len(annotator.audios), len(changed.cases)) == (8, 8, 8)


LONG = "x" * 100_001
NAN = Waveform(samples=np.array([0.0, np.nan] * 800, dtype=np.float32), sample_rate=16_000)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda r: Reply(), "empty reply"),
        (lambda r: Reply(text=" \n"), "empty reply"),
        (lambda r: None, "returned a NoneType"),
        (lambda r: Reply(text=3), "reply text is a int"),  # type: ignore[arg-type]
        (lambda r: Reply(text=LONG), "100,001 characters; the limit is 100,000"),
        (lambda r: Reply(text="\ud800"), "lone surrogate"),
        (lambda r: Reply(text="a", perceived={"emotion": "hungry"}), "perceived 'emotion' 'hungry'"),
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
def test_faulty_replies_are_failures_with_a_reason(
    tmp_path: Path, tones: Path, answer: Any, reason: str
) -> None:
    run, states = run_once(tmp_path / "run", tones, ScriptedSystem(answer))
    assert states == {"failed": 8}
    for response in run.responses().values():
        assert response.state == "failed"
        assert reason in (response.reason or "")
        assert "\n" not in (response.reason or "")


def test_a_failed_row_is_not_requested_again(tmp_path: Path, tones: Path) -> None:
    run_once(tmp_path / "run", tones, broken := ScriptedSystem(lambda r: Reply()))
    requests = len(broken.requests)
    run_once(tmp_path / "run", tones, broken)
    assert len(broken.requests) == requests == 16  # eight rows, two tries each


def test_a_missing_row_is_requested_again(tmp_path: Path, tones: Path) -> None:
    def limited(request: Request) -> Reply:
        raise Unavailable("429 too many requests")

    run, states = run_once(tmp_path / "run", tones, ScriptedSystem(limited))
    assert states == {"missing": 8}
    assert {score.value for score in run.scores().values()} == {None}
    run, states = run_once(tmp_path / "run", tones, ScriptedSystem(hum))
    assert states == {"value": 8}


def test_an_annotator_error_is_not_a_failure_of_the_system(tmp_path: Path, tones: Path) -> None:
    failing = loudness()
    failing.values = RuntimeError("out of memory")
    run, _ = run_once(tmp_path / "run", tones, ScriptedSystem(hum), annotators=[failing])
    assert {a.state for a in run.annotations().values()} == {"missing"}
    run, _ = run_once(tmp_path / "run", tones, ScriptedSystem(hum), annotators=[loudness()])
    assert {a.state for a in run.annotations().values()} == {"value"}


def test_identical_audio_is_annotated_once(tmp_path: Path, tones: Path) -> None:
    same = Waveform(samples=np.full(1600, 0.1, np.float32), sample_rate=16_000)
    run, _ = run_once(
        tmp_path / "run",
        tones,
        ScriptedSystem(lambda r: Reply(audio=same)),
        annotators=[annotator := loudness()],
    )
    assert len(annotator.audios) == 1
    assert len(run.annotations()) == 8
    assert len(list((tmp_path / "run" / "audio").iterdir())) == 1


def test_batches_give_the_same_replies_as_single_calls(tmp_path: Path, tones: Path) -> None:
    run, _ = run_once(tmp_path / "a", tones, system := ScriptedSystem(hum, "batched", batch_size=3))
    assert system.call_sizes == [3, 3, 2]
    alone, _ = run_once(tmp_path / "b", tones, ScriptedSystem(hum, name="batched"))
    assert [r.reply.text for r in run.responses().values()] == [
        r.reply.text for r in alone.responses().values()
    ]
    assert all(r.seconds is None for r in run.responses().values())


def test_a_request_without_a_reply_in_its_batch_fails_alone(tmp_path: Path, tones: Path) -> None:
    def hum_or_fail(request: Request) -> Reply:
        if request.id == refused[0]:
            raise SystemFailure("unreadable")
        return hum(request)

    class Partial(ScriptedSystem):
        def respond_batch(self, requests: Sequence[Request]) -> list[Reply | None]:
            refused.append(requests[0].id) if not refused else None
            return [None if request.id == refused[0] else hum(request) for request in requests]

    refused: list[str] = []
    _, states = run_once(tmp_path / "a", tones, system := Partial(hum_or_fail, batch_size=3))
    assert states == {"value": 7, "failed": 1}
    assert {request.id for request in system.requests} == set(refused)


def test_a_batch_reply_of_wrong_size_is_repeated_one_by_one(tmp_path: Path, tones: Path) -> None:
    class Short(ScriptedSystem):
        def respond_batch(self, requests: Sequence[Request]) -> list[Reply]:
            return [hum(requests[0])]

    _, states = run_once(tmp_path / "a", tones, system := Short(hum, batch_size=3))
    assert states == {"value": 8}
    assert system.call_sizes == [1] * 8


def test_a_second_writer_is_refused(tmp_path: Path, tones: Path) -> None:
    with RunFolder(tmp_path / "run").writing(), pytest.raises(Busy, match="another process is writing"):
        run_once(tmp_path / "run", tones, ScriptedSystem(hum))


def test_a_folder_that_is_not_a_run_is_not_changed(tmp_path: Path, tones: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not empty and not a run folder"):
        run_once(tmp_path, tones, ScriptedSystem(hum))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_two_systems_with_the_same_name_are_refused(tmp_path: Path, tones: Path) -> None:
    with pytest.raises(UsageError, match="two systems are named 'scripted'"):
        run_once(tmp_path / "run", tones, ScriptedSystem(hum), ScriptedSystem(hum))


def test_a_score_out_of_range_is_missing_and_not_clamped(tmp_path: Path, tones: Path) -> None:
    run, states = run_once(tmp_path / "run", tones, ScriptedSystem(lambda r: Reply(text="y" * 2000)))
    assert states == {"missing": 8}
    assert "expected 0 to 1000" in str({s.reason for s in run.scores().values()})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda cases: "fine", "TypeError: the scorer returned a str that is no list of Score"),
        (lambda cases: [1.0], "TypeError: the scorer returned a list that is no list of Score"),
        (lambda cases: None, "TypeError: the scorer returned a NoneType that is no list of Score"),
        (lambda cases: [cases[0].score(length().metrics[0], "value", value=float("nan"))], "returned nan"),
        (lambda cases: [cases[0].score(length().metrics[0], "value", value="9")], "returned '9'; expected 0"),
    ],
)
def test_a_wrong_type_of_score_is_missing(
    tmp_path: Path, tones: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, reason: str
) -> None:
    scorer = length()
    monkeypatch.setattr(scorer, "score", answer)
    run, states = run_once(tmp_path / "run", tones, ScriptedSystem(hum), scorers=[scorer])
    assert states == {"missing": 8}
    assert reason in str({s.reason for s in run.scores().values()})


def test_an_error_on_the_first_try_is_not_a_failure(tmp_path: Path, tones: Path) -> None:
    seen: set[str] = set()

    def fail_first_try(request: Request) -> Reply:
        if request.id not in seen:
            seen.add(request.id)
            raise SystemFailure("hiccup")
        return hum(request)

    run, states = run_once(tmp_path / "run", tones, ScriptedSystem(fail_first_try))
    assert states == {"value": 8}
    assert {r.tries for r in run.responses().values()} == {2}


def test_a_run_folder_may_be_a_relative_path(
    tmp_path: Path, tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_once(Path("runs/x"), tones, system := ScriptedSystem(hum), annotators=[loudness()])
    _, states = run_once(Path("runs/x"), tones, system, annotators=[loudness()])
    assert states == {"value": 8}
    assert len(system.requests) == 8


def test_a_run_folder_can_be_moved(tmp_path: Path, tones: Path) -> None:
    run_once(tmp_path / "here", tones, system := ScriptedSystem(hum))
    (tmp_path / "here").rename(tmp_path / "there")
    run_once(tmp_path / "there", tones, system)
    assert len(system.requests) == 8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"systems": [{"name": "mine"}]}, r"system: got dict without name, respond, fingerprint, settings"),
        ({"systems": [ScriptedSystem]}, r"system: got the class ScriptedSystem; expected an object"),
        (
            {"systems": [ScriptedSystem(), ScriptedSystem()]},
            r"two systems are named 'scripted'; .*--system NAME=",
        ),
        ({"annotators": [ScriptedSystem()]}, r"annotator: got ScriptedSystem without version, annotate"),
        ({"scorers": [loudness()]}, r"scorer: got ScriptedAnnotator without metrics, needs, scope, score"),
    ],
)
def test_an_object_without_the_members_is_refused_before_anything_is_written(
    tmp_path: Path, tones: Path, given: dict[str, list[Any]], message: str
) -> None:
    parts: dict[str, Any] = {"systems": [ScriptedSystem()], "annotators": [], "scorers": [length()]}
    with RunFolder(tmp_path / "run").writing() as run, pytest.raises(UsageError, match=message):
        evaluate(
            run,
            tasks=[load_task("emotion", data=tones)],
            settings=RunSettings(retry_policy=QUICK_RETRY),
            progress=Silent(),
            **{**parts, **given},
        )
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_a_run_folder_of_another_version_is_refused(tmp_path: Path, tones: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "manifest.json").write_text('{"format": 9, "layout": 1}')
    with pytest.raises(BadData, match=r"manifest.json: not a manifest of format 1: its format is 9"):
        run_once(out, tones, ScriptedSystem(hum))
