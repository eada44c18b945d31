"""Stage 2: annotate every reply that has no annotation yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from echat_eval.concurrency.retry import CallResult, RetryPolicy, Timed, call_with_retries, timed
from echat_eval.labels import split_tags
from echat_eval.ports import BatchAnnotator, batch_size_of, language_fault
from echat_eval.records import Annotation, AudioRef, State
from echat_eval.runner.queues import queue_for
from echat_eval.store.keys import annotation_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from echat_eval.concurrency.work_queue import Workflow
    from echat_eval.ports import Annotator
    from echat_eval.records import Response
    from echat_eval.store.reuse import ReuseIndex
    from echat_eval.store.run_folder import AnnotationId

__all__ = ["AnnotationStage"]

#: Values of one annotation, as the annotator documents.
Values = Mapping[str, object]
#: State of a response without audio -> state and reason of its annotation. Both are part of a key.
_WITHOUT_AUDIO: Mapping[State, tuple[State, str]] = {
    "value": ("not applicable", "the reply has no voice"),
    "failed": ("not applicable", "the system failed"),
    "missing": ("missing", "the response is missing"),
    "not applicable": ("not applicable", "the system does not answer this sample"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Audio that is annotated once, even if several replies share it."""

    key: str
    audio: AudioRef
    language: str


class AnnotationStage:
    """Runs one annotator and reports every annotation.

    Args:
        known: annotations of earlier commands.
        on_result: called with the annotation of every response, and whether it is new.
        reuse: annotations of the same bytes from other runs.
        held: start only once the queue is released.
    """

    def __init__(
        self,
        annotator: Annotator,
        *,
        workflow: Workflow,
        known: Mapping[AnnotationId, Annotation],
        retry_policy: RetryPolicy,
        on_result: Callable[[Annotation, bool], None],
        reuse: ReuseIndex,
        held: bool,
    ) -> None:
        self.annotator = annotator
        self.name = f"annotate: {annotator.name}"
        self._known, self._retry_policy, self._on_result, self._reuse = known, retry_policy, on_result, reuse
        self._identity = (annotator.name, annotator.version, dict(annotator.settings()))
        self._fingerprint = annotator.fingerprint()
        self._finished: dict[str, Annotation] = {}  # by key: the same bytes are annotated once
        self._pending: dict[str, list[Annotation]] = {}  # key -> rows that wait for its annotation
        self._batches = annotator if isinstance(annotator, BatchAnnotator) else None
        self._size = batch_size_of(annotator)
        self.queue = queue_for(workflow, annotator, self._annotate, size=self._size, held=held)

    def add(self, response: Response, language: str) -> None:
        """Annotate one response, unless that is done or in progress."""
        audio = _reply_audio(response)
        pending = self._pending_row(response, audio, language)
        known = self._known.get((response.system, response.task, response.sample_id, self.annotator.name))
        if known is not None and known.key == pending.key and known.state != "missing":
            self._finished.setdefault(known.key, known)
            self._on_result(known, False)
        elif audio is None or pending.state != "missing":
            self._on_result(pending, True)
        elif (finished := self._finished.get(pending.key)) is not None:
            self._on_result(_filled(pending, finished), True)
        elif (waiting := self._pending.get(pending.key)) is not None:
            waiting.append(pending)
        elif (reused := self._reuse.annotation(pending)) is not None:
            self._finished[pending.key] = reused
            self._on_result(reused, True)
        else:
            self._pending[pending.key] = [pending]
            recording = Recording(key=pending.key, audio=audio, language=language)
            if self._size == 1:
                self.queue.put(recording)
            else:
                # A batch holds one language and similar lengths, so that little is padded.
                self.queue.put_ranked(recording, kind=language, rank=audio.seconds)

    def _pending_row(self, response: Response, audio: AudioRef | None, language: str) -> Annotation:
        pending = Annotation(
            key="",
            system=response.system,
            task=response.task,
            sample_id=response.sample_id,
            annotator=self.annotator.name,
            state="missing",
        )
        if audio is not None:
            key = annotation_key(*self._identity, self._fingerprint, audio, language)
            if fault := language_fault(self.annotator, language):
                return replace(pending, key=key, state="not applicable", reason=fault)
            return replace(pending, key=key)
        # Without audio the instrument does not matter. The key holds the reason, so that the row is
        # made again once there is audio.
        state, reason = _WITHOUT_AUDIO[response.state]
        return replace(pending, key=f"{state}: {reason}", state=state, reason=reason)

    async def _annotate(self, batch: list[Recording]) -> None:
        """Annotate a batch in one call, then one by one if the call failed."""
        results: Sequence[Values | None] = [None] * len(batch)
        if self._batches is not None and len(batch) > 1:
            annotate_batch = partial(
                self._batches.annotate_batch,
                [recording.audio for recording in batch],
                language=batch[0].language,
            )
            call_result = await call_with_retries(
                lambda: self._annotate_batch(annotate_batch, batch),
                blame="instrument",
                retry_policy=replace(self._retry_policy, tries=1),
            )
            results = call_result.value if call_result.value is not None else results
        for recording, values in zip(batch, results, strict=True):
            if values is None:  # alone, so that one bad recording does not cost the others their values
                outcome = await self._annotate_one(recording)
            else:
                outcome = CallResult(state="value", value=values)
            annotation = Annotation(
                key=recording.key,
                system="",
                task="",
                sample_id="",
                annotator=self.annotator.name,
                state=outcome.state,
                reason=outcome.reason,
                values=outcome.value or {},
            )
            if outcome.state != "missing":
                self._finished[recording.key] = annotation
                self._reuse.store_annotation(annotation)
            for pending in self._pending.pop(recording.key):
                self._on_result(_filled(pending, annotation), True)

    async def _annotate_batch(
        self,
        annotate_batch: Callable[[], Sequence[Values] | Awaitable[Sequence[Values]]],
        batch: list[Recording],
    ) -> Timed[list[Values]]:
        for recording in batch:
            self._reuse.run.check_audio(recording.audio)
        done = await timed(annotate_batch, threads=self.queue.threads)
        annotations = [_checked(values) for values in done.value]
        if len(annotations) != len(batch):
            raise ValueError(
                f"annotate_batch returned {len(annotations)} annotations for {len(batch)} recordings"
            )
        return Timed(value=annotations, seconds=done.seconds)

    async def _annotate_one(self, recording: Recording) -> CallResult[Values]:
        annotate = partial(self.annotator.annotate, recording.audio, language=recording.language)

        async def call() -> Timed[Values]:
            self._reuse.run.check_audio(recording.audio)
            done = await timed(annotate, threads=self.queue.threads)
            return Timed(value=_checked(done.value), seconds=done.seconds)

        return await call_with_retries(call, blame="instrument", retry_policy=self._retry_policy)


def _checked(values: Values) -> Values:
    """Return an annotator's values; the hypothesis is words alone, whichever recogniser wrote it."""
    checked = dict(values)
    if isinstance(hypothesis := checked.get("hypothesis"), str):
        checked["hypothesis"] = split_tags(hypothesis)[0]
    return checked


def _reply_audio(response: Response) -> AudioRef | None:
    audio = response.reply.audio if response.reply is not None else None
    return audio if isinstance(audio, AudioRef) else None


def _filled(pending: Annotation, finished: Annotation) -> Annotation:
    return replace(pending, state=finished.state, reason=finished.reason, values=finished.values)
