"""Who grades: a rubric read from `judges/`, what the judge is shown, and what counts as its verdict."""

from __future__ import annotations

from echat_eval.judge.client import JudgeClient, Ruling
from echat_eval.judge.question import NOT_HEARD, Prompt, Question, VoiceEmotion, render
from echat_eval.judge.rubric import Judge, judge_names, load_judge
from echat_eval.judge.server_identity import ServerIdentity
from echat_eval.judge.verdict import Verdict, parse_verdict, text_score, voice_score

__all__ = [
    "NOT_HEARD",
    "Judge",
    "JudgeClient",
    "Prompt",
    "Question",
    "Ruling",
    "ServerIdentity",
    "Verdict",
    "VoiceEmotion",
    "judge_names",
    "load_judge",
    "parse_verdict",
    "render",
    "text_score",
    "voice_score",
]
