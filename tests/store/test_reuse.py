"""Reuse between two run folders with one cache: rows that are reused, and rows that must be made again."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from echat_eval.cli.run import run as run_command
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import SystemFailure, Unavailable
from echat_eval.io.hashing import file_sha256
from echat_eval.records import AudioRef, Reply, Request, Waveform
from echat_eval.scorers.outcome import OutcomeScorer
from echat_eval.store.cache import Cache
from echat_eval.store.manifest import CacheCounts
from echat_eval.store.run_folder import RunFolder
from echat_eval.systems import build_system
from echat_eval.testing import ScriptedAnnotator, ScriptedSystem
from tests.support.scripted_run import evaluated


def duration(weights: str = "w1") -> ScriptedAnnotator:
    """Return an annotator of the length of a reply."""
    return ScriptedAnnotator(lambda audio, _: {"seconds": audio.seconds}, "duration", fingerprint=weights)


def speaking(request: Request) -> Reply:
    seed = int(request.audio.sha256[:8], 16)
    noise = np.random.default_rng(seed).normal(0, 0.1, 4000).astype(np.float32)
    return Reply(text=request.id, audio=Waveform(samples=noise, sample_rate=16_000))


def run_systems(
    out: Path, tones: Path, systems: Sequence[Any], cache: Cache | None, annotators: Sequence[Any] = ()
) -> RunFolder:
    return evaluated(
        out,
        tones,
        list(systems),
        annotators=annotators,
        scorers=[OutcomeScorer()],
        retry_policy=RetryPolicy(tries=1),
        cache=cache,
    )


def rows_without_times(run: RunFolder) -> list[Any]:
    rows = [json.loads(line) for line in (run.path / "responses.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("seconds", None)
        row.pop("cached", None)
    return rows


@pytest.fixture
def cache(own_cache: Path) -> Iterator[Cache]:
    with Cache(own_cache) as cache:
        yield cache


def test_a_second_run_reuses_all_rows(tones: Path, tmp_path: Path, cache: Cache) -> None:
    system, annotator = ScriptedSystem(speaking), duration()
    first = run_systems(tmp_path / "a", tones, [system], cache, [annotator])
    assert (len(system.requests), len(annotator.audios)) == (8, 8)
    second = run_systems(tmp_path / "b", tones, [system], cache, [annotator])
    assert (len(system.requests), len(annotator.audios)) == (8, 8)
    assert rows_without_times(first) == rows_without_times(second)
    for response in second.responses().values():
        assert response.cached
        assert response.reply is not None
        assert isinstance(response.reply.audio, AudioRef)
        assert response.reply.audio.path.is_relative_to(second.path)
    values = {k: v.values for k, v in first.annotations().items()}
    assert values == {k: v.values for k, v in second.annotations().items()}
    assert first.manifest().cache == {
        "annotation": {"duration": CacheCounts(hits=0, stored=8)},
        "response": {"scripted": CacheCounts(hits=0, stored=8)},
    }
    assert second.manifest().cache == {
        "annotation": {"duration": CacheCounts(hits=8, stored=0)},
        "response": {"scripted": CacheCounts(hits=8, stored=0)},
    }
    assert json.loads((first.path / "manifest.json").read_text())["cache"] == {
        "annotation": {"duration": {"hits": 0, "stored": 8}},
        "response": {"scripted": {"hits": 0, "stored": 8}},
    }
    # The second run has measured no latency.
    seconds = [score for score in second.scores().values() if score.metric == "seconds"]
    assert {(score.state, score.value) for score in seconds} == {("not applicable", None)}
    assert {s.state for s in first.scores().values() if s.metric == "seconds"} == {"value"}
    # The same command once more has nothing to do.
    before = (second.path / "manifest.json").read_text()
    run_systems(tmp_path / "b", tones, [system], cache, [annotator])
    after = (second.path / "manifest.json").read_text()
    assert json.loads(before)["cache"] == json.loads(after)["cache"]


@pytest.mark.parametrize("change", ["fingerprint", "settings", "name", "audio"])
def test_rows_are_made_again_if_the_system_or_the_audio_changes(
    tones: Path, tmp_path: Path, cache: Cache, change: str
) -> None:
    run_systems(tmp_path / "a", tones, [ScriptedSystem(speaking)], cache)
    settings = {"heat": 1} if change == "settings" else {}
    system = ScriptedSystem(speaking, name="other" if change == "name" else "scripted", settings=settings)
    if change == "fingerprint":
        system.fingerprint_value = "scripted-2"
    data, expected = tones, 8
    if change == "audio":
        data = tmp_path / "louder"
        shutil.copytree(tones, data)
        folder = data / "emotion"
        rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
        wav = folder / rows[3]["audio"]
        content = bytearray(wav.read_bytes())
        content[-1] ^= 1
        wav.write_bytes(bytes(content))
        rows[3]["audio_sha256"] = hashlib.sha256(wav.read_bytes()).hexdigest()
        (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        expected = 1
    run_systems(tmp_path / "b", data, [system], cache)
    assert len(system.requests) == expected


def test_annotations_are_made_again_with_other_weights(tones: Path, tmp_path: Path, cache: Cache) -> None:
    run_systems(tmp_path / "a", tones, [ScriptedSystem(speaking)], cache, [duration()])
    annotator = duration("w2")
    run_systems(tmp_path / "b", tones, [ScriptedSystem(speaking)], cache, [annotator])
    assert len(annotator.audios) == 8


def test_a_system_without_a_fingerprint_is_always_called(tones: Path, tmp_path: Path, cache: Cache) -> None:
    system = ScriptedSystem(speaking)
    system.fingerprint_value = None
    run_systems(tmp_path / "a", tones, [system], cache)
    run = run_systems(tmp_path / "b", tones, [system], cache)
    assert len(system.requests) == 16
    assert run.manifest().cache == {}


def test_rows_with_errors_are_made_again(tones: Path, tmp_path: Path, cache: Cache) -> None:
    def failing(request: Request) -> Reply:
        seed = int(request.audio.sha256[:8], 16) % 3
        if seed == 0:
            raise SystemFailure("crash")
        if seed == 1:
            raise Unavailable("429")
        return speaking(request)

    first = ScriptedSystem(failing)
    run = run_systems(tmp_path / "a", tones, [first], cache)
    states = [response.state for response in run.responses().values()]
    assert len(set(states)) == 3
    second = ScriptedSystem(speaking)
    run_systems(tmp_path / "b", tones, [second], cache)
    assert len(second.requests) == 8 - states.count("value")


def test_without_a_cache_no_row_is_found_or_stored(
    tones: Path, tmp_path: Path, cache: Cache, own_cache: Path
) -> None:
    run_systems(tmp_path / "a", tones, [ScriptedSystem(speaking)], None)
    assert list(own_cache.iterdir()) == []
    run_systems(tmp_path / "b", tones, [ScriptedSystem(speaking)], cache)
    system = ScriptedSystem(speaking)
    run = run_systems(tmp_path / "c", tones, [system], None)
    assert len(system.requests) == 8
    assert not any(response.cached for response in run.responses().values())


def test_a_broken_cache_stops_no_run(
    tones: Path, tmp_path: Path, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (own_cache / "cache.sqlite3").write_bytes(b"no database, " * 1000)
    run = run_systems(tmp_path / "a", tones, [ScriptedSystem(speaking)], Cache(own_cache), [duration()])
    assert {response.state for response in run.responses().values()} == {"value"}
    assert len([r for r in caplog.records if "the run continues without it" in r.getMessage()]) == 1


# -- weights that change behind the same path or URL ------------------------------


def with_weights(path: Path) -> ScriptedSystem:
    """Return a system whose weights are a file."""
    return ScriptedSystem(
        lambda _: path.read_text(),
        "with-weights",
        fingerprint=file_sha256(path),
        settings={"weights": path.name},
    )


def words_of(run: RunFolder) -> set[str]:
    return {str(r.reply.text) for r in run.responses().values() if r.reply is not None}


def test_replies_are_not_reused_after_the_weights_change(tones: Path, tmp_path: Path, cache: Cache) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_text("old")
    assert words_of(run_systems(tmp_path / "a", tones, [with_weights(weights)], cache)) == {"old"}
    weights.write_text("new")
    assert words_of(run_systems(tmp_path / "b", tones, [with_weights(weights)], cache)) == {"new"}
    weights.write_text("old")
    again = with_weights(weights)
    assert words_of(run_systems(tmp_path / "c", tones, [again], cache)) == {"old"}
    assert again.requests == []


PROGRAM = """#!{python}
import json, sys
from pathlib import Path
words = Path({weights!r}).read_text() + {version!r}
for line in sys.stdin:
    print(json.dumps({{"id": json.loads(line)["id"], "text": words}}), flush=True)
