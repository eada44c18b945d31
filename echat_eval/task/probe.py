"""Probing questions: a dialogue task turned into one that asks about the audio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from echat_eval.errors import UnknownName, UsageError
from echat_eval.io.hashing import digest
from echat_eval.labels import CUES, cues_with
from echat_eval.languages import lookup

if TYPE_CHECKING:
    from echat_eval.records import Cue
    from echat_eval.task import Task

__all__ = ["ASKS", "QUESTIONS", "probed_name", "probing", "questions_of"]

#: Facts that a question can ask for, beside the cues that tasks define.
ASKS: tuple[str, ...] = ("transcript", *CUES)
#: Language -> question for the words.
_TRANSCRIPT = {
    "en": "Write down word for word what is said in the recording, and nothing else.",
    "zh": "请逐字写出录音中说的话,不要写其他内容。",
}
#: Language -> question for a cue without one of its own.
_CUE = {
    "en": "Listen to the recording, not only to its words. Which {name} do you hear? "
    "Answer with one of these and nothing else: {labels}.",
    "zh": "请听录音的声音,而不只是内容。你听到的{name}是哪一种?只回答下列之一,不要写其他内容:{labels}。",
}


def questions_of(asks: str, own: Mapping[str, Cue] | None = None) -> Mapping[str, str]:
    """Return language -> question for "transcript" or a cue, with all languages that have one.

    Args:
        asks: the requested fact.
        own: cues of the task's own.
    """
    if asks == "transcript":
        return _TRANSCRIPT
    cue = cues_with(own)[asks]
    made = {
        tag: template.format(name=cue.names.get(tag, cue.name), labels=", ".join(_words(cue, tag)))
        for tag, template in _CUE.items()
    }
    return {**made, **cue.questions}


def _words(cue: Cue, tag: str) -> list[str]:
    words = cue.words.get(tag, {})
    return [words.get(label, label) for label in cue.labels]


#: Requested fact -> language -> question, of the shipped cues.
QUESTIONS: Mapping[str, Mapping[str, str]] = {asks: questions_of(asks) for asks in ASKS}


def probed_name(task: str, asks: str) -> str:
    """Return the name of the task that asks about the samples of another; the ids stay the same.

    >>> probed_name("multi", "age")
    'multi-asks-age'
    """
    return f"{task}-asks-{asks}"


def probing(task: Task, asks: str) -> Task:
    """Return a task that asks a question about every sample instead of expecting a reply.

    Its name is `<task>-asks-<asks>`. Samples without that cue are left out. The history stays, because it
    precedes the recording. In a language that has no question it is asked in English.

    Raises:
        UnknownName: no question asks for this.
        UsageError: no sample has that cue, or the task already asks a question.
    """
    known = ("transcript", *cues_with(task.own_cues))
    if asks not in known:
        raise UnknownName("question", asks, known)
    if any(sample.asks is not None for sample in task.samples):
        raise UsageError(f"task '{task.name}' already asks a question")
    name, questions = probed_name(task.name, asks), questions_of(asks, task.own_cues)

    def question(language: str) -> str:
        return questions[lookup(language, questions) or "en"]

    kept = tuple(
        replace(sample, task=name, asks=asks, instruction=question(sample.language))
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
        sha256=digest("probe", [task.sha256, asks, dict(questions)]),
    )
