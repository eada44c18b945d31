"""A run with a judge that listens: columns, destinations, nothing asked twice, and its note under every table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import echat_eval as ev
from echat_eval.judge import ServerIdentity
from echat_eval.ports import Silent
from echat_eval.records import Reply
from echat_eval.report.runs import merge_runs
from echat_eval.scorers.listening_result import ListeningResult, ListeningShare, write_result
from echat_eval.testing import ScriptedChatServer, ScriptedSystem, judge_by_sound
from echat_eval.testing.servers import audio_of, prompt_of
from tests.support.report_runs import english


def evaluate(tones: Path, out: Path, url: str, **judge: Any) -> ev.Run:
    system = ScriptedSystem(lambda request: Reply(text="I see.", audio=request.audio), name="parrot")
    audio = {"model": "m-2026-01-01", "url": url, "listens": True, **judge}
    given: dict[str, Any] = {"data": tones, "tasks": "emotion", "annotators": [], "scorers": "outcome"}
    return ev.evaluate(system, judges={"audio": audio}, out=out, progress=Silent(), cache=False, **given)


def passed(run: ev.Run, right: float, **changed: Any) -> ListeningResult:
    facts = run.folder.manifest().scorers["judged-voice:audio"]
    settings: dict[str, Any] = dict(facts.settings)
    share = ListeningShare(value=right, low=right - 0.05, high=min(1.0, right + 0.05), pairs=72, sentences=36)
    none = ListeningShare(value=0.0, low=0.0, high=0.1, pairs=72, sentences=36)
    found = ListeningResult(
        model="m-2026-01-01",
        rubric="echat-voice-r1",
        fingerprint=str(facts.fingerprint),
        question="q",
        recordings=1,
        right=share,
        winners=none,
        other_voice=none,
        url=settings["url"],
        served=(ServerIdentity(**settings["served"]),),
    )
    return replace(found, **changed)


def test_a_judge_that_listens_fills_its_column_and_is_marked_until_it_passed(
    tones: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with ScriptedChatServer(lambda r: judge_by_sound(prompt_of(r))) as server:
        run = evaluate(tones, out, server.url, match=True)
        sent = len(server.requests)
        run = evaluate(tones, out, server.url, match=True)
        # The system is called again; the judge's verdicts are reused.
        assert len(server.requests) <= sent + 1
        assert all(audio_of(prompt_of(request)) for request in server.requests)
    scores = run.scores()
    assert scores[scores.metric == "judge_audio_voice"].state.eq("value").all()
    match = scores[scores.metric == "judge_audio_listening_match"]
    assert match.value.eq(100).all()  # a reply in the speaker's own pitch answers that voice
    host = server.url.split("/")[2]
    assert {"audio of replies", "query audio"} <= set(run.folder.manifest().destinations[host])

    # Neither of its columns leads a table unless somebody chooses it.
    assert run.leaderboard().board.headline.name == "failed"
    unchecked = "judge audio (m-2026-01-01) has not been put to `check judge --listens`"
    assert unchecked in str(run.leaderboard())
    assert unchecked in merge_runs([run.folder]).voice_notes[0]
    by_voice = run.leaderboard(headline="judge_audio_voice")
    assert by_voice.board.ranking.sets == {}
    assert "No ranks: judge audio (m-2026-01-01) listens and has not passed" in str(by_voice)
    policy = {"margin": 20, "metrics": {"judge_audio_voice": {}}}
    with pytest.raises(ev.UsageError, match="has not passed `check judge --listens`, so that its scores"):
        ev.gate(run, run, policy)
    write_result(out, passed(run, 0.55))
    assert "has not passed `check judge --listens`: its scores of voices may not rank" in str(
        run.leaderboard()
    )
    write_result(out, passed(run, 0.95))
    assert "has passed `check judge --listens`: right about planted prosody in 95 % [90, 100]" in str(
        run.leaderboard()
    )
    assert set(run.leaderboard(headline="judge_audio_voice").board.ranking.sets) == {"parrot"}
    assert ev.gate(run, run, policy).outcome != "regress"
    next(out.glob("listening-*.json")).unlink()
    write_result(out, passed(run, 0.95, fingerprint="0" * 64))
    assert unchecked in str(run.leaderboard())  # another judge's result is not its own
    write_result(out, passed(run, 0.95, url="http://elsewhere:8000/v1"))
    elsewhere = "the result in this folder is of another server (http://elsewhere:8000/v1"
    assert elsewhere in str(run.leaderboard())
    with pytest.raises(ev.UsageError, match="has not passed `check judge --listens`"):
        ev.gate(run, run, policy)


def test_the_page_and_the_tables_carry_the_note(tones: Path, tmp_path: Path) -> None:
    with ScriptedChatServer(lambda r: judge_by_sound(prompt_of(r))) as server:
        run = evaluate(tones, tmp_path / "run", server.url)
    merged = merge_runs([run.folder])
    from echat_eval.report.pack import _tables
    from echat_eval.report.page_data import board_data

    assert merged.voice_notes[0] in [*map(english, board_data(merged, [], set())["notes"])]
    assert all(merged.voice_notes[0] in table.notes for table in _tables(merged, [], None, set()))


def test_the_estimate_counts_the_seconds_of_replies_to_come(tones: Path, tmp_path: Path) -> None:
    audio = {"model": "m-2026-01-01", "url": "http://127.0.0.1:9/v1", "listens": True}
    expected = ev.estimate(
        "echo", data=tones, tasks="emotion", annotators=[], judges={"audio": audio}, out=tmp_path / "run"
    )
    (row,) = expected.to_frame().to_dict("records")
    assert (row["role"], row["calls"], row["audio_in"]) == ("judge", 8, 8 * 100)