"""


@pytest.mark.parametrize("named", [True, False])
def test_replies_are_not_reused_after_the_program_changes(
    tones: Path, tmp_path: Path, cache: Cache, named: bool
) -> None:
    weights, program = tmp_path / "weights.bin", tmp_path / "infer.py"
    settings = {"fingerprint_files": str(weights)} if named else {}

    def answered(out: str, weight: str, version: str) -> RunFolder:
        weights.write_text(weight)
        program.write_text(PROGRAM.format(python=sys.executable, weights=str(weights), version=version))
        program.chmod(0o755)
        return run_systems(tmp_path / out, tones, [build_system(f"mine=command:{program}", settings)], cache)

    assert words_of(answered("a", "w1", "v1")) == {"w1v1"}
    same = answered("b", "w1", "v1")
    # Without a list of the files that determine the answers, no reply is reused.
    assert all(response.cached == named for response in same.responses().values())
    assert words_of(answered("c", "w1", "v2")) == {"w1v2"}
    assert words_of(answered("d", "w2", "v2")) == {"w2v2"}


# -- the command ----------------------------------------------------------------


def command(tones: Path, out: Path, system: str, *more: str) -> Any:
    return CliRunner().invoke(
        run_command,
        [
            "--data",
            str(tones),
            "--task",
            "emotion",
            "--system",
            system,
            "--annotator",
            "acoustics",
            "--out",
            str(out),
            *more,
        ],
        standalone_mode=False,
    )


def test_the_command_uses_the_cache_unless_disabled(tones: Path, tmp_path: Path) -> None:
    weights, program = tmp_path / "weights.bin", tmp_path / "infer.py"
    weights.write_text("w")
    program.write_text(PROGRAM.format(python=sys.executable, weights=str(weights), version=""))
    program.chmod(0o755)
    options = ("--set", f"fingerprint_files={weights}")
    system = f"mine=command:{program}"
    for out, more, cached in (("a", (), False), ("b", (), True), ("c", ("--no-cache",), False)):
        done = command(tones, tmp_path / out, system, *options, *more)
        assert done.exception is None, done.output
        responses = RunFolder(tmp_path / out).responses().values()
        assert {response.cached for response in responses} == {cached}, out


def test_replies_of_the_canned_system_are_not_cached(tones: Path, tmp_path: Path) -> None:
    command(tones, tmp_path / "a", "canned")
    command(tones, tmp_path / "b", "canned")
    assert "response" not in RunFolder(tmp_path / "b").manifest().cache
