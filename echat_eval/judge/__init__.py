"""Who grades: a rubric read from `judges/`, what the judge is shown, and what counts as its verdict."""

from __future__ import annotations

from echat_eval.judge.client import Jury, Ruling
from echat_eval.judge.question import NOT_HEARD, Heard, Prompt, Question, render
from echat_eval.judge.rubric import Judge, judge_names, load_judge
from echat_eval.judge.server_identity import Served
from echat_eval.judge.verdict import Verdict, parse_verdict, text_score, voice_score

__all__ = [
    "NOT_HEARD",
    "Heard",
    "Judge",
    "Jury",
    "Prompt",
    "Question",
    "Ruling",
    "Served",
    "Verdict",
    "judge_names",
    "load_judge",
    "parse_verdict",
    "render",
    "text_score",
    "voice_score",
]
