"""Links a judge to one that it replaces: both grade anchors, and the new scores get old-scale estimates."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from echat_eval.errors import NotApplicable, SystemFailure, Unavailable
from echat_eval.judge import text_score
from echat_eval.labels import gold_label
from echat_eval.scorers.link_settings import FEWEST
from echat_eval.scorers.transcripts import words_of
from echat_eval.stats import as_design
from echat_eval.stats.factors import units_of
from echat_eval.stats.linking import (
    MIN_CLUSTERS,
    SliceShift,
    anchor_weights,
    draw_anchors,
    fit_link,
    linked_mean,
    slice_shifts,
)
from echat_eval.store.cases import cases_of, visible_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.ports import Case
    from echat_eval.records import Score
    from echat_eval.scorers.judged import Judged
    from echat_eval.stats import Estimate
    from echat_eval.store.run_folder import RunFolder

__all__ = [
    "JudgeLink",
    "SystemEstimate",
    "judge_name",
    "link_judges",
]

#: Seed of the draw of anchors.
SEED = 0
LinkState = Literal["linked", "disagree", "open", "too few"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemEstimate:
    """A system's mean on the old judge's scale: an estimate, and no score.

    Attributes:
        estimate: None without an anchor among its replies; without an interval, its anchors are too few.
        anchors: number of its replies that both judges graded.
    """

    system: str
    estimate: Estimate | None
    anchors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeLink:
    """The link of a judge to the one that it replaces.

    Attributes:
        new, old: names of the judges, with their models.
        metric: of the new judge.
        state: "linked"; "disagree" or "open": a slice differs, or is not shown to agree; "too few": anchors.
        anchors, clusters: that both judges graded.
        unanswered: anchors without a verdict of the old judge.
        slices: that were tested, the clearest disagreement first.
        systems: in the run's order; empty unless the state is "linked".
        pairs: system, task, sample id, new and old score of every anchor.
        reason: why the old judge graded no more; "" if it graded all.
    """

    new: str
    old: str
    metric: str
    state: LinkState
    anchors: int
    clusters: int
    unanswered: int
    slices: tuple[SliceShift, ...] = ()
    systems: tuple[SystemEstimate, ...] = ()
    pairs: tuple[tuple[str, str, str, float, float], ...] = ()
    reason: str = ""


def link_judges(folder: RunFolder, new: Judged, old: Judged, *, anchors: int) -> JudgeLink:
    """Return the link of a run's judge to an old one, which grades the anchors.

    Args:
        folder: with the replies and the new judge's scores.
        new: whose scores are linked.
        old: its stored verdicts are used; if its server is away, only they are.
        anchors: the largest number of replies that the old judge grades.
    """
    replies = _replies(folder, new)
    able = [n for n, reply in enumerate(replies) if reply.case is not None and _can_grade(old, reply.case)]
    selected = [
        able[i]
        for i in draw_anchors(
            [replies[n].cell for n in able], [replies[n].cluster for n in able], anchors, seed=SEED
        )
    ]
    cases = [case for n in selected if (case := replies[n].case) is not None]
    with ThreadPoolExecutor(max_workers=old.calls_at_once) as pool:
        grades = list(pool.map(lambda case: _points(old, case), cases))
    found = {n: grade for n, grade in zip(selected, grades, strict=True) if isinstance(grade, float)}
    reasons = [grade for grade in grades if isinstance(grade, str)]
    unanswered = len(selected) - len(found)
    if old.judge_client.identity_error is not None:
        unanswered, reasons = min(anchors, len(replies)) - len(found), [old.judge_client.identity_error]
    return _linked(
        replies,
        found,
        new,
        names=(judge_name(new), old.judge_client.client.model),
        unanswered=unanswered,
        reason=next(iter(reasons), ""),
    )


def judge_name(judged: Judged) -> str:
    """Return the name of a judge for people: its model, and its own name before it."""
    model = judged.judge_client.client.model
    return model if judged.judge_name in (None, model) else f"{judged.judge_name} ({model})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    """A scored reply; `case` is None if it failed."""

    score: Score
    value: float
    case: Case | None
    cell: tuple[str, str, str]
    cluster: int
    unit: tuple[int, int]
    language: str

    @property
    def label(self) -> str:
        return f"{self.cell[1]} {self.cell[2]}".strip()


def _replies(folder: RunFolder, new: Judged) -> list[_Reply]:
    """Return the replies that the new judge scored, and those that failed."""
    metric = new.metrics[0].name
    samples = {(s.task, s.id): s for s in folder.samples()}
    units = units_of(list(samples.values()))
    cases = {(c.response.system, c.sample.task, c.sample.id): c for c in cases_of(folder)}
    rows = [
        score
        for (system, task, ident, name), score in folder.scores().items()
        if name == metric and score.value is not None and (system, task, ident) in cases
    ]
    if not rows:
        return []
    design = as_design([units[row.task, row.sample_id] for row in rows])
    # Where everything is connected, as in crossed data, a component is no unit to draw from.
    clusters = design.cells if design.crossed else design.components
    found = []
    for row, cluster in zip(rows, clusters.tolist(), strict=True):
        sample = samples[row.task, row.sample_id]
        assert row.value is not None
        found.append(
            _Reply(
                score=row,
                value=row.value,
                case=cases[row.system, row.task, row.sample_id] if row.state == "value" else None,
                cell=(row.system, row.task, gold_label(sample.cues, sample.asks) or ""),
                cluster=cluster,
                unit=units[row.task, row.sample_id],
                language=sample.language,
            )
        )
    return found


def _can_grade(old: Judged, case: Case) -> bool:
    """Return whether the old judge has graded a reply, or can be asked to."""
    try:
        question = old.question_of(visible_to(old.needs, case))
        keys = [old.judge_client.prompt_of(question, repeat)[1] for repeat in range(old.repeats)]
    except (SystemFailure, NotApplicable, Unavailable):
        return False
    return old.judge_client.identity_error is None or all(map(old.judge_client.has_ruling, keys))


def _points(old: Judged, case: Case) -> float | str:
    """Return the old judge's score of a reply, or why it has none."""
    question = old.question_of(visible_to(old.needs, case))
    try:
        rulings = [old.judge_client.rule(question, repeat=repeat) for repeat in range(old.repeats)]
    except (Unavailable, NotApplicable) as error:
        return str(error)
    return fmean(text_score(old.judge, ruling.verdict.grades, question.task) for ruling in rulings)


