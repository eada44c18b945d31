"""Stage 2: let every annotator hear every reply."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from echat_eval import jsonl, rows
from echat_eval.attempts import Patience, attempt
from echat_eval.keys import annotation_key
from echat_eval.perform import Job, Progress, opened, perform
from echat_eval.records import Annotation, AudioRef

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.ports import Annotator
    from echat_eval.records import Response
    from echat_eval.run_folder import RunFolder

__all__ = ["annotate"]


def annotate(
    run: RunFolder, annotators: Sequence[Annotator], *, patience: Patience, progress: Progress
) -> None:
    """Let every annotator hear every reply; one row per response and annotator."""
    samples = {(s.task, s.id): s for s in run.samples()}
    responses = run.responses()
    for annotator in annotators:
        known = run.annotations()
        heard: dict[str, Annotation] = {}  # by key: the same bytes are heard once
        settings, fingerprint = dict(annotator.settings()), annotator.fingerprint()
        wanted: dict[str, list[Annotation]] = {}
        audio_of: dict[str, tuple[AudioRef | None, str]] = {}
        for (system, task, sample_id), response in responses.items():
            language = samples[task, sample_id].language
            blank = _blank_annotation(annotator, settings, fingerprint, response, language)
            have = known.get((system, task, sample_id, annotator.name))
            if have is not None and have.key == blank.key and have.state != "missing":
                heard.setdefault(have.key, have)
                continue
            wanted.setdefault(blank.key, []).append(blank)
            audio_of[blank.key] = (_reply_audio(response), language)
        missing = sum(map(len, wanted.values()))
        progress.stage(f"annotate: {annotator.name}", len(responses), len(responses) - missing)
        if not wanted:
            continue
        with opened(annotator), jsonl.Appender(run.path / "annotations.jsonl") as appender:
            jobs = _annotation_jobs(annotator, wanted, audio_of, heard, patience)
            perform(
                jobs, workers=getattr(annotator, "calls_at_once", 1), appender=appender, progress=progress
            )
    _compact_annotations(run)


def _reply_audio(response: Response) -> AudioRef | None:
    audio = response.reply.audio if response.reply is not None else None
    return audio if isinstance(audio, AudioRef) else None


def _blank_annotation(
    annotator: Annotator, settings: Mapping[str, Any], fingerprint: str, response: Response, language: str
) -> Annotation:
    audio = _reply_audio(response)
    blank = Annotation(
        key="", system=response.system, task=response.task, sample_id=response.sample_id,
        annotator=annotator.name, state="missing",
    )  # fmt: skip
    if audio is not None:
        key = annotation_key(annotator.name, annotator.version, settings, fingerprint, audio, language)
        return replace(blank, key=key)
    # Nothing to hear is known without the instrument; the key says why, so that it is done again
    # once there is a voice.
    state, reason = {
        "value": ("not applicable", "the reply has no voice"),
        "failed": ("not applicable", "the system failed"),
        "missing": ("missing", "the response is missing"),
        "not applicable": ("not applicable", "the system does not answer this sample"),
    }[response.state]
    return replace(blank, key=f"{state}: {reason}", state=state, reason=reason)  # type: ignore[arg-type]


def _annotation_jobs(
    annotator: Annotator,
    wanted: Mapping[str, list[Annotation]],
    audio_of: Mapping[str, tuple[AudioRef | None, str]],
    heard: Mapping[str, Annotation],
    patience: Patience,
) -> list[Job[Any]]:
    """Return one job per recording, or per batch where the annotator hears several at once."""
    size = max(1, getattr(annotator, "batch_size", 1)) if hasattr(annotator, "annotate_batch") else 1
    jobs, together = [], []
    for key, blanks in wanted.items():
        audio, language = audio_of[key]
        if size == 1 or audio is None or key in heard:
            jobs.append(_annotation_job(annotator, blanks, audio, language, heard.get(key), patience))
        else:
            together.append((language, audio.seconds, audio, blanks))
    # Of one language and of like lengths, so that little is padded.
    together.sort(key=lambda row: row[:2])
    for language in dict.fromkeys(row[0] for row in together):
        rows_in = [(audio, blanks) for its, _, audio, blanks in together if its == language]
        for start in range(0, len(rows_in), size):
            jobs.append(_batch_job(annotator, rows_in[start : start + size], language, patience))
    return jobs


def _batch_job(
    annotator: Any, batch: list[tuple[AudioRef, list[Annotation]]], language: str, patience: Patience
) -> Job[Any]:
    def call() -> list[Annotation]:
        found: list[Any] = [None] * len(batch)
        if len(batch) > 1:
            whole = attempt(
                lambda: list(annotator.annotate_batch([audio for audio, _ in batch], language=language)),
                blame="instrument", patience=replace(patience, tries=1),
            )  # fmt: skip
            if whole.value is not None and len(whole.value) == len(batch):
                found = whole.value
        made = []
        for (audio, blanks), values in zip(batch, found, strict=True):
            if values is None:  # alone, so that one bad recording costs no other its place
                made += _annotation_job(annotator, blanks, audio, language, None, patience).call()
            else:
                made += [replace(blank, state="value", values=dict(values)) for blank in blanks]
        return made

    return Job(call=call, rows=lambda done: (rows.row_of_annotation(a) for a in done))


def _annotation_job(
    annotator: Annotator,
    blanks: list[Annotation],
    audio: AudioRef | None,
    language: str,
    heard: Annotation | None,
    patience: Patience,
) -> Job[Any]:
    def call() -> list[Annotation]:
        if audio is None:
            return blanks
        if heard is not None:
            return [replace(b, state=heard.state, reason=heard.reason, values=heard.values) for b in blanks]
        outcome = attempt(
            lambda: dict(annotator.annotate(audio, language=language)), blame="instrument", patience=patience
        )
        return [
            replace(b, state=outcome.state, reason=outcome.reason, values=outcome.value or {}) for b in blanks
        ]

    return Job(call=call, rows=lambda done: (rows.row_of_annotation(a) for a in done))


def _compact_annotations(run: RunFolder) -> None:
    order = {ident: n for n, ident in enumerate(run.responses())}
    kept = [a for a in run.annotations().values() if (a.system, a.task, a.sample_id) in order]
    kept.sort(key=lambda a: (order[a.system, a.task, a.sample_id], a.annotator))
    jsonl.write_rows(run.path / "annotations.jsonl", map(rows.row_of_annotation, kept))
