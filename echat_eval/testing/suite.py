"""A conformance suite for adapter authors: does a system keep to what the runner expects of it?

Nothing is said of how good a reply is.
"""

from __future__ import annotations

import tempfile
import threading
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
from echat_eval.testing.finding import Finding, check_facts, finding_of, parts_of
from echat_eval.testing.questions import made_request, made_requests, stereo_request

if TYPE_CHECKING:
    from echat_eval.ports import Oracle, System

__all__ = ["check_system"]


def check_system(
    system: System | Oracle, *, language: str = "en", seconds: float = 120.0
) -> Iterator[Finding]:
    """Yield what was found of a system, check by check; it is loaded, asked and closed.

    Args:
        system: as `echat_eval.systems.build_system` makes it.
        language: of the questions.
        seconds: a call that takes longer fails the check.
    """
    for fact in check_facts(system):
        yield fact
        if fact.final:
            yield Finding(
                verdict="note", check="stopped", said="the other checks need a system that can be used"
            )
            return
    with tempfile.TemporaryDirectory(prefix="echat-eval-check-") as scratch:
        suite = _Suite(system, Path(scratch), language, seconds)
        try:
            yield from suite.run()
        finally:
            suite.close()


class _Suite:
    """Asks one system; `_call` bounds every call in time."""

    def __init__(self, system: Any, folder: Path, language: str, seconds: float) -> None:
        self.system = system
        self.folder, self.language, self.seconds = folder, language, seconds
        self.run_folder = RunFolder(folder / "run")
        self.oracle = hasattr(system, "respond_to")
        self.hung = False

    def run(self) -> Iterator[Finding]:
        """Yield every check in turn; stop at what makes the others senseless."""
        for found in self._load():
            yield found
            if found.final:
                said = "the other checks need a system that can be loaded"
                yield Finding(verdict="note", check="stopped", said=said)
                return
        requests = made_requests(self.folder, self.language)
        first, finding = self._asked("a first request", requests[0])
        yield finding
        if first is None:
            said = "the other checks need a system that answers"
            yield Finding(verdict="note", check="stopped", said=said)
            return
        checks: tuple[Callable[[], Iterator[Finding]], ...] = (
            lambda: self._repeat(first, requests[0]),
            lambda: self._other_id(first, requests[0]),
            lambda: self._batch(requests),
            lambda: self._at_once(requests),
            self._empty,
            self._long,
            self._other_format,
            self._history,
            self._question,
            self._broken,
            lambda: self._alive(requests[1]),
            lambda: self._again(requests[2]),
        )
        for check in checks:
            if self.hung:
                yield Finding(
                    verdict="note", check="stopped", said="a call still hangs; the other checks were left out"
                )
                return
            yield from check()

    def close(self) -> None:
        """Close the system, unless a call still hangs in it."""
        if not self.hung:
            getattr(self.system, "close", lambda: None)()

    # -- asking ---------------------------------------------------------------------

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

    def _settled(self, request: Request) -> Reply:
        reply = self._respond(request)
        if isinstance(reply, Reply) and isinstance(reply.audio, AudioRef):
            audio_ref(reply.audio.path)
        return validate_and_store_reply(reply, self.run_folder)

    def _call(self, call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        """Return what a call gave or raised; a call that does not end is left behind on its thread."""
        box: list[Any] = []

        def work() -> None:
            try:
                box.append((call(), None))
            except BaseException as error:  # noqa: BLE001  the fault is the finding
                box.append((None, error))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(self.seconds)
        if not box:
            self.hung = True
            return None, TimeoutError(
                f"no answer in {self.seconds:g} s; give the adapter a time-out of its own"
            )
        found: tuple[Any, BaseException | None] = box[0]
        return found

    def _asked(self, check: str, request: Request) -> tuple[Reply | None, Finding]:
        begun = time.monotonic()
        reply, error = self._call(lambda: self._settled(request))
        if error is None:
            took = time.monotonic() - begun
            said = " and ".join(parts_of(reply)) + f" in {took:.2f} s"
            return reply, Finding(verdict="pass", check=check, said=said)
        return None, finding_of(check, error)

    def _tolerated(self, check: str, request: Request, *, refusable: bool = True) -> Finding:
        """Return a finding where an answer and a named refusal are both right."""
        reply, error = self._call(lambda: self._settled(request))
        if error is None:
            return Finding(verdict="pass", check=check, said="answered with " + " and ".join(parts_of(reply)))
        if isinstance(error, NotApplicable) or (refusable and isinstance(error, RowError)):
            kind = type(error).__name__
            return Finding(verdict="pass", check=check, said=f"refused by name ({kind}): {error}")
        return finding_of(check, error)

    # -- checks ---------------------------------------------------------------------

    def _load(self) -> Iterator[Finding]:
        if hasattr(self.system, "load"):
            _, error = self._call(self.system.load)
            if error is not None:
                yield finding_of("load", error)
            else:
                yield Finding(verdict="pass", check="load", said="done")

    def _repeat(self, first: Reply, request: Request) -> Iterator[Finding]:
        again, finding = self._asked("the same request again", request)
        if again is None:
            yield finding
        elif _content(again) == _content(first):
            yield Finding(verdict="pass", check="the same request again", said="the same reply")
        else:
            said = "another reply: it is not deterministic; ask it more than once, or set a seed"
            yield Finding(verdict="note", check="the same request again", said=said)

    def _other_id(self, first: Reply, request: Request) -> Iterator[Finding]:
        again, finding = self._asked("the same sound under another id", replace(request, id="another-id"))
        yield (
            finding
            if again is None or _content(again) == _content(first)
            else Finding(
                verdict="note",
                check="the same sound under another id",
                said="another reply; ids must not matter",
            )
        )

    def _batch(self, requests: Sequence[Request]) -> Iterator[Finding]:
        if not hasattr(self.system, "respond_batch"):
            yield Finding(
                verdict="note", check="a batch", said="no respond_batch; requests are asked one by one"
            )
            return
        replies, error = self._call(lambda: list(self.system.respond_batch(list(requests))))
        if error is not None:
            yield finding_of("a batch", error)
            return
        if len(replies) != len(requests):
            said = f"{len(replies)} replies to {len(requests)} requests"
            yield Finding(verdict="fail", check="a batch", said=said)
            return
        settled, error = self._call(
            lambda: [_content(validate_and_store_reply(r, self.run_folder)) for r in replies]
        )
        alone, also = self._call(lambda: [_content(self._settled(r)) for r in requests])
        if error is not None or also is not None:
            yield finding_of("a batch", error or also or RuntimeError("unknown"))
        elif settled == alone:
            yield Finding(verdict="pass", check="a batch", said="the same replies as one by one, in order")
        elif len(set(map(str, alone))) > 1 and sorted(map(str, settled)) == sorted(map(str, alone)):
            yield Finding(verdict="fail", check="a batch", said="the right replies in the wrong order")
        else:
            yield Finding(verdict="note", check="a batch", said="other replies than one by one")

    def _at_once(self, requests: Sequence[Request]) -> Iterator[Finding]:
        limit = getattr(self.system, "calls_at_once", 1)
        if limit == 1:
            return
        check = f"{min(limit, 4)} calls at once"

        def together() -> list[Any]:
            with ThreadPoolExecutor(max_workers=min(limit, 4)) as pool:
                return list(pool.map(lambda r: _content(self._settled(r)), [*requests, *requests]))

        found, error = self._call(together)
        if error is not None:
            yield finding_of(check, error)
        elif found[: len(requests)] == found[len(requests) :]:
            yield Finding(verdict="pass", check=check, said="the same replies to the same requests")
        else:
            said = "other replies to the same requests: not deterministic, or calls get mixed up"
            yield Finding(verdict="note", check=check, said=said)

    def _empty(self) -> Iterator[Finding]:
        yield self._tolerated(
            "10 ms of silence", made_request(self.folder, "empty", 0.0, 0.01, self.language)
        )

    def _long(self) -> Iterator[Finding]:
        yield self._tolerated("60 s of sound", made_request(self.folder, "long", 220.0, 60.0, self.language))

    def _other_format(self) -> Iterator[Finding]:
        request = stereo_request(self.folder, self.language)
        yield self._tolerated("stereo FLAC at 44.1 kHz", request)

    def _history(self) -> Iterator[Finding]:
        one, two = made_requests(self.folder, self.language, 2)
        turns = (
            Turn(role="user", audio=one.audio, text="Hello."),
            Turn(role="assistant", text="Hello, how are you?"),
        )
        yield self._tolerated("earlier turns", replace(two, history=turns), refusable=False)

    def _question(self) -> Iterator[Finding]:
        request = made_requests(self.folder, self.language, 1)[0]
        asked = replace(request, instruction="Which emotion do you hear? Answer with one word: happy, sad.")
        yield self._tolerated("a question about the sound", asked, refusable=False)

    def _broken(self) -> Iterator[Finding]:
        path = self.folder / "torn.wav"
        path.write_bytes(b"RIFF\x00\x00\x00\x00WAVEfmt ")
        audio = AudioRef(path=path, sha256="0" * 64, seconds=1.0)
        request = Request(id="torn", audio=audio, language=self.language)
        _, error = self._call(lambda: self._settled(request))
        if isinstance(error, TimeoutError) and self.hung:
            yield finding_of("a torn file", error)
        elif error is None:
            yield Finding(verdict="note", check="a torn file", said="answered nevertheless")
        else:
            yield Finding(verdict="pass", check="a torn file", said=f"raised {type(error).__name__}")

    def _alive(self, request: Request) -> Iterator[Finding]:
        _, finding = self._asked("a request after all that", request)
        yield finding

    def _again(self, request: Request) -> Iterator[Finding]:
        if not hasattr(self.system, "close"):
            return
        _, error = self._call(self.system.close)
        if error is not None:
            yield finding_of("closing", error)
            return
        yield from self._load()
        _, finding = self._asked("a request after closing and loading again", request)
        yield finding


def _content(reply: Reply) -> tuple[str | None, str | None]:
    return reply.text, reply.audio.sha256 if isinstance(reply.audio, AudioRef) else None
