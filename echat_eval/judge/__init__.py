"""The judge: rubrics from `judges/`, the prompts made of them, the judge's client and its verdicts."""

from __future__ import annotations

from echat_eval.judge.client import JudgeClient
from echat_eval.judge.parameters import JudgeParameters
from echat_eval.judge.question import (
    NO_VOICE_EMOTION,
    Prompt,
    Question,
    VoiceEmotion,
    grades_voice,
    render,
)
from echat_eval.judge.recordings import Recording
from echat_eval.judge.rubric import (
    DEFAULT_RUBRIC,
    LISTENING_RUBRIC,
    Judge,
    judge_names,
    load_judge,
    load_match,
    load_pair,
    rubric_file,
)
from echat_eval.judge.server_identity import ServerIdentity
from echat_eval.judge.verdict import Verdict, parse_verdict, text_score, voice_score
from echat_eval.judge.verdict_store import Ruling

__all__ = [
    "DEFAULT_RUBRIC",
    "LISTENING_RUBRIC",
    "NO_VOICE_EMOTION",
    "Judge",
    "JudgeClient",
    "JudgeParameters",
    "Prompt",
    "Question",
    "Recording",
    "Ruling",
    "ServerIdentity",
    "Verdict",
    "VoiceEmotion",
    "grades_voice",
    "judge_names",
    "load_judge",
    "load_match",
    "load_pair",
    "parse_verdict",
    "render",
    "rubric_file",
    "text_score",
    "voice_score",
]
