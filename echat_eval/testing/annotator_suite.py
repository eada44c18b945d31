"""Conformance checks of annotators: does an annotator behave as the runner expects?

They do not measure how accurate its values are.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from echat_eval.concurrency import event_loop
from echat_eval.errors import NotApplicable
from echat_eval.io.hashing import file_sha256
from echat_eval.plugins import absent_members
from echat_eval.ports import Annotator, BatchAnnotator, LanguageLimited
from echat_eval.records import AudioRef
from echat_eval.testing.finding import Finding, fact, finding_from_error
from echat_eval.testing.part_suite import Called, PartSuite
from echat_eval.testing.requests import stereo_request, tone_request, tone_requests, truncated_audio

__all__ = ["check_annotator"]


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
        yield from _AnnotatorSuite(annotator, Path(scratch), language, seconds).run()


class _AnnotatorSuite(PartSuite):
    kind, ports = "annotator", (Annotator,)
    results, inputs = "values", "recordings"

    def __init__(self, annotator: Any, folder: Path, language: str, seconds: float) -> None:
        super().__init__(annotator, seconds)
        self.folder, self.language = folder, language
        self.audios = [request.audio for request in tone_requests(folder, language)]

    def checks(self) -> Iterator[Finding]:
        yield from self._declarations()
        yield from self.load()
        first, error = self._annotate(self.audios[0])
        if error is not None:
            yield replace(finding_from_error("first recording", error), final=True)
            return
        yield fact("first recording", True, ", ".join(sorted(first)))
        yield self.repeated("same recording again", self._annotate(self.audios[0]), first)
        yield from self._copy(first)
        yield from self._batch()
        yield from self.parallel(self._values, self.audios)
        yield from self._unusual_audio()
        yield from self._truncated()
        yield self._again("recording after the other checks", first)
        yield from self.reload(lambda: self._again("recording after closing and reloading", first))

    def _values(self, audio: AudioRef) -> dict[str, Any]:
        return _checked(event_loop.call(self.part.annotate, audio, language=self.language))

    def _annotate(self, audio: AudioRef) -> Called:
        return self.calls.call(lambda: self._values(audio))

    def _again(self, check: str, first: Mapping[str, Any]) -> Finding:
        return self.same(check, self._annotate(self.audios[0]), first)

    def _declarations(self) -> Iterator[Finding]:
        if isinstance(self.part, LanguageLimited):
            tags: object = self.part.languages
            valid = isinstance(tags, tuple) and all(isinstance(tag, str) and tag for tag in tags)
            yield fact("languages", valid, f"{tags!r}" + ("" if valid else "; expected a tuple of tags"))
        if isinstance(self.part, BatchAnnotator):
            yield self.count("batch size", self.part.batch_size)
        elif absent_members(self.part, BatchAnnotator) == ["batch_size"]:
            yield fact("batch size", False, "is missing, so annotate_batch is never called")

    def _copy(self, first: Mapping[str, Any]) -> Iterator[Finding]:
        audio = self.audios[0]
        copy = self.folder / "copy" / "other-name.wav"
        copy.parent.mkdir()
        shutil.copyfile(audio.path, copy)
        called = self._annotate(replace(audio, path=copy))
        hint = "; they must depend on the bytes and the language only"
        yield self.same("same bytes, other path", called, first, hint=hint)
        unchanged = audio.path.is_file() and file_sha256(audio.path) == audio.sha256
        yield fact("file", unchanged, "unchanged" if unchanged else "was changed; the file is not yours")

    def _batch(self) -> Iterator[Finding]:
        if isinstance(self.part, BatchAnnotator):
            batch = self.call(self.part.annotate_batch, list(self.audios), language=self.language)
            checked = batch if batch[1] is not None else self.calls.call(lambda: _all_checked(batch[0]))
            single = self.calls.call(lambda: [self._values(audio) for audio in self.audios])
            yield self.batch(checked, single, len(self.audios))

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


def _all_checked(batch: Sequence[object]) -> list[dict[str, Any]]:
    return [_checked(values) for values in batch]


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
