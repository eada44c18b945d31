"""An answer of a scripted judge that reads the gold label."""

from __future__ import annotations

from typing import Any

from echat_eval.testing import judge_verdict, shown_to_judge


def fitting(request: dict[str, Any]) -> str:
    """Return a verdict that is high if the reply has the gold label's word."""
    shown = shown_to_judge(request)
    word = {"sad": "sorry", "happy": "lovely"}[shown["cues"].partition(": ")[2]]
    noise = sum(map(ord, shown["transcript"])) % 2
    return judge_verdict(4 - noise, 5 if word in shown["reply"].lower() else 1, 3)
