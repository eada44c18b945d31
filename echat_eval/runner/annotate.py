"""Stage 2: let an annotator hear every reply it has not heard."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from echat_eval.concurrency.retry import CallResult, RetryPolicy, Timed, call_with_retries, timed
from echat_eval.records import Annotation, AudioRef
from echat_eval.store.keys import annotation_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from echat_eval.concurrency.work_queue import Workflow
    from echat_eval.ports import Annotator
    from echat_eval.records import Response
    from echat_eval.store.reuse import ReuseIndex
    from echat_eval.store.run_folder import AnnotationId

__all__ = ["AnnotationStage"]

#: State of a response without a voice to hear -> what its annotation says of it.
_UNHEARD = {
    "value": ("not applicable", "the reply has no voice"),
    "failed": ("not applicable", "the system failed"),
    "missing": ("missing", "the response is missing"),
    "not applicable": ("not applicable", "the system does not answer this sample"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What is heard once, however many replies sound the same."""

    key: str
    audio: AudioRef
    language: str


class AnnotationStage:
    """Lets one annotator hear, and tells every annotation.

    Args:
        known: annotations of earlier commands.
        told: called with the annotation of every response, and whether it is new.
        recall: what other runs heard in the same bytes.
    """

    def __init__(
        self,
        annotator: Annotator,
        *,
        flow: Workflow,
        known: Mapping[AnnotationId, Annotation],
        retry_policy: RetryPolicy,
        told: Callable[[Annotation, bool], None],
        recall: ReuseIndex,
        held: bool,
    ) -> None:
        self.annotator: Any = annotator
        self.name = f"annotate: {annotator.name}"
        self._known, self._patience, self._told, self._recall = known, retry_policy, told, recall
        self._identity = (annotator.name, annotator.version, dict(annotator.settings()))
        self._fingerprint = annotator.fingerprint()
        self._heard: dict[str, Annotation] = {}  # by key: the same bytes are heard once
        self._listening: dict[str, list[Annotation]] = {}  # blanks that wait for a key
        in_batches = hasattr(annotator, "annotate_batch")
        self._size = max(1, getattr(annotator, "batch_size", 1)) if in_batches else 1
        self.lane = flow.lane(annotator, self._hear, size=self._size, held=held)

    def hear(self, response: Response, language: str) -> None:
        """Have one response heard, unless that is done or under way."""
        audio = _reply_audio(response)
        blank = self._blank(response, audio, language)
        have = self._known.get((response.system, response.task, response.sample_id, self.annotator.name))
        if have is not None and have.key == blank.key and have.state != "missing":
            self._heard.setdefault(have.key, have)
            self._told(have, False)
        elif audio is None:
            self._told(blank, True)
        elif (heard := self._heard.get(blank.key)) is not None:
            self._told(_as_heard(blank, heard), True)
        elif (waiting := self._listening.get(blank.key)) is not None:
            waiting.append(blank)
        elif (heard := self._recall.annotation(blank)) is not None:
            self._heard[blank.key] = heard
            self._told(heard, True)
        else:
            self._listening[blank.key] = [blank]
            recording = Recording(key=blank.key, audio=audio, language=language)
            if self._size == 1:
                self.lane.put(recording)
            else:
                # Of one language and of like lengths, so that little is padded.
                self.lane.put_ranked(recording, kind=language, rank=audio.seconds)

    def _blank(self, response: Response, audio: AudioRef | None, language: str) -> Annotation:
        blank = Annotation(
            key="",
            system=response.system,
            task=response.task,
            sample_id=response.sample_id,
            annotator=self.annotator.name,
            state="missing",
        )
        if audio is not None:
            return replace(blank, key=annotation_key(*self._identity, self._fingerprint, audio, language))
        # Nothing to hear is known without the instrument; the key says why, so that it is done again
        # once there is a voice.
        state, reason = _UNHEARD[response.state]
        return replace(blank, key=f"{state}: {reason}", state=state, reason=reason)  # type: ignore[arg-type]

    async def _hear(self, batch: list[Recording]) -> None:
        """Hear a batch at once, and one by one whatever the batch did not hear."""
        found: Sequence[Mapping[str, Any] | None] = [None] * len(batch)
        if len(batch) > 1:
            whole = await call_with_retries(
                lambda: self._whole(batch), blame="instrument", retry_policy=replace(self._patience, tries=1)
            )
            found = whole.value if whole.value is not None else found
        for recording, values in zip(batch, found, strict=True):
            if values is None:  # alone, so that one bad recording costs no other its place
                outcome = await self._alone(recording)
            else:
                outcome = CallResult(state="value", value=dict(values))
            heard = Annotation(
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
                self._heard[recording.key] = heard
                self._recall.keep_annotation(heard)
            for blank in self._listening.pop(recording.key):
                self._told(_as_heard(blank, heard), True)

    async def _whole(self, batch: list[Recording]) -> Timed[list[Any]]:
        recordings = [recording.audio for recording in batch]
        done = await timed(
            self.annotator.annotate_batch, recordings, language=batch[0].language, threads=self.lane.threads
        )
        found = list(done.value)
        if len(found) != len(batch):
            raise ValueError(f"annotate_batch gave {len(found)} annotations of {len(batch)} recordings")
        return Timed(value=found, seconds=done.seconds)

    async def _alone(self, recording: Recording) -> CallResult[dict[str, Any]]:
        async def call() -> Timed[dict[str, Any]]:
            done = await timed(
                self.annotator.annotate,
                recording.audio,
                language=recording.language,
                threads=self.lane.threads,
            )
            return Timed(value=dict(done.value), seconds=done.seconds)

        return await call_with_retries(call, blame="instrument", retry_policy=self._patience)


def _reply_audio(response: Response) -> AudioRef | None:
    audio = response.reply.audio if response.reply is not None else None
    return audio if isinstance(audio, AudioRef) else None


def _as_heard(blank: Annotation, heard: Annotation) -> Annotation:
    return replace(blank, state=heard.state, reason=heard.reason, values=heard.values)
