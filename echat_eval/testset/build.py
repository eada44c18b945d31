"""The stages from a plan to a task folder; each keeps what it made, and does only what is missing."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from echat_eval.errors import BadData, SystemFailure, Unavailable, UsageError
from echat_eval.io.jsonl import read_rows, write_rows
from echat_eval.testset.assign import assignments, speakers_of
from echat_eval.testset.clip_checks import ClipChecks
from echat_eval.testset.events import events_for
from echat_eval.testset.group_store import GroupStore
from echat_eval.testset.groups import Group, GroupMaker, Placement, SpeechStore
from echat_eval.testset.sentences import (
    Dropped,
    Sentence,
    read_sentences,
    sentence_from,
    sentence_row,
)
from echat_eval.testset.text_server import TextServer
from echat_eval.testset.voices import voice_for
from echat_eval.testset.writing import ECHAT_ROWS, write_groups, write_training_rows

if TYPE_CHECKING:
    from echat_eval.cost.budget import Budget
    from echat_eval.testset.plan import Plan

__all__ = ["STAGES", "Built", "OnProgress", "build", "make_groups", "make_sentences"]

#: "texts" writes sentences.jsonl; "clips" speaks, adds events and checks; "write" writes the task folder.
STAGES = ("texts", "clips", "write")


class OnProgress(Protocol):
    """Receives the progress of a stage."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` are settled."""


