"""The cache: rows and audio that runs share, and errors of the cache that never stop a run."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from echat_eval.io.audio import audio_ref
from echat_eval.records import Annotation, Reply, Response
from echat_eval.store import cache_prune
from echat_eval.store.cache import Cache
from echat_eval.store.manifest import CacheCounts, RunManifest
from echat_eval.store.reuse import ReuseIndex, is_reusable
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing import ScriptedSystem

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def put(cache: Cache, key: str, value: dict[str, Any], **more: Any) -> None:
    cache.put("verdict", key, value, owner="judge", **more)


def get(cache: Cache, key: str) -> dict[str, Any] | None:
    return cache.get("verdict", key, owner="judge")


def set_age(store: Path, key: str, seconds: float) -> None:
    with sqlite3.connect(store / "cache.sqlite3") as database:
        database.execute("UPDATE rows SET used = ? WHERE key = ?", (time.time() - seconds, key))
    database.close()


def keys_in(store: Path) -> set[str]:
    with sqlite3.connect(store / "cache.sqlite3") as database:
        keys = {key for (key,) in database.execute("SELECT key FROM rows")}
    database.close()
    return keys


def test_a_row_is_found_after_the_cache_is_reopened(store: Path) -> None:
    with Cache(store) as first:
        put(first, "a", {"words": "né", "n": [1, 2.5, None]})
    with Cache(store) as second:
        assert get(second, "a") == {"words": "né", "n": [1, 2.5, None]}
        assert get(second, "b") is None
        assert second.get("annotation", "a", owner="judge") is None
        assert second.tally() == {"verdict": {"judge": CacheCounts(hits=1, stored=0)}}


def test_a_row_is_found_before_it_is_written(store: Path) -> None:
    with Cache(store) as cache:
        put(cache, "a", {"n": 1})
        assert get(cache, "a") == {"n": 1}
        assert cache.tally()["verdict"]["judge"] == CacheCounts(hits=1, stored=1)


WRITER = """
import sys
from pathlib import Path
from echat_eval.store.cache import Cache
with Cache(Path(sys.argv[1])) as cache:
    for n in range(400):
        cache.put("verdict", f"{sys.argv[2]}-{n}", {"by": sys.argv[2], "n": n}, owner="judge")
        cache.put("verdict", f"shared-{n}", {"n": n}, owner="judge")
        assert cache.get("verdict", f"shared-{n}", owner="judge") == {"n": n}
