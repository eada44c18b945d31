"""Conformance checks of annotators: does an annotator behave as the runner expects?

They do not measure how accurate its values are.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.concurrency import event_loop
from echat_eval.errors import NotApplicable
from echat_eval.io.hashing import file_sha256
from echat_eval.records import AudioRef
from echat_eval.testing.finding import STOPPED, Finding, check_facts, fact, finding_from_error
from echat_eval.testing.requests import stereo_request, tone_request, tone_requests, truncated_audio
from echat_eval.testing.timed_calls import TimedCalls

if TYPE_CHECKING:
    from echat_eval.ports import Annotator

__all__ = ["check_annotator"]

#: A tag that no annotator supports ("no linguistic content").
_NO_LANGUAGE = "zxx"


def check_annotator(
    annotator: Annotator, *, language: str = "en", seconds: float = 120.0
) -> Iterator[Finding]:
    """Load an annotator, give it recordings, close it, and yield a finding for each check.

    Args:
        annotator: an annotator; it is closed at the end.
        language: language of the recordings.
        seconds: time limit of a call; a slower call fails its check.
    """
    with tempfile.TemporaryDirectory(prefix="echat-eval-check-") as scratch:
        suite = _AnnotatorSuite(annotator, Path(scratch), language, seconds)
        try:
            for finding in suite.run():
                yield finding
                if finding.final:
                    message = "the other checks need an annotator that can be used"
                    yield Finding(outcome="note", check=STOPPED, message=message)
                    return
                if suite.calls.hung:
                    message = "a call still hangs; the other checks were skipped"
                    yield Finding(outcome="note", check=STOPPED, message=message)
                    return
        finally:
            suite.close()


class _AnnotatorSuite:
    """The checks of one annotator; the time of every call is limited."""

    def __init__(self, annotator: Any, folder: Path, language: str, seconds: float) -> None:
        self.annotator, self.folder, self.language = annotator, folder, language
        self.calls = TimedCalls(seconds)
        self.audios = [request.audio for request in tone_requests(folder, language)]

    def run(self) -> Iterator[Finding]:
        yield from check_facts(self.annotator, replies=False)
        yield from self._declarations()
        yield from self._load()
        first, error = self._annotate(self.audios[0])
        if error is not None:
            yield replace(finding_from_error("first recording", error), final=True)
            return
        yield Finding(outcome="pass", check="first recording", message=", ".join(sorted(first)))
        yield from self._repeat(first)
        yield from self._copy(first)
        yield from self._batch()
        yield from self._parallel()
        yield from self._unusual_audio()
        yield from self._truncated()
        yield from self._other_language()
        yield self._same_as(first, "recording after the other checks")
        yield from self._reload(first)

    def close(self) -> None:
        """Close the annotator, unless a call still hangs in it."""
        if not self.calls.hung and hasattr(self.annotator, "close"):
            event_loop.call(self.annotator.close)

    def _annotate(self, audio: AudioRef, language: str | None = None) -> tuple[Any, BaseException | None]:
        return self.calls.call(
            lambda: _checked(
                event_loop.call(self.annotator.annotate, audio, language=language or self.language)
            )
        )

    def _declarations(self) -> Iterator[Finding]:
        if hasattr(self.annotator, "languages"):
            tags = self.annotator.languages
            valid = isinstance(tags, tuple) and all(isinstance(tag, str) and tag for tag in tags)
            yield fact("languages", valid, f"{tags!r}" + ("" if valid else "; expected a tuple of tags"))
        if hasattr(self.annotator, "annotate_batch"):
            size = getattr(self.annotator, "batch_size", None)
            valid = isinstance(size, int) and not isinstance(size, bool) and size >= 1
            yield fact(
                "batch size", valid, f"{size!r}" + ("" if valid else "; expected a whole number from 1")
            )

    def _load(self) -> Iterator[Finding]:
        if hasattr(self.annotator, "load"):
            _, error = self.calls.call(lambda: event_loop.call(self.annotator.load))
            yield fact("load", True, "done") if error is None else finding_from_error("load", error)

    def _same_as(self, expected: Mapping[str, Any], check: str, audio: AudioRef | None = None) -> Finding:
        values, error = self._annotate(audio or self.audios[0])
        if error is not None:
            return finding_from_error(check, error)
        return fact(check, values == expected, "same values" if values == expected else "other values")

    def _repeat(self, first: Mapping[str, Any]) -> Iterator[Finding]:
        finding = self._same_as(first, "same recording again")
        if finding.message == "other values":
            message = "other values: the annotator is not deterministic; set a seed"
            finding = replace(finding, outcome="note", message=message)
        yield finding

    def _copy(self, first: Mapping[str, Any]) -> Iterator[Finding]:
        audio = self.audios[0]
        copy = self.folder / "copy" / "other-name.wav"
        copy.parent.mkdir()
        shutil.copyfile(audio.path, copy)
        finding = self._same_as(first, "same bytes, other path", replace(audio, path=copy))
        if finding.message == "other values":
            message = "other values; they must depend on the bytes and the language only"
            finding = replace(finding, message=message)
        yield finding
        unchanged = audio.path.is_file() and file_sha256(audio.path) == audio.sha256
        yield fact("file", unchanged, "unchanged" if unchanged else "was changed; the file is not yours")

    def _batch(self) -> Iterator[Finding]:
        if not hasattr(self.annotator, "annotate_batch"):
            return
        batch, error = self.calls.call(
            lambda: [
                _checked(values)
                for values in event_loop.call(
                    self.annotator.annotate_batch, list(self.audios), language=self.language
                )
            ]
        )
        single, single_error = self.calls.call(lambda: self._one_by_one(self.audios))
        if error is not None or single_error is not None:
            yield finding_from_error("batch", error or single_error or RuntimeError("unknown"))
        elif len(batch) != len(self.audios):
            message = f"values of {len(batch)} recordings for {len(self.audios)}"
            yield Finding(outcome="fail", check="batch", message=message)
        elif batch == single:
            yield Finding(outcome="pass", check="batch", message="same values as one by one, in order")
        elif sorted(map(str, batch)) == sorted(map(str, single)):
            yield Finding(outcome="fail", check="batch", message="the right values in the wrong order")
        else:
            yield Finding(outcome="note", check="batch", message="values differ from those one by one")

    def _one_by_one(self, audios: Sequence[AudioRef]) -> list[dict[str, Any]]:
        return [
            _checked(event_loop.call(self.annotator.annotate, audio, language=self.language))
            for audio in audios
        ]

    def _parallel(self) -> Iterator[Finding]:
        limit = getattr(self.annotator, "calls_at_once", 1)
        if not isinstance(limit, int) or limit <= 1:
            return
        check = f"{min(limit, 4)} calls at once"

        def run_all() -> list[dict[str, Any]]:
            with ThreadPoolExecutor(max_workers=min(limit, 4)) as pool:
                return list(
                    pool.map(lambda audio: self._one_by_one([audio])[0], [*self.audios, *self.audios])
                )

        values, error = self.calls.call(run_all)
        if error is not None:
            yield finding_from_error(check, error)
        else:
            same = values[: len(self.audios)] == values[len(self.audios) :]
            message = "same values of the same recordings" if same else "other values: calls are mixed up"
            yield fact(check, same, message)

    def _unusual_audio(self) -> Iterator[Finding]:
        checks: tuple[tuple[str, Callable[[], AudioRef]], ...] = (
            ("10 ms of silence", lambda: self._tone("silence", 0.0, 0.01)),
            ("60 s of audio", lambda: self._tone("long", 220.0, 60.0)),
            ("stereo FLAC at 44.1 kHz", lambda: stereo_request(self.folder, self.language).audio),
        )
        for check, audio in checks:
            values, error = self._annotate(audio())
            if error is None:
                yield fact(check, True, f"{len(values)} values")
            elif isinstance(error, NotApplicable):
                yield fact(check, True, f"refused (NotApplicable): {error}")
            else:
                yield finding_from_error(check, error)

    def _tone(self, name: str, hertz: float, seconds: float) -> AudioRef:
        return tone_request(self.folder, name, hertz, seconds, self.language).audio

    def _truncated(self) -> Iterator[Finding]:
        values, error = self._annotate(truncated_audio(self.folder))
        if error is None:
            message = f"returned {len(values)} values nevertheless; an error would make the row missing"
            yield Finding(outcome="note", check="truncated file", message=message)
        elif self.calls.hung:
            yield finding_from_error("truncated file", error)
        else:
            yield fact("truncated file", True, f"raised {type(error).__name__}")

    def _other_language(self) -> Iterator[Finding]:
        if not hasattr(self.annotator, "languages"):
            return
        _, error = self._annotate(self.audios[0], _NO_LANGUAGE)
        refused = isinstance(error, NotApplicable)
        got = "values" if error is None else type(error).__name__
        message = "refused (NotApplicable)" if refused else f"{got} instead of NotApplicable"
        yield fact("language that it does not support", refused, message)

    def _reload(self, first: Mapping[str, Any]) -> Iterator[Finding]:
        if not hasattr(self.annotator, "close"):
            return
        _, error = self.calls.call(lambda: event_loop.call(self.annotator.close))
        if error is not None:
            yield finding_from_error("closing", error)
            return
        yield from self._load()
        yield self._same_as(first, "recording after closing and reloading")


def _checked(values: Any) -> dict[str, Any]:
    """Return the values of a recording.

    Raises:
        TypeError: they are no mapping from text to what JSON can hold.
        ValueError: a value is not a finite number.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"returned a {type(values).__name__}; expected a mapping of values")
    if any(not isinstance(name, str) for name in values):
        raise TypeError(f"the names of values must be text: {list(values)}")
    json.dumps(dict(values), allow_nan=False)
    return dict(values)