def _silent(stage: str, done: int, total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The result of a build.

    Attributes:
        task: folder of the task; None if the last stage was not asked for.
        sentences, groups, clips: how many there are.
        dropped: every row that was left out, with its reason.
        cost: of the text server, as one line.
    """

    task: Path | None
    sentences: int
    groups: int
    clips: int
    dropped: tuple[Dropped, ...]
    cost: str = ""

    def __str__(self) -> str:
        """Return the numbers as one line."""
        reasons = ", ".join(
            f"{reason} {n}" for reason, n in Counter(d.reason for d in self.dropped).most_common()
        )
        lost = f", {len(self.dropped)} dropped ({reasons})" if self.dropped else ""
        cost = f"; {self.cost}" if self.cost else ""
        return f"{self.sentences} sentences, {self.groups} groups, {self.clips} clips{lost}{cost}"


def build(
    plan: Plan,
    out: Path,
    *,
    stages: Sequence[str] = STAGES,
    budget: Budget | None = None,
    on_progress: OnProgress = _silent,
) -> Built:
    """Run stages of a plan; what an earlier command made is not made again.

    Args:
        plan: see `read_plan`.
        out: folder of the result: the task in a folder of its name, `echat.jsonl` with training rows,
            `dropped.jsonl` with every row left out, and `work/` with what the stages keep.
        stages: some of `STAGES`, in their order.
        budget: prices and limit of the text server.
        on_progress: called as rows are settled.

    Raises:
        UsageError: an unknown stage, or a task folder that this plan did not make.
        BadData: nothing is left.
    """
    if unknown := [stage for stage in stages if stage not in STAGES]:
        raise UsageError(f"stage '{unknown[0]}'; expected {', '.join(STAGES)}")
    work = out / "work"
    cost = make_sentences(plan, work, budget=budget, on_progress=on_progress) if "texts" in stages else ""
    sentences = _stored_sentences(work)
    dropped = _stored_dropped(work / "dropped-texts.jsonl")
    if stages[-1] == "texts":
        write_rows(out / "dropped.jsonl", map(asdict, dropped))
        return Built(
            task=None, sentences=len(sentences), groups=0, clips=0, dropped=tuple(dropped), cost=cost
        )
    groups, lost, licences = make_groups(plan, sentences, work, on_progress=on_progress)
    dropped += lost
    write_rows(out / "dropped.jsonl", map(asdict, dropped))
    task = None
    if "write" in stages:
        task = out / plan.name
        _clear(task, work)
        rows = write_groups(plan, groups, dropped, task, licences=licences)
        write_training_rows(rows, out / ECHAT_ROWS)
        (work / "written").write_text(str(task.resolve()), encoding="utf-8")
    return Built(
        task=task,
        sentences=len({group.sentence.id for group in groups}),
        groups=len(groups),
        clips=sum(len(group.clips) for group in groups),
        dropped=tuple(dropped),
        cost=cost,
    )


def make_sentences(
    plan: Plan, work: Path, *, budget: Budget | None = None, on_progress: OnProgress = _silent
) -> str:
    """Write `work/sentences.jsonl`, from the plan's file or its server; return the cost as one line."""
    dropped: list[Dropped] = []
    line = ""
    if plan.texts.file is not None:
        sentences: Sequence[Sentence] = read_sentences(plan.path(plan.texts.file))
    else:
        wanted = assignments(plan)
        progress = partial(_tell, on_progress, "texts", len(wanted))
        server = TextServer(plan, work / "answers.jsonl", budget=budget, on_progress=progress)
        sentences, dropped = server.write(wanted)
        line = server.meter.line() if server.meter is not None else ""
    if not sentences:
        raise BadData(f"{plan.name}: no sentence was written; first reason: {_first(dropped)}")
    _check_sentences(plan, sentences)
    write_rows(work / "sentences.jsonl", map(sentence_row, sentences))
    write_rows(work / "dropped-texts.jsonl", map(asdict, dropped))
    return line


def _first(dropped: Sequence[Dropped]) -> str:
    return f"{dropped[0].reason}, {dropped[0].detail}" if dropped else "the plan asks for none"


def _tell(on_progress: OnProgress, stage: str, total: int, done: int) -> None:
    on_progress(stage, done, total)


def _check_sentences(plan: Plan, sentences: Sequence[Sentence]) -> None:
    for sentence in sentences:
        if sentence.language not in plan.voices:
            raise BadData(f"sentence {sentence.id}: the plan has no voice for '{sentence.language}'")
        for member in sentence.members:
            for cue, label in member.cues.items():
                if label not in plan.cues.get(cue, ()):
                    raise BadData(f"sentence {sentence.id}: {cue} '{label}' is not among the plan's cues")


def make_groups(
    plan: Plan, sentences: Sequence[Sentence], work: Path, *, on_progress: OnProgress = _silent
) -> tuple[list[Group], list[Dropped], list[str]]:
    """Return the groups that pass all checks, those that do not, and the licences of what was used."""
    voices = {language: voice_for(plan, voice) for language, voice in plan.voices.items()}
    events = events_for(plan)
    checks = ClipChecks(plan)
    maker = GroupMaker(plan, voices, events, SpeechStore(work / "speech"))
    speakers = speakers_of(plan, sentences)
    wanted = [(sentence, speaker) for sentence in sentences for speaker in speakers[sentence.id]]
    groups: list[Group] = []
    dropped: list[Dropped] = []
    store = GroupStore(work / "groups", checks.facts())
    try:
        for number, (sentence, speaker) in enumerate(wanted, 1):
            placement = maker.place(sentence, speaker)
            key = maker.key(sentence, speaker, placement)
            if (found := store.find(key, sentence, speaker)) is None:
                found = _made(maker, checks, sentence, speaker, placement)
                store.keep(key, found)
            if isinstance(found, Group):
                groups.append(found)
            else:
                dropped.append(found)
            on_progress("clips", number, len(wanted))
    finally:
        checks.close()
    used = {language for language in voices if any(s.language == language for s in sentences)}
    licences = [voices[language].licence for language in sorted(used)]
    if any("event" in member.cues for sentence in sentences for member in sentence.members):
        licences.append(f"Sounds: {events.licence}")
    return groups, dropped, list(dict.fromkeys(licences))


def _made(
    maker: GroupMaker, checks: ClipChecks, sentence: Sentence, speaker: str, placement: Placement
) -> Group | Dropped:
    """Return a group that passes all checks, or why it is dropped."""
    lost = _once(maker, checks, sentence, speaker, placement)
    for number in range(1, maker.plan.events.retakes + 1 if maker.has_event(sentence) else 1):
        if isinstance(lost, Group):
            break
        lost = _once(maker, checks, sentence, speaker, maker.retake(placement, number))
    return lost


def _once(
    maker: GroupMaker, checks: ClipChecks, sentence: Sentence, speaker: str, placement: Placement
) -> Group | Dropped:
    name = f"{sentence.id} {speaker}"
    try:
        group = maker.make(sentence, speaker, placement)
    except BadData as error:
        return Dropped(stage="clips", id=name, reason="does-not-fit", detail=str(error))
    except (SystemFailure, Unavailable) as error:
        return Dropped(stage="clips", id=name, reason="voice-failed", detail=str(error))
    return checks.fault_of(group) or group


def _stored_sentences(work: Path) -> list[Sentence]:
    path = work / "sentences.jsonl"
    if not path.is_file():
        raise UsageError(f"{path} is missing; run the stage texts first")
    return [sentence_from(row, f"{path}:{line}") for line, row in read_rows(path)]


def _stored_dropped(path: Path) -> list[Dropped]:
    return [Dropped(**row) for _, row in read_rows(path)] if path.is_file() else []


def _clear(task: Path, work: Path) -> None:
    """Remove the task folder if an earlier build of this folder wrote it."""
    note = work / "written"
    if task.exists() and note.is_file() and note.read_text(encoding="utf-8") == str(task.resolve()):
        shutil.rmtree(task)
