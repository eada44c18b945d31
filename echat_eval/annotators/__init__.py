"""Annotators: models and rules that analyse the audio of a reply. Importing this imports none of them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ANNOTATORS"]

#: Name -> "module:Class".
ANNOTATORS: Mapping[str, str] = MappingProxyType(
    {
        "whisper": "echat_eval.annotators.whisper:Whisper",
        "acoustics": "echat_eval.annotators.acoustics:Acoustics",
        "funasr": "echat_eval.annotators.funasr:FunASR",
        "sensevoice": "echat_eval.annotators.sensevoice:SenseVoice",
        "emotion2vec": "echat_eval.annotators.emotion2vec:Emotion2vec",
        "transformers-asr": "echat_eval.annotators.transformers_asr:TransformersASR",
        "transformers-emotion": "echat_eval.annotators.transformers_audio:EmotionClassifier",
        "transformers-event": "echat_eval.annotators.events:EventTagger",
        "speaker": "echat_eval.annotators.speaker:Speaker",
        "age-gender": "echat_eval.annotators.speaker:AgeGenderRegressor",
        "dnsmos": "echat_eval.annotators.dnsmos:Dnsmos",
    }
)
