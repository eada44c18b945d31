"""The conformance suite finds the faults of an adapter, and none in a correct one."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.errors import BadData, NotApplicable, SystemFailure
from echat_eval.records import Reply, Request
from echat_eval.systems import build_system
from echat_eval.testing import ScriptedSystem, check_system


class Correct(ScriptedSystem):
    """A system without faults, with batches and two calls at once."""

    def __init__(self) -> None:
        super().__init__(self.reply, "correct", calls_at_once=2, batch_size=3, settings={"speed": 1})

    def reply(self, request: Request) -> Any:
        request.audio.path.read_bytes()
        if request.audio.path.stat().st_size < 40:
            raise SystemFailure("truncated file")
        return Reply(text=request.audio.sha256[:8])


def findings_of(system: Any, **settings: Any) -> dict[str, tuple[str, str]]:
    return {f.check: (f.outcome, f.message) for f in check_system(system, **settings)}


def test_correct_system_has_no_fault() -> None:
    findings = findings_of(Correct())
    assert {outcome for outcome, _ in findings.values()} == {"pass"}, findings
    assert {"batch", "2 calls at once", "earlier turns", "60 s of audio", "truncated file"} <= set(findings)


class Talker(Correct):
    """A system with sessions that remember the number of their turns."""

    holds_sessions, forgets = True, False

    def open_session(self, request: Request) -> Any:
        assert request.history == ()
        return _Talk(self.forgets)


class _Talk:
    def __init__(self, forgets: bool) -> None:
        self.turn, self.forgets = 0, forgets

    def respond(self, request: Request) -> Reply:
        assert len(request.history) == 2 * self.turn
        self.turn += 1
        return Reply(text="" if self.forgets and self.turn == 2 else "Yes.")

    def close(self) -> None:
        pass


def test_a_session_of_two_turns_is_held_with_systems_that_have_sessions() -> None:
    assert findings_of(Talker())["session of two turns"][0] == "pass"
    talker = Talker()
    talker.forgets = True
    outcome, message = findings_of(talker)["session of two turns"]
    assert outcome == "fail"
    assert "empty reply" in message
    talker.holds_sessions = False
    assert "session of two turns" not in findings_of(talker)


def changed(**methods: Any) -> Any:
    return type("Changed", (Correct,), methods)()


def refuse_all(_: Any, request: Request) -> Reply:
    raise NotApplicable("nothing is known")


COUNTER = iter(range(10_000))


@pytest.mark.parametrize(
    ("system", "check", "outcome", "message"),
    [
        (
            changed(settings=lambda _: {"key": "sk-abcdefghijklmnopqrst"}),
            "settings",
            "fail",
            "looks like a key",
        ),
        (changed(settings=lambda _: {"x": object()}), "settings", "fail", "not plain JSON"),
        (
            changed(fingerprint=lambda _: str(next(COUNTER))),
            "fingerprint",
            "fail",
            "differs between two calls",
        ),
        (changed(fingerprint=lambda _: None), "fingerprint", "note", "never reused"),
        (changed(fingerprint=lambda _: 5), "fingerprint", "fail", "is 5, a int; expected text"),
        (
            changed(calls_at_once=property(lambda _: 0, lambda *_: None)),
            "calls at once",
            "fail",
            "expected a whole number",
        ),
        (changed(respond=lambda _, r: "hello"), "first request", "fail", "expected a Reply"),
        (changed(respond=lambda _, r: Reply(text="")), "first request", "fail", "empty reply"),
        (changed(respond=refuse_all), "first request", "fail", "nothing is known"),
        (
            changed(respond=lambda _, r: Reply(text=r.id)),
            "same audio, other id",
            "note",
            "must not depend on the id",
        ),
        (
            changed(respond=lambda _, r: Reply(text=str(next(COUNTER)))),
            "same request again",
            "note",
            "not deterministic",
        ),
        (
            changed(respond_batch=lambda s, rs: [s.respond(r) for r in reversed(rs)]),
            "batch",
            "fail",
            "wrong order",
        ),
        (
            changed(respond_batch=lambda s, rs: [s.respond(rs[0])]),
            "batch",
            "fail",
            "replies of 1 requests for 3",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fault_is_found(system: Any, check: str, outcome: str, message: str) -> None:
    findings = findings_of(system)
    assert findings[check][0] == outcome
    assert message in findings[check][1]


def test_object_that_is_no_system_is_reported_once() -> None:
    findings = findings_of(object())
    assert list(findings) == ["members", "stopped"]
    assert "got object without" in findings["members"][1]
    findings = findings_of(Correct)
    assert findings["members"] == ("fail", "system: got the class Correct; expected an object: Correct()")


def test_coroutine_functions_are_awaited() -> None:
    class Asynchronous(Correct):
        loaded = False

        async def load(self) -> None:
            self.loaded = True

        def reply(self, request: Request) -> Any:
            assert self.loaded
            return super().reply(request)

    assert {outcome for outcome, _ in findings_of(Asynchronous()).values()} == {"pass"}


def test_bad_data_is_the_fault_of_one_request() -> None:
    def reply(system: Any, request: Request) -> Any:
        if request.audio.seconds > 30:
            raise BadData("too long")
        return Correct.reply(system, request)

    findings = findings_of(changed(reply=reply))
    assert findings["60 s of audio"] == ("fail", "BadData: too long")
    assert findings["request after the other checks"][0] == "pass"


def test_system_that_stays_broken_after_long_audio_is_found() -> None:
    class Fragile(Correct):
        broken = False

        def reply(self, request: Request) -> Any:
            if self.broken or request.audio.seconds > 30:
                self.broken = True
                raise ValueError("index out of range")
            return super().reply(request)

    findings = findings_of(Fragile())
    assert findings["60 s of audio"] == ("fail", "ValueError: index out of range")
    assert findings["request after the other checks"][0] == "fail"


def test_hanging_call_is_found_and_abandoned() -> None:
    release = threading.Event()

    class Hanging(Correct):
        def reply(self, request: Request) -> Any:
            if request.audio.seconds > 30:
                release.wait(20)
            return super().reply(request)

    started = time.monotonic()
    findings = findings_of(Hanging(), seconds=0.5)
    release.set()
    assert findings["60 s of audio"] == (
        "fail",
        "TimeoutError: no reply in 0.5 s; add a time-out to the adapter",
    )
    assert "still hangs" in findings["stopped"][1]
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("spec", ["echo", "canned", "reference"])
def test_floor_and_oracle_systems_pass(spec: str) -> None:
    findings = findings_of(build_system(spec))
    assert not [f for f in findings.values() if f[0] == "fail"], findings


def test_http_adapter_passes_with_a_correct_server(serve: Callable[..., Any]) -> None:
    def script(h: Any) -> None:
        if h.command == "GET":
            h.reply("v1")
        elif len(h.body) < 60:
            h.reply("truncated file", status=500)
        else:
            h.reply(h.body, "audio/wav")

    findings = findings_of(build_system(serve(script).url, {"calls_at_once": 3, "timeout": 20}))
    assert not [f for f in findings.values() if f[0] == "fail"], findings
    assert "set send=json" in findings["earlier turns"][1]


def test_command_prints_findings_and_sets_the_exit_code(tmp_path: Path) -> None:
    script = tmp_path / "infer.py"
    script.write_text(
        f"#!{sys.executable}\nimport sys, json\nfor line in sys.stdin:\n    q = json.loads(line)\n"
        '    print(json.dumps({"id": q["id"], "text": q["audio"][-12:]}))\n'
    )
    script.chmod(0o755)
    done = CliRunner().invoke(command_line, ["check", "system", f"command:{script}"], standalone_mode=False)
    assert done.return_value == 0, done.output
    assert "ok    first request: 12 characters in " in done.output
    assert "'infer' can be run" in done.output
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no GPU found')\n")
    done = CliRunner().invoke(command_line, ["check", "system", f"command:{script}"], standalone_mode=False)
    assert done.return_value == 1
    assert "FAIL  first request: SystemFailure: the program ended with exit code 1" in done.output
    assert "no GPU found" in done.output


def test_unusable_system_is_reported_once() -> None:
    done = CliRunner().invoke(
        command_line, ["check", "system", "command:./nothere.sh"], standalone_mode=False
    )
    assert done.return_value == 1
    assert done.output.count("no program './nothere.sh'") == 1
    assert "stopped: the other checks need a system that can be used" in done.output
