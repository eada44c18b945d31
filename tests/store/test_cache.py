"""The cache: rows and audio that runs share, and errors of the cache that never stop a run."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli.cache import cache as cache_command
from echat_eval.errors import Exit, UsageError
from echat_eval.io.audio import audio_ref
from echat_eval.records import Annotation, Reply, Response
from echat_eval.store import cache_prune
from echat_eval.store.cache import Cache, cache_folder
from echat_eval.store.reuse import ReuseIndex, add_tally, is_reusable
from echat_eval.store.run_folder import RunFolder

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
        assert second.tally() == {"verdict": {"judge": {"hits": 1, "stored": 0}}}


def test_a_row_is_found_before_it_is_written(store: Path) -> None:
    with Cache(store) as cache:
        put(cache, "a", {"n": 1})
        assert get(cache, "a") == {"n": 1}
        assert cache.tally()["verdict"]["judge"] == {"hits": 1, "stored": 1}


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
        assert cache.tally()["verdict"]["judge"] == {"hits": 600, "stored": 600}


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
        assert cache.tally()["response"]["s"] == {"hits": 1, "stored": 1}


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
        assert cache.tally()["response"]["s"]["hits"] == 0
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
    class Quick:
        cached = False

    assert is_reusable(object(), "f")
    assert not is_reusable(object(), None)
    assert not is_reusable(Quick(), "f")


def test_tallies_of_several_commands_add_up() -> None:
    manifest: dict[str, Any] = {}
    add_tally(manifest, {"response": {"s": {"hits": 0, "stored": 3}}})
    add_tally(
        manifest, {"response": {"s": {"hits": 3, "stored": 0}}, "verdict": {"j": {"hits": 1, "stored": 0}}}
    )
    assert manifest["cache"] == {
        "response": {"s": {"hits": 3, "stored": 3}},
        "verdict": {"j": {"hits": 1, "stored": 0}},
    }


# -- errors of the cache ------------------------------------------------------


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def assert_disabled(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """Check that the cache behaves as an empty one and logs exactly one warning."""
    for _ in range(3):
        put(cache, "a", {"n": 1})
        cache.flush()
        assert get(cache, "a") is None
        assert not cache.take_audio("0" * 64, Path("nowhere.wav"))
    cache.close()
    assert len(warnings_of(caplog)) == 1, warnings_of(caplog)
    assert "the run continues without it" in warnings_of(caplog)[0]


def test_a_corrupted_database_disables_the_cache(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    store.mkdir()
    (store / "cache.sqlite3").write_bytes(b"not a database at all, " * 100)
    assert_disabled(Cache(store), caplog)


def test_a_database_with_damaged_pages_disables_the_cache(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Cache(store) as cache:
        for n in range(2000):
            put(cache, f"{n}", {"n": n})
    content = bytearray((store / "cache.sqlite3").read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    (store / "cache.sqlite3").write_bytes(content)
    assert_disabled(Cache(store), caplog)


def test_a_folder_that_cannot_be_created_disables_the_cache(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert_disabled(Cache(tmp_path / "file" / "cache"), caplog)


def test_a_full_disk_disables_the_cache(
    store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(target: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("echat_eval.store.cache.write_whole", full)
    (tmp_path / "x.wav").write_bytes(b"x")
    cache = Cache(store)
    cache.put_audio(tmp_path / "x.wav", "0" * 64)
    assert_disabled(cache, caplog)
    assert "No space left" in caplog.text


def test_without_a_home_folder_the_cache_is_disabled(caplog: pytest.LogCaptureFixture) -> None:
    assert cache_folder({}) is None
    assert_disabled(Cache(None), caplog)


def test_another_layout_disables_the_cache(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    store.mkdir()
    with sqlite3.connect(store / "cache.sqlite3") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    assert_disabled(Cache(store), caplog)


def test_a_read_only_database_disables_the_cache(
    store: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests may run as root, who can write any file, so the database is opened read-only.
    with Cache(store) as cache:
        put(cache, "b", {"n": 2})
    plain = sqlite3.connect
    monkeypatch.setattr(
        "echat_eval.store.cache.sqlite3.connect",
        lambda path, **more: plain(f"file:{path}?mode=ro", uri=True, **more),
    )
    cache = Cache(store)
    for n in range(100):
        put(cache, f"{n}", {"n": n})
    cache.close()
    assert len(warnings_of(caplog)) == 1
    assert "readonly" in warnings_of(caplog)[0]


def test_a_permanent_lock_disables_the_cache(
    store: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echat_eval.store.cache.BUSY", 50)
    Cache(store).close()
    with Cache(store) as cache:
        put(cache, "b", {"n": 2})
    blocker = sqlite3.connect(store / "cache.sqlite3", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        cache = Cache(store)
        put(cache, "a", {"n": 1})
        cache.close()
    finally:
        blocker.close()
    assert len(warnings_of(caplog)) == 1
    assert "locked" in warnings_of(caplog)[0]


# -- pruning --------------------------------------------------------------------


def test_the_rows_used_longest_ago_are_removed_first(store: Path) -> None:
    with Cache(store) as cache:
        for n in range(10):
            put(cache, f"{n}", {"pad": "x" * 990})  # {"pad":"..."} is 1,000 bytes
    for n in range(10):
        set_age(store, f"{n}", 86_400 * (10 - n))
    with Cache(store) as cache:
        assert get(cache, "0") is not None  # used now
        assert cache_prune.prune(cache, limit=3_000) == 7
        assert keys_in(store) == {"0", "8", "9"}
        assert cache_prune.prune(cache, before=time.time() - 1.5 * 86_400) == 1
        assert keys_in(store) == {"0", "9"}


def test_audio_is_removed_with_its_last_row(store: Path, tmp_path: Path) -> None:
    audio = tmp_path / "x.wav"
    audio.write_bytes(b"x" * 5_000)
    sha256 = hashlib.sha256(audio.read_bytes()).hexdigest()
    with Cache(store) as cache:
        cache.put_audio(audio, sha256)
        cache.put("response", "1", {}, owner="s", audio=sha256)
        cache.put("response", "2", {}, owner="s", audio=sha256)
    stored = next(store.glob("audio/??/*"))
    for key, days in (("1", 40), ("2", 1)):
        set_age(store, key, days * 86_400)
    os.utime(stored, (0, 0))
    with Cache(store) as cache:
        assert cache_prune.contents(cache).bytes > 5_000
        assert cache_prune.prune(cache, before=time.time() - 30 * 86_400) == 1
        assert stored.exists()
        assert cache_prune.prune(cache, limit=100) == 1
        assert not stored.exists()


# -- the command --------------------------------------------------------------


def command(store: Path, *words: str, **more: Any) -> Any:
    env = {"ECHAT_EVAL_CACHE": str(store)}
    return CliRunner().invoke(cache_command, list(words), env=env, standalone_mode=False, **more)


def test_the_command_shows_prunes_and_clears(store: Path) -> None:
    assert "size: 0 bytes" in command(store).output
    assert not store.exists()  # showing creates nothing
    with Cache(store) as cache:
        for n in range(3):
            put(cache, f"{n}", {"n": n})
    set_age(store, "0", 40 * 86_400)
    shown = command(store).output
    assert f"folder: {store}" in shown
    assert "verdicts: 3" in shown
    assert "last used: from " in shown
    assert "removed 1 rows" in command(store, "prune", "--older-than", "30d").output
    assert "verdicts: 2" in command(store).output
    assert isinstance(command(store, "clear", input="n\n").exception, Exception)
    assert "verdicts: 2" in command(store).output
    assert "removed" in command(store, "clear", input="y\n").output
    assert "verdicts: 0" in command(store).output


def test_a_broken_cache_can_be_cleared(store: Path) -> None:
    store.mkdir()
    (store / "cache.sqlite3").write_bytes(b"not a database at all, " * 100)
    result = command(store, "clear", "--yes")
    assert result.return_value == Exit.DONE
    with Cache(store) as cache:
        put(cache, "a", {"n": 1})
    with Cache(store) as cache:
        assert get(cache, "a") == {"n": 1}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prune"], "nothing to prune by"),
        (["prune", "--older-than", "soon"], "expected a number and m, h, d or w"),
        (["prune", "--larger-than", "big"], "expected a size"),
    ],
)
def test_misuse_is_reported(store: Path, words: list[str], message: str) -> None:
    result = command(store, *words)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_rows_are_strict_json(store: Path) -> None:
    with Cache(store) as cache:
        put(cache, "a", {"b": 1, "a": "é"})
    with sqlite3.connect(store / "cache.sqlite3") as database:
        (value,) = database.execute("SELECT value FROM rows").fetchone()
    database.close()
    assert value == '{"a":"é","b":1}'
    assert json.loads(value) == {"a": "é", "b": 1}
