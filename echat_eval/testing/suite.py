"""Conformance checks of systems: does a system behave as the runner expects?

They do not measure the quality of replies.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.concurrency import event_loop
from echat_eval.errors import NotApplicable, RowError
from echat_eval.io.audio import audio_ref
from echat_eval.records import AudioRef, Reply, Request, Sample, Turn
from echat_eval.runner.check_reply import validate_and_store_reply
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing.finding import Finding, check_facts, describe_reply, finding_from_error
from echat_eval.testing.requests import stereo_request, tone_request, tone_requests, truncated_audio
from echat_eval.testing.timed_calls import TimedCalls

if TYPE_CHECKING:
    from echat_eval.ports import Oracle, System

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
    for fact in check_facts(system):
        yield fact
        if fact.final:
            yield Finding(
                outcome="note", check="stopped", message="the other checks need a system that can be used"
            )
            return
    with tempfile.TemporaryDirectory(prefix="echat-eval-check-") as scratch:
        suite = _Suite(system, Path(scratch), language, seconds)
        try:
            yield from suite.run()
        finally:
            suite.close()


class _Suite:
    """The checks of one system; the time of every call is limited."""

    def __init__(self, system: Any, folder: Path, language: str, seconds: float) -> None:
        self.system = system
        self.folder, self.language = folder, language
        self.run_folder = RunFolder(folder / "run")
        self.oracle = hasattr(system, "respond_to")
        self.calls = TimedCalls(seconds)
        self._call = self.calls.call

    def run(self) -> Iterator[Finding]:
        """Yield the findings of all checks; stop when the remaining ones cannot succeed."""
        for finding in self._load():
            yield finding
            if finding.final:
                message = "the other checks need a system that can be loaded"
                yield Finding(outcome="note", check="stopped", message=message)
                return
        requests = tone_requests(self.folder, self.language)
        first, finding = self._request("first request", requests[0])
        yield finding
        if first is None:
            message = "the other checks need a system that replies"
            yield Finding(outcome="note", check="stopped", message=message)
            return
        checks: tuple[Callable[[], Iterator[Finding]], ...] = (
            lambda: self._repeat(first, requests[0]),
            lambda: self._other_id(first, requests[0]),
            lambda: self._batch(requests),
            lambda: self._parallel(requests),
            self._silence,
            self._long,
            self._other_format,
            self._history,
            self._question,
            self._truncated,
            lambda: self._after_faults(requests[1]),
            lambda: self._after_reload(requests[2]),
        )
        for check in checks:
            if self.calls.hung:
                yield Finding(
                    outcome="note",
                    check="stopped",
                    message="a call still hangs; the other checks were skipped",
                )
                return
            yield from check()

    def close(self) -> None:
        """Close the system, unless a call still hangs in it."""
        if not self.calls.hung:
            getattr(self.system, "close", lambda: None)()

    # -- requests -------------------------------------------------------------------

    def _respond(self, request: Request) -> Reply:
        if not self.oracle:
            return event_loop.call(self.system.respond, request)  # type: ignore[no-any-return]
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
        return event_loop.call(self.system.respond_to, sample)  # type: ignore[no-any-return]

    def _validated_reply(self, request: Request) -> Reply:
        reply = self._respond(request)
        if isinstance(reply, Reply) and isinstance(reply.audio, AudioRef):
            audio_ref(reply.audio.path)
        return validate_and_store_reply(reply, self.run_folder)

    def _request(self, check: str, request: Request) -> tuple[Reply | None, Finding]:
        started = time.monotonic()
        reply, error = self._call(lambda: self._validated_reply(request))
        if error is None:
            elapsed = time.monotonic() - started
            message = " and ".join(describe_reply(reply)) + f" in {elapsed:.2f} s"
            return reply, Finding(outcome="pass", check=check, message=message)
        return None, finding_from_error(check, error)

    def _reply_or_refusal(self, check: str, request: Request, *, refusable: bool = True) -> Finding:
        """Return a finding for a request where a reply and a typed error are both correct."""
        reply, error = self._call(lambda: self._validated_reply(request))
        if error is None:
            return Finding(
                outcome="pass", check=check, message="replied with " + " and ".join(describe_reply(reply))
            )
        if isinstance(error, NotApplicable) or (refusable and isinstance(error, RowError)):
            kind = type(error).__name__
            return Finding(outcome="pass", check=check, message=f"refused ({kind}): {error}")
        return finding_from_error(check, error)

    # -- checks ---------------------------------------------------------------------

    def _load(self) -> Iterator[Finding]:
        if hasattr(self.system, "load"):
            _, error = self._call(self.system.load)
            if error is not None:
                yield finding_from_error("load", error)
            else:
                yield Finding(outcome="pass", check="load", message="done")

    def _repeat(self, first: Reply, request: Request) -> Iterator[Finding]:
        repeated, finding = self._request("same request again", request)
        if repeated is None:
            yield finding
        elif _content(repeated) == _content(first):
            yield Finding(outcome="pass", check="same request again", message="same reply")
        else:
            message = "different reply: the system is not deterministic; repeat requests, or set a seed"
            yield Finding(outcome="note", check="same request again", message=message)

    def _other_id(self, first: Reply, request: Request) -> Iterator[Finding]:
        repeated, finding = self._request("same audio, other id", replace(request, id="another-id"))
        yield (
            finding
            if repeated is None or _content(repeated) == _content(first)
            else Finding(
                outcome="note",
                check="same audio, other id",
                message="different reply; replies must not depend on the id",
            )
        )

    def _batch(self, requests: Sequence[Request]) -> Iterator[Finding]:
        if not hasattr(self.system, "respond_batch"):
            yield Finding(
                outcome="note", check="batch", message="no respond_batch; requests are sent one by one"
            )
            return
        replies, error = self._call(lambda: list(self.system.respond_batch(list(requests))))
        if error is not None:
            yield finding_from_error("batch", error)
            return
        if len(replies) != len(requests):
            message = f"{len(replies)} replies to {len(requests)} requests"
            yield Finding(outcome="fail", check="batch", message=message)
            return
        batched, error = self._call(
            lambda: [_content(validate_and_store_reply(r, self.run_folder)) for r in replies]
        )
        single, single_error = self._call(lambda: [_content(self._validated_reply(r)) for r in requests])
        if error is not None or single_error is not None:
            yield finding_from_error("batch", error or single_error or RuntimeError("unknown"))
        elif batched == single:
            yield Finding(outcome="pass", check="batch", message="same replies as one by one, in order")
        elif len(set(map(str, single))) > 1 and sorted(map(str, batched)) == sorted(map(str, single)):
            yield Finding(outcome="fail", check="batch", message="the right replies in the wrong order")
        else:
            yield Finding(outcome="note", check="batch", message="replies differ from those one by one")

    def _parallel(self, requests: Sequence[Request]) -> Iterator[Finding]:
        limit = getattr(self.system, "calls_at_once", 1)
        if limit == 1:
            return
        check = f"{min(limit, 4)} calls at once"

        def run_all() -> list[Any]:
            with ThreadPoolExecutor(max_workers=min(limit, 4)) as pool:
                return list(pool.map(lambda r: _content(self._validated_reply(r)), [*requests, *requests]))

        contents, error = self._call(run_all)
        if error is not None:
            yield finding_from_error(check, error)
        elif contents[: len(requests)] == contents[len(requests) :]:
            yield Finding(outcome="pass", check=check, message="same replies to the same requests")
        else:
            message = "different replies to the same requests: not deterministic, or calls are mixed up"
            yield Finding(outcome="note", check=check, message=message)

    def _silence(self) -> Iterator[Finding]:
        yield self._reply_or_refusal(
            "10 ms of silence", tone_request(self.folder, "silence", 0.0, 0.01, self.language)
        )

    def _long(self) -> Iterator[Finding]:
        yield self._reply_or_refusal(
            "60 s of audio", tone_request(self.folder, "long", 220.0, 60.0, self.language)
        )

    def _other_format(self) -> Iterator[Finding]:
        request = stereo_request(self.folder, self.language)
        yield self._reply_or_refusal("stereo FLAC at 44.1 kHz", request)

    def _history(self) -> Iterator[Finding]:
        earlier, request = tone_requests(self.folder, self.language, 2)
        turns = (
            Turn(role="user", audio=earlier.audio, text="Hello."),
            Turn(role="assistant", text="Hello, how are you?"),
        )
        yield self._reply_or_refusal("earlier turns", replace(request, history=turns), refusable=False)

    def _question(self) -> Iterator[Finding]:
        request = tone_requests(self.folder, self.language, 1)[0]
        question = replace(
            request, instruction="Which emotion do you hear? Answer with one word: happy, sad."
        )
        yield self._reply_or_refusal("question about the audio", question, refusable=False)

    def _truncated(self) -> Iterator[Finding]:
        request = Request(id="truncated", audio=truncated_audio(self.folder), language=self.language)
        _, error = self._call(lambda: self._validated_reply(request))
        if isinstance(error, TimeoutError) and self.calls.hung:
            yield finding_from_error("truncated file", error)
        elif error is None:
            yield Finding(outcome="note", check="truncated file", message="replied nevertheless")
        else:
            yield Finding(outcome="pass", check="truncated file", message=f"raised {type(error).__name__}")

    def _after_faults(self, request: Request) -> Iterator[Finding]:
        _, finding = self._request("request after the other checks", request)
        yield finding

    def _after_reload(self, request: Request) -> Iterator[Finding]:
        if not hasattr(self.system, "close"):
            return
        _, error = self._call(self.system.close)
        if error is not None:
            yield finding_from_error("closing", error)
            return
        yield from self._load()
        _, finding = self._request("request after closing and reloading", request)
        yield finding


def _content(reply: Reply) -> tuple[str | None, str | None]:
    return reply.text, reply.audio.sha256 if isinstance(reply.audio, AudioRef) else None
