"""Scorers turn replies and annotations into scores. This table of their names imports none of them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SCORERS"]

#: Name -> "module:Class".
SCORERS: Mapping[str, str] = MappingProxyType(
    {
        "cue-contrast": "echat_eval.scorers.cue_contrast:CueContrast",
        "over-reaction": "echat_eval.scorers.over_reaction:OverReaction",
        "transcription": "echat_eval.scorers.transcription:TranscriptionConsistency",
        "understanding": "echat_eval.scorers.understanding:Understanding",
        "outcome": "echat_eval.scorers.outcome:OutcomeScorer",
        "voice-match": "echat_eval.scorers.voice_match:VoiceMatch",
        "reference-similarity": "echat_eval.scorers.reference_similarity:ReferenceSimilarity",
        "readability": "echat_eval.scorers.readability:Readability",
    }
)
