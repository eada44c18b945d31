"""The stages from a plan to a task folder; each keeps what it made, and does only what is missing."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from echat_eval.errors import BadData, RunError, SystemFailure, Unavailable, UsageError
from echat_eval.io.display import counted
from echat_eval.io.jsonl import read_rows, write_rows
from echat_eval.testset.assign import assignments, speakers_of
from echat_eval.testset.clip_checks import ClipChecks
from echat_eval.testset.events import events_for
from echat_eval.testset.group_store import GroupStore
from echat_eval.testset.groups import Group, GroupMaker, Placement, SpeechStore
from echat_eval.testset.preflight import (
    check_out,
    check_same_plan,
    check_sentences,
    given_sentences,
    is_ours,
    note_plan,
)
from echat_eval.testset.sentences import Dropped, Sentence, sentence_from, sentence_row
from echat_eval.testset.text_rules import kept_sentences
from echat_eval.testset.text_server import TextServer, cost_of_a_call
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
        wanted_sentences, wanted_groups: how many the plan asks for; None: its stage was not asked for.
        cost: of the text server, as one line.
    """

    task: Path | None
    sentences: int
    groups: int
    clips: int
    dropped: tuple[Dropped, ...]
    wanted_sentences: int | None = None
    wanted_groups: int | None = None
    cost: str = ""

    @property
    def lacking(self) -> str:
        """Return what was not made, such as "wanted 4 sentences, got 2"; "" if all was."""
        counts = (
            ("sentence", self.wanted_sentences, self.sentences),
            ("group", self.wanted_groups, self.groups),
        )
        return "; ".join(
            f"wanted {counted(wanted, noun)}, got {got}"
            for noun, wanted, got in counts
            if wanted is not None and got < wanted
        )

    def __str__(self) -> str:
        """Return the numbers as one line."""
        reasons = ", ".join(
            f"{reason} {n}" for reason, n in Counter(d.reason for d in self.dropped).most_common()
        )
        lost = f", {len(self.dropped)} dropped ({reasons})" if self.dropped else ""
        cost = f"; {self.cost}" if self.cost else ""
        made = [(self.sentences, "sentence"), (self.groups, "group"), (self.clips, "clip")]
        return f"{', '.join(counted(n, noun) for n, noun in made)}{lost}{cost}"


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
        UsageError: an unknown stage, a task folder that no build made, or sentences of another plan.
        RunError: nothing is left.
    """
    if unknown := [stage for stage in stages if stage not in STAGES]:
        raise UsageError(f"stage '{unknown[0]}'; expected {', '.join(STAGES)}")
    work = out / "work"
    check_out(plan, out, writes="write" in stages)
    if stages[-1] != "texts":
        _check_voices(plan)
    cost, wanted = "", None
    if "texts" in stages:
        cost, wanted = make_sentences(plan, work, budget=budget, on_progress=on_progress)
    else:
        check_same_plan(plan, work)
    sentences = _stored_sentences(work)
    check_sentences(plan, sentences, work / "sentences.jsonl")
    dropped = _stored_dropped(work / "dropped-texts.jsonl")
    if stages[-1] == "texts":
        write_rows(out / "dropped.jsonl", map(asdict, dropped))
        return Built(
            task=None,
            sentences=len(sentences),
            groups=0,
            clips=0,
            dropped=tuple(dropped),
            wanted_sentences=wanted,
            cost=cost,
        )
    groups, lost, licences = make_groups(plan, sentences, work, on_progress=on_progress)
    dropped += lost
    write_rows(out / "dropped.jsonl", map(asdict, dropped))
    task = None
    if "write" in stages:
        task = out / plan.name
        if task.exists() and is_ours(task, work):
            shutil.rmtree(task)
        rows = write_groups(plan, groups, dropped, task, licences=licences)
        write_training_rows(rows, out / ECHAT_ROWS)
        (work / "written").write_text(str(task.resolve()), encoding="utf-8")
    return Built(
        task=task,
        sentences=len({group.sentence.id for group in groups}),
        groups=len(groups),
        clips=sum(len(group.clips) for group in groups),
        dropped=tuple(dropped),
        wanted_sentences=len(sentences) if wanted is None else wanted,
        wanted_groups=sum(map(len, speakers_of(plan, sentences).values())),
        cost=cost,
    )


def _check_voices(plan: Plan) -> None:
    """Check that voices, sounds and annotators can be had."""
    for voice in plan.voices.values():
        voice_for(plan, voice)
    events_for(plan)
    ClipChecks(plan).close()


def make_sentences(
    plan: Plan, work: Path, *, budget: Budget | None = None, on_progress: OnProgress = _silent
) -> tuple[str, int]:
    """Write `work/sentences.jsonl`, from the plan's file or its server.

    Returns:
        The cost as one line, and the number of sentences that the plan asks for.

    Raises:
        RunError: no sentence keeps all rules.
    """
    dropped: list[Dropped] = []
    line = note = ""
    if plan.texts.file is not None:
        given = given_sentences(plan)
        sentences, lost = kept_sentences(given, plan.texts.max_words, plan.texts.allow)
        dropped = [Dropped(stage="texts", id=one.id, reason=why, detail=found) for one, why, found in lost]
        count = len(given)
    else:
        wanted = assignments(plan)
        progress = partial(_tell, on_progress, "texts", len(wanted))
        server = TextServer(plan, work / "answers.jsonl", budget=budget, on_progress=progress)
        sentences, dropped = server.write(wanted)
        line = server.meter.line() if server.meter is not None else ""
        count = len(wanted)
        if server.meter is not None and server.meter.withheld:
            note = f"; {cost_of_a_call(plan, wanted, server.meter.table)}"
    write_rows(work / "dropped-texts.jsonl", map(asdict, dropped))
    if not sentences:
        raise RunError(
            f"{plan.name}: no sentence was written; first reason: {_first(dropped)}{note}; "
            f"all reasons: {work / 'dropped-texts.jsonl'}"
        )
    write_rows(work / "sentences.jsonl", map(sentence_row, sentences))
    note_plan(plan, work)
    return line, count


def _first(dropped: Sequence[Dropped]) -> str:
    return f"{dropped[0].reason}, {dropped[0].detail}" if dropped else "the plan asks for none"


def _tell(on_progress: OnProgress, stage: str, total: int, done: int) -> None:
    on_progress(stage, done, total)


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
