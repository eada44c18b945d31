"""Replies from a JSONL file or a folder as a system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import BadData
from echat_eval.store.keys import request_for
from echat_eval.systems import build_system
from echat_eval.task import load_task
from tests.support.scripted_run import evaluated
from tests.support.tones import write_tone


def replay(out: Path, data: Path, replies: Path) -> Any:
    system = build_system(f"mine=replay:{replies}")
    run = evaluated(out, data, system, retry_policy=RetryPolicy(tries=1))
    return run, system


def requests_of(data: Path) -> list[Any]:
    return [request_for(sample) for sample in load_task("emotion", data=data).samples]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_replies_may_have_any_order(tmp_path: Path, tones: Path) -> None:
    requests = requests_of(tones)
    rows = [
        {"id": r.id, "text": f"to {r.audio.sha256[:6]}", "perceived": {"emotion": "sad"}}
        for r in reversed(requests)
    ]
    run, _ = replay(tmp_path / "run", tones, write(tmp_path / "r.jsonl", rows))
    assert sorted(r.reply.text for r in run.responses().values()) == sorted(row["text"] for row in rows)


def test_files_may_be_named_by_request_id_or_audio_hash(tmp_path: Path, tones: Path) -> None:
    for n, request in enumerate(requests_of(tones)):
        write_tone(tmp_path / "out" / f"{request.id if n % 2 else request.audio.sha256}.wav", 300 + n)
        (tmp_path / "out" / f"{request.id if n % 2 else request.audio.sha256}.txt").write_text(f"reply {n}\n")
    run, system = replay(tmp_path / "run", tones, tmp_path / "out")
    assert {r.state for r in run.responses().values()} == {"value"}
    assert not system.unclaimed(requests_of(tones))


def test_missing_and_unmatched_replies_are_reported(tmp_path: Path, tones: Path) -> None:
    requests = requests_of(tones)
    rows = [{"id": r.id, "text": "hello"} for r in requests[1:]] + [{"id": "stranger", "text": "hello"}]
    run, system = replay(tmp_path / "run", tones, write(tmp_path / "r.jsonl", rows))
    missing = [r for r in run.responses().values() if r.state == "missing"]
    assert len(missing) == 1
    assert requests[0].id in missing[0].reason
    assert system.unclaimed(requests) == ["stranger"]


def test_an_absent_reply_is_looked_for_once_and_without_a_wait(
    tmp_path: Path, tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: pytest.fail("a wait for a file"))
    system = build_system(f"mine=replay:{write(tmp_path / 'r.jsonl', [{'id': 'nobody', 'text': 'x'}])}")
    folder = evaluated(tmp_path / "run", tones, system, retry_policy=RetryPolicy())
    assert {(r.state, r.tries) for r in folder.responses().values()} == {("missing", 1)}


def test_absent_audio_is_missing_until_it_is_added(tmp_path: Path, tones: Path) -> None:
    rows = [{"id": r.id, "audio": "late.wav"} for r in requests_of(tones)]
    file = write(tmp_path / "r.jsonl", rows)
    run, _ = replay(tmp_path / "run", tones, file)
    assert {r.state for r in run.responses().values()} == {"missing"}
    assert all("'late.wav'" in (r.reason or "") for r in run.responses().values())
    write_tone(tmp_path / "late.wav", 300)
    run, _ = replay(tmp_path / "run", tones, file)
    assert {r.state for r in run.responses().values()} == {"value"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": ""}, "empty reply"),
        ({"error": "out of memory"}, "out of memory"),
        ({"audio": "../secret.wav"}, "leaves the folder"),
        ({"audio": "torn.wav"}, "broken reply audio"),
    ],
)
def test_a_bad_reply_is_a_failure(tmp_path: Path, tones: Path, row: dict[str, Any], reason: str) -> None:
    write_tone(tmp_path / "secret.wav", 300)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "torn.wav").write_bytes((tmp_path / "secret.wav").read_bytes()[:30])
    rows = [{"id": r.id, **row} for r in requests_of(tones)]
    run, _ = replay(tmp_path / "run", tones, write(tmp_path / "in" / "r.jsonl", rows))
    assert {r.state for r in run.responses().values()} == {"failed"}
    assert all(reason in (r.reason or "") for r in run.responses().values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a", "txt": "x"}', "r.jsonl:1: unknown key 'txt'"),
        ('{"text": "x"}', "r.jsonl:1: expected non-empty text as 'id'"),
        ('{"id": "a", "text": 3}', "r.jsonl:1: 'text' is 3, expected text"),
        ('{"id": "a"}\n{"id": "a"}', "r.jsonl:2: a second reply for id 'a'"),
        ('{"text": NaN}', "r.jsonl:1: not strict JSON"),
        ("hello", "r.jsonl:1: not strict JSON"),
    ],
)
def test_a_bad_file_is_refused_with_the_line(tmp_path: Path, tones: Path, content: str, message: str) -> None:
    (tmp_path / "r.jsonl").write_text(content + "\n")
    with pytest.raises(BadData, match=r"r\.jsonl") as caught:
        replay(tmp_path / "run", tones, tmp_path / "r.jsonl")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (r'"error": "\ud800"', "lone surrogate"),
        (r'"text": "hi", "finish_reason": "\ud800"', "lone surrogate"),
        (r'"text": "hi", "perceived": {"emotion": "\ud800"}', "lone surrogate"),
        (r'"text": "hi", "usage": {"n": 1e999}', "too large"),
        (r'"text": "hi", "usage": {"n": NaN}', "NaN is not JSON"),
        (r'"text": "hi", "usage": {"\udc00": 1}', "lone surrogate"),
        (r'"text": "hi", "\udc00": 1', "lone surrogate"),
        (r'"text": "hi", "audio": "a\u0000b.wav"', "no such file"),
        (r'"text": "hi", "audio": "\ud800.wav"', "lone surrogate"),
        (r'"text": "hi", "usage": {"n": ' + "9" * 400 + "}", "expected"),
    ],
)
def test_a_value_that_cannot_be_stored_fails_its_reply_alone(
    tmp_path: Path, tones: Path, values: str, reason: str
) -> None:
    first, *others = requests_of(tones)
    lines = [f'{{"id": "{first.id}", {values}}}', *(f'{{"id": "{r.id}", "text": "hi"}}' for r in others)]
    (tmp_path / "r.jsonl").write_text("\n".join(lines) + "\n")
    run, _ = replay(tmp_path / "run", tones, tmp_path / "r.jsonl")
    failed = [r for r in run.responses().values() if r.state == "failed"]
    assert [reason in (r.reason or "") for r in failed] == [True]
    assert len(run.responses()) == 1 + len(others)


def test_a_text_that_is_a_link_out_of_the_folder_fails(tmp_path: Path, tones: Path) -> None:
    (tmp_path / "secret").write_text("the secret")
    (tmp_path / "in").mkdir()
    for request in requests_of(tones):
        (tmp_path / "in" / f"{request.id}.txt").symlink_to(tmp_path / "secret")
    run, _ = replay(tmp_path / "run", tones, tmp_path / "in")
    assert {r.state for r in run.responses().values()} == {"failed"}
    assert all("a link that leaves" in (r.reason or "") for r in run.responses().values())


def test_changed_replies_replace_the_earlier_ones(tmp_path: Path, tones: Path) -> None:
    requests = requests_of(tones)
    path = write(tmp_path / "r.jsonl", [{"id": r.id, "text": "one"} for r in requests])
    replay(tmp_path / "run", tones, path)
    run, _ = replay(tmp_path / "run", tones, write(path, [{"id": r.id, "text": "two"} for r in requests]))
    assert {r.reply.text for r in run.responses().values()} == {"two"}