def _linked(
    replies: Sequence[_Reply],
    grades: Mapping[int, float],
    new: Judged,
    *,
    names: tuple[str, str],
    unanswered: int,
    reason: str,
) -> JudgeLink:
    """Return the link that the old judge's grades of some replies make."""
    selected = sorted(grades)
    found = JudgeLink(
        new=names[0],
        old=names[1],
        metric=new.metrics[0].name,
        state="too few",
        anchors=len(selected),
        clusters=as_design([replies[n].unit for n in selected]).clusters if selected else 0,
        unanswered=unanswered,
        reason=reason,
        pairs=tuple(
            (*replies[n].cell[:2], replies[n].score.sample_id, replies[n].value, grades[n]) for n in selected
        ),
    )
    if len(selected) < FEWEST or found.clusters < 2 * MIN_CLUSTERS:
        return found
    old_scores = np.array([grades[n] for n in selected])
    link = fit_link([replies[n].value for n in selected], old_scores, low=0.0, high=100.0)
    linked = link.old_scale([reply.value for reply in replies])
    linked[[n for n, reply in enumerate(replies) if reply.case is None]] = new.metrics[0].worst or 0.0
    left = dict(zip(selected, (old_scores - linked[selected]).tolist(), strict=True))
    shifts = slice_shifts(
        list(left.values()), _slices(replies, selected), as_design([replies[n].unit for n in selected])
    )
    if not shifts:
        return found
    states = {shift.state for shift in shifts}
    if states & {"differs", "open"}:
        return replace(found, slices=tuple(shifts), state="disagree" if "differs" in states else "open")
    systems = dict.fromkeys(reply.cell[0] for reply in replies)
    return replace(
        found,
        state="linked",
        slices=tuple(shifts),
        systems=tuple(_estimate(name, replies, linked, left) for name in systems),
    )


def _slices(replies: Sequence[_Reply], selected: Sequence[int]) -> dict[str, list[str]]:
    """Return kind -> the slice of each anchor."""
    anchors = [replies[n] for n in selected]
    lengths = [len(words_of(reply.case)) for reply in anchors if reply.case is not None]
    middle = median(lengths)
    return {
        "task": [reply.cell[1] for reply in anchors],
        "language": [reply.language for reply in anchors],
        "label": [reply.label for reply in anchors],
        "system": [reply.cell[0] for reply in anchors],
        "length": ["long" if length > middle else "short" for length in lengths],
    }


def _estimate(
    system: str, replies: Sequence[_Reply], linked: np.ndarray[Any, Any], left: Mapping[int, float]
) -> SystemEstimate:
    own = [n for n, reply in enumerate(replies) if reply.cell[0] == system]
    graded = [n for n in own if replies[n].case is not None]
    place = {n: i for i, n in enumerate(graded)}
    anchors = [n for n in graded if n in left]
    if not anchors:
        return SystemEstimate(system=system, estimate=None, anchors=0)
    weights = anchor_weights(
        [replies[n].cell for n in graded], [replies[n].cluster for n in graded], [place[n] for n in anchors]
    )
    at = {n: i for i, n in enumerate(own)}
    found = linked_mean(
        linked[own],
        as_design([replies[n].unit for n in own]),
        anchors=[at[n] for n in anchors],
        left=[left[n] for n in anchors],
        weights=weights,
        low=0.0,
        high=100.0,
        share=len(graded) / len(own),
    )
    return SystemEstimate(system=system, estimate=found, anchors=len(anchors))
