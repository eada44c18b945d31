"""Content keys: a hash of everything that determines a row, and of nothing else.

Paths, times and positions in a file are never part of a key; audio is represented by the hash of its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from echat_eval.io.hashing import digest, digest_of_texts, facts_of
from echat_eval.io.jsonl import dumps
from echat_eval.records import AudioRef, Request, Response, Sample, Turn

if TYPE_CHECKING:
    from echat_eval.ports import Case
    from echat_eval.store.manifest import ScorerFacts

__all__ = [
    "annotation_key",
    "case_digest",
    "request_for",
    "response_key",
    "score_keys",
]


def request_for(sample: Sample) -> Request:
    """Return the part of a sample that a system may see. The id is opaque and reproducible."""
    opaque = digest("request", [sample.task, sample.id, sample.audio])[:16]
    return Request(
        id=opaque,
        audio=sample.audio,
        language=sample.language,
        history=sample.history,
        instruction=sample.instruction,
        turns=sample.turns and tuple(Turn(role="user", audio=turn.audio) for turn in sample.turns),
    )


def response_key(
    name: str,
    settings: Mapping[str, Any],
    fingerprint: str | None,
    request: Request | Sample,
    repeat: int = 1,
) -> str:
    """Return the key of a response; for an oracle, `request` is the whole sample.

    Args:
        repeat: number of the reply to this request, from 1.
    """
    # Without the harness's own id: two samples with equal content are the same request.
    content = {k: v for k, v in facts_of(request).items() if k != "id"}
    facts = [name, settings, fingerprint, type(request).__name__, content]
    return digest("response", facts if repeat == 1 else [*facts, repeat])


def annotation_key(
    name: str,
    version: str | None,
    settings: Mapping[str, Any],
    fingerprint: str | None,
    audio: AudioRef,
    language: str,
) -> str:
    """Return the key of an annotation: a hash of the annotator and the audio bytes."""
    return digest("annotation", [name, version, settings, fingerprint, audio, language])


def case_digest(sample: Sample, response: Response) -> str:
    """Return a hash of everything that a scorer can see of a case except its annotations.

    The hash covers the reply and not its key, because a system may answer the same request differently.
    """
    outcome: list[Any] = [response.state, response.reason, response.reply, response.seconds]
    if response.turns is not None:
        outcome.append(response.turns)
    return digest("case", [sample, outcome])


def score_keys(
    name: str, facts: ScorerFacts, metrics: Iterable[str], cases: Sequence[tuple[Case, str]]
) -> dict[tuple[str, str], str]:
    """Return (sample id, metric) -> key of the scores of cases that are scored together.

    Args:
        name: of the scorer.
        facts: its version, settings and fingerprint.
        metrics: names of its metrics.
        cases: every case that the scores may depend on, in order, with the annotations that the scorer sees,
            and its `case_digest`.
    """
    scorer = dumps(
        facts_of(
            {
                "name": name,
                "version": facts.version,
                "settings": facts.settings,
                "fingerprint": facts.fingerprint,
            }
        )
    )
    visible = dumps([[content, {n: a.key for n, a in case.annotations.items()}] for case, content in cases])
    return {
        (case.sample.id, metric): digest_of_texts(
            "score", (scorer, dumps(metric), visible, dumps(case.sample.id))
        )
        for metric in metrics
        for case, _ in cases
    }
