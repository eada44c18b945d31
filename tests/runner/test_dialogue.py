"""Live dialogues: the runner asks turn by turn, passes the system's own replies on, and never continues half."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.analysis.run_tables import responses_table
from echat_eval.errors import NotApplicable, SystemFailure, Unavailable
from echat_eval.records import AudioRef, Reply, Request, Response, Sample
from echat_eval.store.forget import _reply_audio
from echat_eval.store.keys import request_for
from echat_eval.store.turns import cases_of_turns, query_audios, reply_audios
from echat_eval.task import Task, load_task
from echat_eval.testing import ScriptedOracle, ScriptedSystem
from tests.support.scripted_parts import hum, length, loudness
from tests.support.scripted_run import QUICK_RETRY, evaluated
from tests.support.tones import write_dialogues


@pytest.fixture
def dialogues(tmp_path: Path) -> Task:
    """Two groups of two dialogues of three turns."""
    write_dialogues(tmp_path)
    return load_task("emotion", data=tmp_path)


def one(task: Task) -> Task:
    return replace(task, samples=(replace(task.samples[0], contrast_group=None),))


def summary(request: Request) -> str:
    """Reply with the number of turns of the history, and the last reply in it."""
    last = request.history[-1].text if request.history else "nothing"
    return f"{len(request.history)} after [{last}]"


def test_each_turn_gets_the_systems_own_replies_as_history(dialogues: Task, tmp_path: Path) -> None:
    system = ScriptedSystem(summary)
    run = evaluated(tmp_path / "run", one(dialogues), system)
    sample = one(dialogues).samples[0]
    sounds = [turn.audio and turn.audio.sha256 for turn in sample.turns or ()]
    assert [request.audio.sha256 for request in system.requests] == [*sounds, sample.audio.sha256]
    first, second, last = system.requests
    assert first.history == ()
    assert first.turns is second.turns is last.turns is None
    assert [(t.role, t.text, t.audio and t.audio.sha256) for t in last.history] == [
        ("user", None, sounds[0]),
        ("assistant", "0 after [nothing]", None),
        ("user", None, sounds[1]),
        ("assistant", "2 after [0 after [nothing]]", None),
    ]
    assert len({request.id for request in system.requests}) == 3
    (response,) = run.responses().values()
    assert (response.state, response.tries) == ("value", 1)
    assert response.seconds is not None
    assert [reply.text for reply in response.turns or ()] == [
        "0 after [nothing]",
        "2 after [0 after [nothing]]",
    ]
    assert response.reply is not None
    assert response.reply.text == f"4 after [{last.history[-1].text}]"


def test_the_voice_of_earlier_replies_is_stored_and_passed_on(dialogues: Task, tmp_path: Path) -> None:
    system = ScriptedSystem(hum)
    run = evaluated(tmp_path / "run", one(dialogues), system)
    (response,) = run.responses().values()
    stored = [reply.audio for reply in response.turns or ()]
    assert len(stored) == 2
    assert all(isinstance(a, AudioRef) and a.path.is_file() and a.path.parent.name == "audio" for a in stored)
    assert [turn.audio for turn in system.requests[-1].history[1::2]] == stored
    assert run.samples()[0].turns is not None
    assert response.reply is not None
    assert list(reply_audios(response)) == [response.reply.audio, *stored]
    removed = {
        *(audio.path for audio in query_audios(run.samples()[0])),
        *_reply_audio(run, {("emotion", "s0h")}, removed=True),
    }
    assert set(run.path.rglob("*.wav")) <= removed  # nothing of a speaker stays


def test_the_table_of_responses_has_the_earlier_replies(dialogues: Task, tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run", one(dialogues), ScriptedSystem(summary))
    (held,) = responses_table(run)["earlier_replies"]
    assert held == ("0 after [nothing]", "2 after [0 after [nothing]]")
    plain = replace(dialogues, samples=(replace(one(dialogues).samples[0], turns=None),))
    table = responses_table(evaluated(tmp_path / "plain", plain, ScriptedSystem(summary)))
    assert "earlier_replies" not in table.columns


def test_the_same_command_asks_nothing_again_and_another_turn_asks_the_whole(
    dialogues: Task, tmp_path: Path
) -> None:
    evaluated(tmp_path / "run", dialogues, ScriptedSystem(summary))
    again = ScriptedSystem(summary)
    evaluated(tmp_path / "run", dialogues, again)
    assert again.requests == []
    sample = dialogues.samples[0]
    assert sample.turns is not None
    swapped = replace(sample, turns=sample.turns[::-1])
    assert request_for(swapped) != request_for(sample)
    renamed = replace(sample, turns=tuple(replace(turn, text="?", cues=None) for turn in sample.turns))
    assert request_for(renamed) == request_for(sample)  # no system gets words or labels


@pytest.mark.parametrize(
    ("error", "state", "calls"),
    [
        (SystemFailure("out of memory"), "failed", 4),
        (Unavailable("no answer", retry_after=0.0), "missing", 4),
        (NotApplicable("takes no history"), "not applicable", 2),
    ],
)
def test_an_error_in_an_earlier_turn_ends_the_dialogue_and_names_the_turn(
    dialogues: Task, tmp_path: Path, error: Exception, state: str, calls: int
) -> None:
    def answer(request: Request) -> str:
        if len(request.history) == 2:
            raise error
        return "Yes."

    system = ScriptedSystem(answer)
    run = evaluated(tmp_path / "run", one(dialogues), system, scorers=[length()])
    (response,) = run.responses().values()
    assert (response.state, response.reason) == (state, f"turn 2 of 3: {error}")
    assert response.reply is None
    assert response.turns is None
    # Each try begins with the first turn.
    assert [len(request.history) for request in system.requests] == [0, 2][:calls] * (calls // 2)
    (score,) = run.scores().values()
    assert score.state == state


def test_an_empty_reply_to_an_earlier_turn_is_a_failure(dialogues: Task, tmp_path: Path) -> None:
    system = ScriptedSystem(lambda request: Reply(text="Yes." if request.history else " "))
    run = evaluated(tmp_path / "run", one(dialogues), system)
    (response,) = run.responses().values()
    assert response.state == "failed"
    assert response.reason == "turn 1 of 3: empty reply: neither text nor audio"


def test_a_broken_dialogue_is_asked_again_whole_by_the_next_command(dialogues: Task, tmp_path: Path) -> None:
    broken = ScriptedSystem(
        lambda request: "Yes." if len(request.history) < 4 else Unavailable("gone", retry_after=0.0)
    )
    policy = replace(QUICK_RETRY, tries=1)
    run = evaluated(tmp_path / "run", one(dialogues), broken, retry_policy=policy)
    assert [r.state for r in run.responses().values()] == ["missing"]
    whole = ScriptedSystem(summary)
    run = evaluated(tmp_path / "run", one(dialogues), whole)
    assert [len(request.history) for request in whole.requests] == [0, 2, 4]
    assert [r.state for r in run.responses().values()] == ["value"]


class Sessions(ScriptedSystem):
    """A system that counts the turns of its sessions, and loses some of them."""

    holds_sessions = True

    def __init__(self, lost: int = 0, asynchronous: bool = False) -> None:
        super().__init__(summary)
        self.log: list[str] = []
        self.lost, self.slow = lost, asynchronous

    def open_session(self, request: Request) -> Any:
        assert request.history == ()
        self.log.append("open")
        return _Slow(self) if self.slow else _Session(self)


class _Session:
    def __init__(self, owner: Sessions) -> None:
        self.owner, self.heard = owner, 0

    def respond(self, request: Request) -> Reply:
        assert len(request.history) == 2 * self.heard
        self.heard += 1
        if self.heard == 2 and self.owner.lost:
            self.owner.lost -= 1
            raise Unavailable("the session has expired", retry_after=0.0)
        self.owner.log.append(f"turn {self.heard}")
        return Reply(text=f"heard {self.heard}")

    def close(self) -> None:
        self.owner.log.append("close")
        raise OSError("already closed")


class _Slow(_Session):
    async def respond(self, request: Request) -> Reply:  # type: ignore[override]
        return super().respond(request)

    async def close(self) -> None:  # type: ignore[override]
        super().close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_system_with_sessions_holds_one_per_dialogue(
    dialogues: Task, tmp_path: Path, asynchronous: bool
) -> None:
    system = Sessions(asynchronous=asynchronous)
    run = evaluated(tmp_path / "run", one(dialogues), system)
    assert system.log == ["open", "turn 1", "turn 2", "turn 3", "close"]
    assert system.requests == []
    (response,) = run.responses().values()
    assert [reply.text for reply in response.turns or ()] == ["heard 1", "heard 2"]


def test_an_expired_session_begins_the_dialogue_again(dialogues: Task, tmp_path: Path) -> None:
    system = Sessions(lost=1)
    run = evaluated(tmp_path / "run", one(dialogues), system)
    assert system.log == ["open", "turn 1", "close", "open", "turn 1", "turn 2", "turn 3", "close"]
    (response,) = run.responses().values()
    assert (response.state, response.tries) == ("value", 2)
    run = evaluated(tmp_path / "lost", one(dialogues), Sessions(lost=9))
    (response,) = run.responses().values()
    assert (response.state, response.reason) == ("missing", "turn 2 of 3: the session has expired")


def test_dialogues_stay_out_of_batches(dialogues: Task, tmp_path: Path) -> None:
    plain = replace(dialogues.samples[3], turns=None, contrast_group=None)
    task = replace(dialogues, samples=(*one(dialogues).samples, plain))
    system = ScriptedSystem(summary, batch_size=4)
    run = evaluated(tmp_path / "run", task, system)
    replies = [str(r.reply.text) for r in run.responses().values() if r.reply is not None]
    assert sorted(replies) == ["0 after [nothing]", "4 after [2 after [0 after [nothing]]]"]


def test_an_oracle_gets_the_labels_of_every_turn(dialogues: Task, tmp_path: Path) -> None:
    oracle = ScriptedOracle(lambda sample: f"{sample.transcript} {dict(sample.cues)} {len(sample.history)}")
    run = evaluated(tmp_path / "run", one(dialogues), oracle)
    (response,) = run.responses().values()
    assert [reply.text for reply in response.turns or ()] == [
        "turn 1 of g0 {'emotion': 'neutral'} 0",
        "turn 2 of g0 {} 2",
    ]
    assert oracle.samples[1].contrast_group is None
    assert oracle.samples[1].references == ()
    assert response.reply is not None
    assert response.reply.text == "sentence number 0 {'emotion': 'happy'} 4"


def test_stages_measure_the_last_reply_and_cases_hold_the_whole(dialogues: Task, tmp_path: Path) -> None:
    scorer = length()
    evaluated(tmp_path / "run", dialogues, ScriptedSystem(hum), annotators=[loudness()], scorers=[scorer])
    case = next(case for case in scorer.cases if case.sample.id == "s0h")
    assert [(turn.role, turn.text) for turn in case.history[::2]] == [
        ("user", "turn 1 of g0"),
        ("user", "turn 2 of g0"),
    ]
    assert len(case.history) == 4
    assert case.annotations
    first, second, last = cases_of_turns(case)
    assert (first.sample.transcript, first.history, dict(first.sample.cues)) == (
        "turn 1 of g0",
        (),
        {"emotion": "neutral"},
    )
    assert second.history == case.history[:2]
    assert second.annotations == {}
    assert last.history == case.history
    assert last.annotations == case.annotations
    turns = case.response.turns or ()
    assert [c.response.reply for c in (first, second, last)] == [*turns, case.response.reply]


def test_another_reply_to_an_earlier_turn_is_another_case() -> None:
    from echat_eval.store.keys import case_digest
    from tests.support.cases import SOUND

    sample = Sample(
        task="t", id="a", audio=SOUND, transcript="x", cues={}, language="en", source="real", turns=()
    )
    response = Response(key="k", system="s", task="t", sample_id="a", state="value", reply=Reply(text="Yes."))
    found = {
        case_digest(sample, replace(response, turns=turns))
        for turns in (None, (), (Reply(text="Go on."),), (Reply(text="Go on!"),))
    }
    assert len(found) == 4


def test_an_estimate_counts_a_call_for_every_turn_and_bounds_none_after_the_first(dialogues: Task) -> None:
    from echat_eval.cost.tokens import MessageSize
    from echat_eval.runner.estimate import _sizes_of

    class Metered(ScriptedSystem):
        def size_of(self, request: Request) -> MessageSize:
            texts = tuple(turn.text or "" for turn in request.history)
            return MessageSize(texts=texts, audio_seconds=request.audio.seconds, max_tokens=10)

    system: Any = Metered(summary)
    sizes = _sizes_of(system, request_for(dialogues.samples[0]))
    assert [len(size.texts) for size in sizes] == [0, 2, 4]
    assert [size.upper_bound() is None for size in sizes] == [False, True, True]
    plain = replace(dialogues.samples[0], turns=None)
    assert len(_sizes_of(system, request_for(plain))) == 1
