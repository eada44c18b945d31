"""Probing questions: a dialogue task turned into one that asks about the audio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from echat_eval.errors import UnknownName, UsageError
from echat_eval.io.hashing import digest
from echat_eval.labels import CUES, LABELS

if TYPE_CHECKING:
    from echat_eval.task import Task

__all__ = ["ASKS", "QUESTIONS", "probed_name", "probing"]

#: Facts that a question can ask for.
ASKS: tuple[str, ...] = ("transcript", *CUES)
_CUES_ZH = {"emotion": "情感", "age": "年龄段", "gender": "性别", "event": "非语言声音"}

#: Requested fact -> language -> question.
QUESTIONS: Mapping[str, Mapping[str, str]] = {
    "transcript": {
        "en": "Write down word for word what is said in the recording, and nothing else.",
        "zh": "请逐字写出录音中说的话,不要写其他内容。",
    },
    **{
        cue: {
            "en": f"Listen to the recording, not only to its words. Which {cue} do you hear? "
            f"Answer with one of these and nothing else: {', '.join(LABELS[cue])}.",
            "zh": f"请听录音的声音,而不只是内容。你听到的{_CUES_ZH[cue]}是哪一种?"
            f"只回答下列之一,不要写其他内容:{', '.join(LABELS[cue])}。",
        }
        for cue in CUES
    },
}


def probed_name(task: str, asks: str) -> str:
    """Return the name of the task that asks about the samples of another; the ids stay the same.

    >>> probed_name("multi", "age")
    'multi-asks-age'
    """
    return f"{task}-asks-{asks}"


def probing(task: Task, asks: str) -> Task:
    """Return a task that asks a question about every sample instead of expecting a reply.

    Its name is `<task>-asks-<asks>`. Samples without that cue are left out. The history stays, because it
    precedes the recording.

    Raises:
        UnknownName: no question asks for this.
        UsageError: no sample has that cue, or the task already asks a question.
    """
    if asks not in ASKS:
        raise UnknownName("question", asks, ASKS)
    if any(sample.asks is not None for sample in task.samples):
        raise UsageError(f"task '{task.name}' already asks a question")
    name = probed_name(task.name, asks)
    kept = tuple(
        replace(sample, task=name, asks=asks, instruction=QUESTIONS[asks][sample.language])
        for sample in task.samples
        if asks == "transcript" or asks in sample.cues
    )
    if not kept:
        raise UsageError(f"task '{task.name}' has no label '{asks}' to ask for")
    return replace(
        task,
        name=name,
        title={"en": f"{task.title['en']}: {asks}?"},
        cues=() if asks == "transcript" else (asks,),
        samples=kept,
        sha256=digest("probe", [task.sha256, asks, dict(QUESTIONS[asks])]),
    )
