"""Conformance checks of systems: does a system behave as the runner expects?

They do not measure the quality of replies.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from echat_eval.concurrency import event_loop
from echat_eval.errors import NotApplicable, RowError
from echat_eval.io.audio import audio_ref
from echat_eval.plugins import absent_members
from echat_eval.ports import BatchSystem, Oracle, SessionSystem, System
from echat_eval.records import AudioRef, Reply, Request, Sample, Turn, live_dialogue
from echat_eval.runner.check_reply import validate_and_store_reply
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing.finding import CheckOutcome, Finding, describe_reply, fact, finding_from_error
from echat_eval.testing.part_suite import Called, PartSuite
from echat_eval.testing.requests import stereo_request, tone_request, tone_requests, truncated_audio

__all__ = ["check_system"]


def check_system(
    system: System | Oracle, *, language: str = "en", seconds: float = 120.0
) -> Iterator[Finding]:
    """Load a system, send it requests, close it, and yield a finding for each check.

    Args:
        system: a system or oracle, such as `echat_eval.systems.build_system` returns.
        language: language of the requests.
        seconds: time limit of a call; a slower call fails its check.
    """
    with tempfile.TemporaryDirectory(prefix="echat-eval-check-") as scratch:
        yield from _SystemSuite(system, Path(scratch), language, seconds).run()


class _SystemSuite(PartSuite):
    kind, ports = "system", (System, Oracle)
    results, inputs = "replies", "requests"
    varying: CheckOutcome = "note"

    def __init__(self, system: Any, folder: Path, language: str, seconds: float) -> None:
        super().__init__(system, seconds)
        self.folder, self.language = folder, language
        self.run_folder = RunFolder(folder / "run")

    def checks(self) -> Iterator[Finding]:
        yield from self.load()
        requests = tone_requests(self.folder, self.language)
        first, finding = self._request("first request", requests[0])
        if first is None:
            yield replace(finding, final=True)
            return
        yield finding
        expected = _content(first)
        yield self.repeated("same request again", self._reply_content(requests[0]), expected)
        yield self._other_id(expected, requests[0])
        yield from self._batch(requests)
        yield from self.parallel(lambda request: _content(self._validated_reply(request)), requests)
        yield from self._unusual_audio()
        yield self._history()
        yield from self._dialogue()
        yield self._question()
        yield self._truncated()
        yield self._request("request after the other checks", requests[1])[1]
        yield from self.reload(lambda: self._request("request after closing and reloading", requests[2])[1])

    # -- requests -------------------------------------------------------------------

    def _respond(self, request: Request) -> Reply:
        if not isinstance(self.part, Oracle):
            return event_loop.call(self.part.respond, request)  # type: ignore[no-any-return]
        sample = Sample(
            task="check",
            id=request.id,
            audio=request.audio,
            transcript="I passed the exam today.",
            cues={"emotion": "happy"},
            language=request.language,
            source="synthetic",
            references=("Wonderful!",),
            history=request.history,
            instruction=request.instruction,
            asks="emotion" if request.instruction else None,
        )
        return event_loop.call(self.part.respond_to, sample)  # type: ignore[no-any-return]

    def _validated_reply(self, request: Request) -> Reply:
        reply = self._respond(request)
        if isinstance(reply, Reply) and isinstance(reply.audio, AudioRef):
            audio_ref(reply.audio.path)
        return validate_and_store_reply(reply, self.run_folder)

    def _request(self, check: str, request: Request) -> tuple[Reply | None, Finding]:
        started = time.monotonic()
        reply, error = self.calls.call(lambda: self._validated_reply(request))
        if error is None:
            elapsed = time.monotonic() - started
            message = " and ".join(describe_reply(reply)) + f" in {elapsed:.2f} s"
            return reply, Finding(outcome="pass", check=check, message=message)
        return None, finding_from_error(check, error)

    def _reply_or_refusal(self, check: str, request: Request, *, refusable: bool = True) -> Finding:
        """Return a finding for a request where a reply and a typed error are both correct."""
        reply, error = self.calls.call(lambda: self._validated_reply(request))
        if error is None:
            return Finding(
                outcome="pass", check=check, message="replied with " + " and ".join(describe_reply(reply))
            )
        if isinstance(error, NotApplicable) or (refusable and isinstance(error, RowError)):
            kind = type(error).__name__
            return Finding(outcome="pass", check=check, message=f"refused ({kind}): {error}")
        return finding_from_error(check, error)

    def _reply_content(self, request: Request) -> Called:
        return self.calls.call(lambda: _content(self._validated_reply(request)))

    # -- checks ---------------------------------------------------------------------

    def _other_id(self, expected: object, request: Request) -> Finding:
        called = self._reply_content(replace(request, id="another-id"))
        hint = "; replies must not depend on the id"
        return self.same("same audio, other id", called, expected, hint=hint, outcome="note")

    def _batch(self, requests: Sequence[Request]) -> Iterator[Finding]:
        if not isinstance(self.part, BatchSystem):
            message = "no respond_batch; requests are sent one by one"
            if absent_members(self.part, BatchSystem) == ["batch_size"]:
                message = "respond_batch without batch_size; requests are sent one by one"
            yield Finding(outcome="note", check="batch", message=message)
            return
        batch = self.call(self.part.respond_batch, list(requests))
        if batch[1] is None:
            batch = self.calls.call(lambda: [self._stored(reply) for reply in batch[0]])
        single = self.calls.call(lambda: [_content(self._validated_reply(r)) for r in requests])
        yield self.batch(batch, single, len(requests))

    def _stored(self, reply: Reply) -> tuple[str | None, str | None]:
        return _content(validate_and_store_reply(reply, self.run_folder))

    def _unusual_audio(self) -> Iterator[Finding]:
        checks: tuple[tuple[str, Callable[[], Request]], ...] = (
            ("10 ms of silence", lambda: tone_request(self.folder, "silence", 0.0, 0.01, self.language)),
            ("60 s of audio", lambda: tone_request(self.folder, "long", 220.0, 60.0, self.language)),
            ("stereo FLAC at 44.1 kHz", lambda: stereo_request(self.folder, self.language)),
        )
        for check, request in checks:
            yield self._reply_or_refusal(check, request())

    def _history(self) -> Finding:
        earlier, request = tone_requests(self.folder, self.language, 2)
        turns = (
            Turn(role="user", audio=earlier.audio, text="Hello."),
            Turn(role="assistant", text="Hello, how are you?"),
        )
        return self._reply_or_refusal("earlier turns", replace(request, history=turns), refusable=False)

    def _dialogue(self) -> Iterator[Finding]:
        """Hold a dialogue of two turns in a session, if the system has sessions."""
        system = self.part
        if not isinstance(system, SessionSystem) or not system.holds_sessions:
            return
        first, second = tone_requests(self.folder, self.language, 2)

        def hold() -> Reply:
            session = event_loop.call(system.open_session, first)
            try:
                reply = validate_and_store_reply(event_loop.call(session.respond, first), self.run_folder)
                history = live_dialogue((Turn(role="user", audio=first.audio),), (reply,))
                last = event_loop.call(session.respond, replace(second, history=history))
                return validate_and_store_reply(last, self.run_folder)
            finally:
                event_loop.call(session.close)

        reply, error = self.calls.call(hold)
        if error is not None:
            yield finding_from_error("session of two turns", error)
        else:
            message = "replied with " + " and ".join(describe_reply(reply))
            yield Finding(outcome="pass", check="session of two turns", message=message)

    def _question(self) -> Finding:
        request = tone_requests(self.folder, self.language, 1)[0]
        question = replace(
            request, instruction="Which emotion do you hear? Answer with one word: happy, sad."
        )
        return self._reply_or_refusal("question about the audio", question, refusable=False)

    def _truncated(self) -> Finding:
        request = Request(id="truncated", audio=truncated_audio(self.folder), language=self.language)
        _, error = self.calls.call(lambda: self._validated_reply(request))
        if isinstance(error, TimeoutError) and self.calls.hung:
            return finding_from_error("truncated file", error)
        if error is None:
            return Finding(outcome="note", check="truncated file", message="replied nevertheless")
        return fact("truncated file", True, f"raised {type(error).__name__}")


def _content(reply: Reply) -> tuple[str | None, str | None]:
    return reply.text, reply.audio.sha256 if isinstance(reply.audio, AudioRef) else None