"""


def test_several_processes_write_concurrently(store: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(store), str(n)], stderr=subprocess.PIPE, env=env)
        for n in range(3)
    ]
    errors = [writer.communicate()[1].decode() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0], errors
    assert errors == ["", "", ""]  # no warning: no process was locked out
    with Cache(store) as cache:
        assert cache_prune.contents(cache).rows["verdict"] == 3 * 400 + 400
        assert all(get(cache, f"{w}-{n}") == {"by": str(w), "n": n} for w in range(3) for n in range(400))


def test_threads_share_one_cache(store: Path) -> None:
    with Cache(store) as cache:

        def work(number: int) -> None:
            for n in range(100):
                put(cache, f"{number}-{n}", {"n": n})
                assert get(cache, f"{number}-{n}") == {"n": n}

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert cache_prune.contents(cache).rows["verdict"] == 600
        assert cache.tally()["verdict"]["judge"] == CacheCounts(hits=600, stored=600)


# -- replies and annotations ------------------------------------------------


def answered(run: RunFolder, tones: Path, **more: Any) -> Response:
    """Return a response whose audio is in the run folder."""
    audio = audio_ref(next((tones / "emotion" / "audio").glob("*.wav")))
    reply = Reply(text="ja", audio=run.adopt_audio(audio, "audio"), first_audio_seconds=0.2, usage={"t": 3.0})
    facts = {"state": "value", "reply": reply, "seconds": 0.7, "tries": 2, **more}
    return Response(key="k", system="s", task="emotion", sample_id="1", **facts)


def pending(response: Response, **more: Any) -> Response:
    facts = {"key": response.key, "system": response.system, "task": response.task, **more}
    return Response(sample_id=response.sample_id, state="missing", **facts)


def test_a_reused_reply_has_no_times(store: Path, tones: Path, tmp_path: Path) -> None:
    with (
        Cache(store) as cache,
        RunFolder(tmp_path / "a").writing() as one,
        RunFolder(tmp_path / "b").writing() as two,
    ):
        response = answered(one, tones)
        ReuseIndex(cache=cache, run=one).store_response(response)
        again = ReuseIndex(cache=cache, run=two).response(pending(response, task="age"))
        assert again is not None
        assert again.reply is not None
        assert (again.cached, again.seconds, again.reply.first_audio_seconds) == (True, None, None)
        assert (again.task, again.tries, again.reply.text, again.reply.usage) == ("age", 2, "ja", {"t": 3.0})
        copy = again.reply.audio.path  # type: ignore[union-attr]
        assert copy.is_relative_to(two.path)
        assert copy.read_bytes() == response.reply.audio.path.read_bytes()  # type: ignore[union-attr]
        # A copy and not a link, so that a change in one run does not reach another.
        assert copy.stat().st_nlink == 1
        assert cache.tally()["response"]["s"] == CacheCounts(hits=1, stored=1)


@pytest.mark.parametrize(
    "broken",
    [
        {"state": "failed", "reply": None, "reason": "crash"},
        {"state": "failed", "reason": "a reply, but a failed row"},
        {"state": "missing", "reply": None, "reason": "429"},
        {"state": "not applicable", "reply": None, "reason": "text only"},
    ],
)
def test_errors_are_never_stored(store: Path, tones: Path, tmp_path: Path, broken: dict[str, Any]) -> None:
    with Cache(store) as cache, RunFolder(tmp_path / "a").writing() as run:
        reuse = ReuseIndex(cache=cache, run=run)
        reuse.store_response(answered(run, tones, **broken))
        annotation = Annotation(
            key="h", system="s", task="t", sample_id="1", annotator="a", state=broken["state"]
        )
        reuse.store_annotation(annotation)
        assert cache_prune.contents(cache).rows == {"response": 0, "annotation": 0, "verdict": 0}


def test_a_reused_row_is_not_stored_again(store: Path, tones: Path, tmp_path: Path) -> None:
    with Cache(store) as cache, RunFolder(tmp_path / "a").writing() as run:
        ReuseIndex(cache=cache, run=run).store_response(answered(run, tones, cached=True))
        assert cache.tally() == {}


@pytest.mark.parametrize("damage", ["missing", "one byte", "emptied"])
def test_damaged_audio_is_a_miss_and_is_removed(
    store: Path, tones: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        Cache(store) as cache,
        RunFolder(tmp_path / "a").writing() as one,
        RunFolder(tmp_path / "b").writing() as two,
    ):
        response = answered(one, tones)
        ReuseIndex(cache=cache, run=one).store_response(response)
        stored = next(store.glob("audio/??/*"))
        if damage == "missing":
            stored.unlink()
        else:
            content = bytearray(stored.read_bytes())
            content[100] ^= 1
            stored.write_bytes(bytes(content) if damage == "one byte" else b"")
        reuse = ReuseIndex(cache=cache, run=two)
        assert reuse.response(pending(response)) is None
        assert not stored.exists()
        assert list((two.path).glob("audio/*")) == []
        assert cache.tally()["response"]["s"].hits == 0
        assert ("damaged" in caplog.text) == (damage != "missing")
        # Stored again, it is complete.
        reuse.store_response(answered(two, tones))
        assert reuse.response(pending(response)) is not None


def test_a_changed_value_is_a_miss_and_is_removed(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Cache(store) as cache:
        put(cache, "a", {"grade": 4})
    with sqlite3.connect(store / "cache.sqlite3") as database:
        database.execute("""UPDATE rows SET value = '{"grade":5}'""")
    database.close()
    with Cache(store) as cache:
        assert get(cache, "a") is None
        assert cache_prune.contents(cache).rows["verdict"] == 0
    assert "damaged" in caplog.text


def test_an_annotation_is_reused(store: Path, tmp_path: Path) -> None:
    def pending_annotation(sample_id: str) -> Annotation:
        return Annotation(key="h", system="s", task="t", sample_id=sample_id, annotator="a", state="missing")

    with Cache(store) as cache:
        reuse = ReuseIndex(cache=cache, run=RunFolder(tmp_path / "a"))
        assert reuse.annotation(pending_annotation("1")) is None
        annotation = Annotation(
            key="h", system="s", task="t", sample_id="1", annotator="a", state="value", values={"x": [1]}
        )
        reuse.store_annotation(annotation)
        reused = reuse.annotation(pending_annotation("2"))
        assert reused is not None
        assert (reused.sample_id, reused.state, reused.values) == ("2", "value", {"x": [1]})


def test_replies_are_reusable_with_a_fingerprint_and_unless_the_system_opts_out() -> None:
    class Quick(ScriptedSystem):
        cached = False

    assert is_reusable(ScriptedSystem(), "f")
    assert not is_reusable(ScriptedSystem(), None)
    assert not is_reusable(Quick(), "f")


def test_tallies_of_several_commands_add_up() -> None:
    manifest = RunManifest()
    manifest = manifest.with_tally({"response": {"s": CacheCounts(hits=0, stored=3)}})
    manifest = manifest.with_tally(
        {"response": {"s": CacheCounts(hits=3, stored=0)}, "verdict": {"j": CacheCounts(hits=1, stored=0)}}
    )
    assert manifest.cache == {
        "response": {"s": CacheCounts(hits=3, stored=3)},
        "verdict": {"j": CacheCounts(hits=1, stored=0)},
    }
