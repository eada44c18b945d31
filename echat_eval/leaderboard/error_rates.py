"""Notes on error rates: how text is normalised, and what is counted in which language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.scorers import transcription, understanding
from echat_eval.scorers.normalize import NORMALISER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from echat_eval.records import Sample, Score

__all__ = ["error_rate_lines"]

_UNITS = {
    understanding.WER.name: "words",
    understanding.CER.name: "characters",
    transcription.WER.name: "words",
    transcription.CER.name: "characters",
}


def error_rate_lines(scores: Iterable[Score], samples: Mapping[tuple[str, str], Sample]) -> list[str]:
    """Return one line if there are error rates, with the name of the normaliser and the counted units."""
    languages: dict[str, set[str]] = {}
    for score in scores:
        if score.metric in _UNITS and score.state == "value":
            language = samples[score.task, score.sample_id].language
            languages.setdefault(_UNITS[score.metric], set()).add(language)
    if not languages:
        return []
    counted = "; ".join(
        f"{unit} are counted in {', '.join(sorted(found))}" for unit, found in sorted(languages.items())
    )
    return [f"- error rates (WER, CER): text is normalised by {NORMALISER}; {counted}"]
