"""Error attribution: was the cue perceived, do the words fit it, does the voice fit it?

For systems whose replies name the cue (`Reply.perceived`), or that answered a probing question about the same
recording (`run --ask CUE`). `perceptions_of` returns the rows behind every recall, confusion and attribution,
on the leaderboard and in reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.labels import UNKNOWN, is_right
from echat_eval.labels.declared import cues_of
from echat_eval.records import JudgeEvidence
from echat_eval.scorers.understanding import WAR
from echat_eval.stats import Estimate, level_mean
from echat_eval.task.probe import probed_name

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable

    from echat_eval.records import Cue, Response, Sample, Score

__all__ = [
    "ASKED",
    "NAMED",
    "VOICED_FROM",
    "WORDED_FROM",
    "Attribution",
    "AttributionRow",
    "Perceptions",
    "Recognition",
    "Share",
    "attribution_shares",
    "by_task",
    "perceptions_of",
    "recognition",
]

#: Cue awareness of a verdict, of 5, from which the words fit the cue (the rubric's anchor for 4).
WORDED_FROM = 4
#: A voice score, of 100, from which the voice fits (the rubric's anchor for 4 of 5).
VOICED_FROM = 80.0
#: Sources of a perceived label: the reply itself, or the answer to a probing question.
NAMED, ASKED = "named in its replies", "asked afterwards"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionRow:
    """Perception and grades of one reply for one cue.

    Attributes:
        task: the sample's task.
        perceived: the label that the system named; "unknown": it named none, which is wrong; None: not
            measured.
        cue_awareness: grade of the words, 0 to 5; None: no verdict.
        voice: voice score, 0 to 100; None: the voice was not scored.
    """

    cue: str
    gold: str
    cluster: Hashable
    task: str = ""
    perceived: str | None = None
    cue_awareness: float | None = None
    voice: float | None = None


#: (system, cue, source) -> rows, in the order of the samples.
Perceptions = Mapping[tuple[str, str, str], Sequence[AttributionRow]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """One outcome: whether perception, words and voice are right; `voiced` None: not scored."""

    perceived: bool
    worded: bool
    voiced: bool | None

    def __str__(self) -> str:
        """Return the outcome as text."""
        voice = {True: "voiced right", False: "voiced wrong", None: "voice not scored"}[self.voiced]
        perception = "perceived" if self.perceived else "not perceived"
        return f"{perception}, {'worded right' if self.worded else 'worded wrong'}, {voice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Share of one outcome, in percent, with its interval over clusters."""

    outcome: Attribution
    label: str
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """Recognition rates of one cue, in percent.

    Attributes:
        uar: unweighted average recall: mean over labels of the share that is right.
        war: weighted average recall: share of samples that is right.
        per_label: label -> (right, samples).
        steps: of an ordinal cue, the mean distance of the perceived label in steps, over the samples that
            have one, and their number; None: of another cue, or no sample has one.
    """

    cue: str
    uar: Estimate
    war: Estimate
    per_label: Mapping[str, tuple[int, int]]
    steps: tuple[float, int] | None = None


def perceptions_of(
    samples: Mapping[tuple[str, str], Sample],
    responses: Mapping[tuple[str, str, str], Response],
    scores: Iterable[Score],
    clusters: Mapping[Any, Hashable],
    *,
    oracles: Collection[str] = (),
) -> Perceptions:
    """Return what each system perceived of each cue, with the grades of the replies.

    A system that names a cue in one of its replies has a row for every sample with that cue: a reply that
    names no label and a failed reply are wrong. Missing replies are in no row. The answers to `run --ask CUE`
    about the same recordings are rows of their own, by the same rule.

    Args:
        samples: (task, sample id) -> sample.
        responses: (system, task, sample id) -> response.
        scores: all scores; a judge's evidence has the grades, `understanding_war` the answers.
        clusters: (task, sample id) -> cluster.
        oracles: systems that are given the labels; what they "perceive" is not a measurement.
    """
    found = list(scores)
    # A judge that listens grades no words.
    grades = {
        (s.system, s.task, s.sample_id): s.evidence.grades
        for s in found
        if isinstance(s.evidence, JudgeEvidence) and "cue_awareness" in s.evidence.grades
    }
    voice_metrics = {f"{s.metric}_voice" for s in found if isinstance(s.evidence, JudgeEvidence)}
    voices = {
        (s.system, s.task, s.sample_id): s.value
        for s in found
        if s.metric in voice_metrics and s.state == "value"
    }
    rows: dict[tuple[str, str, str], list[AttributionRow]] = {}
    known = cues_of(samples.values())

    def add(ident: tuple[str, str, str], cue: str, source: str, label: str | None) -> None:
        row = AttributionRow(
            cue=cue,
            gold=samples[ident[1:]].cues[cue],
            cluster=clusters[ident[1:]],
            task=ident[1],
            # A stored reply may name a label that the task no longer has.
            perceived=label if label in known[cue].labels else UNKNOWN,
            cue_awareness=grades.get(ident, {}).get("cue_awareness"),
            voice=voices.get(ident),
        )
        rows.setdefault((ident[0], cue, source), []).append(row)

    replies = {
        ident: response.reply.perceived if response.reply is not None else {}
        for ident, response in responses.items()
        if ident[0] not in oracles
        and samples[ident[1:]].asks is None
        and response.state in ("value", "failed")
    }
    names = {(ident[0], cue) for ident, perceived in replies.items() for cue in perceived}
    for ident, perceived in replies.items():
        for cue in samples[ident[1:]].cues:
            if (ident[0], cue) in names:
                add(ident, cue, NAMED, perceived.get(cue))
    talked = {ident[:2] for ident in replies}
    task_of = {probed_name(task, cue): task for task in {task for task, _ in samples} for cue in known}
    for score in found:
        asks, task = samples[score.task, score.sample_id].asks, task_of.get(score.task, "")
        if asks in known and score.metric == WAR.name and (score.system, task) in talked:
            ident = (score.system, task, score.sample_id)
            if score.state in ("value", "failed") and ident[1:] in samples:
                answered = (
                    None if isinstance(score.evidence, JudgeEvidence) else score.evidence.get("answered")
                )
                add(ident, str(asks), ASKED, answered)
    return rows


def by_task(rows: Sequence[AttributionRow]) -> dict[str, list[AttributionRow]]:
    """Return task -> its rows."""
    tasks: dict[str, list[AttributionRow]] = {}
    for row in rows:
        tasks.setdefault(row.task, []).append(row)
    return tasks


def recognition(cue: Cue, rows: Sequence[tuple[str, str, Hashable]]) -> Recognition:
    """Return UAR and WAR of one task with intervals over clusters.

    "unknown" counts as wrong. A label without samples is excluded, so two checkpoints are comparable if they
    answered the same samples.

    Args:
        cue: with its labels.
        rows: (gold, perceived, cluster).

    Raises:
        BadData: no rows, or a label that the cue does not have.
    """
    if not rows:
        raise BadData(f"no sample has a perceived {cue.name}")
    for gold, perceived, _ in rows:
        for label in (gold, perceived):
            if label not in (*cue.labels, UNKNOWN):
                raise BadData(f"'{label}' is not a label of {cue.name}; labels are {', '.join(cue.labels)}")
    counts = {label: sum(gold == label for gold, _, _ in rows) for label in cue.labels}
    right = [100.0 * is_right(gold, perceived) for gold, perceived, _ in rows]
    codes = _codes([cluster for _, _, cluster in rows])
    hits = {
        label: sum(g == label and is_right(g, p) for g, p, _ in rows)
        for label, count in counts.items()
        if count
    }
    return Recognition(
        cue=cue.name,
        steps=_steps(cue, rows),
        uar=level_mean(right, codes, low=WAR.low, high=WAR.high, strata=[gold for gold, _, _ in rows]),
        war=level_mean(right, codes, low=WAR.low, high=WAR.high),
        per_label={label: (hit, counts[label]) for label, hit in hits.items()},
    )


def _steps(cue: Cue, rows: Sequence[tuple[str, str, Hashable]]) -> tuple[float, int] | None:
    place = {label: number for number, label in enumerate(cue.labels)}
    steps = [abs(place[gold] - place[found]) for gold, found, _ in rows if found in place]
    return (sum(steps) / len(steps), len(steps)) if cue.ordinal and steps else None


def attribution_shares(rows: Sequence[AttributionRow], *, by_label: bool = False) -> list[Share]:
    """Return the share of every outcome, over all labels and, with `by_label`, per gold label.

    Rows that were not measured and rows without a verdict on the words are excluded: missing is not wrong.

    Raises:
        BadData: no row has both.
    """
    known = [row for row in rows if row.perceived is not None and row.cue_awareness is not None]
    if not known:
        raise BadData("no reply has both a perceived label and a verdict; error attribution needs both")
    outcomes = [_outcome(row) for row in known]
    possible = [
        Attribution(perceived=p, worded=w, voiced=v)
        for p, w, v in product((True, False), (True, False), (True, False, None))
        if any(outcome.voiced == v for outcome in outcomes)
    ]
    labels = ["all", *(dict.fromkeys(row.gold for row in known) if by_label else ())]
    shares = []
    for label in labels:
        selected = [n for n, row in enumerate(known) if label in ("all", row.gold)]
        codes = _codes([known[n].cluster for n in selected])
        for outcome in possible:
            hits = [100.0 * (outcomes[n] == outcome) for n in selected]
            shares.append(
                Share(outcome=outcome, label=label, estimate=level_mean(hits, codes, low=0, high=100))
            )
    return shares


def _outcome(row: AttributionRow) -> Attribution:
    assert row.cue_awareness is not None
    return Attribution(
        perceived=is_right(row.gold, row.perceived),
        worded=row.cue_awareness >= WORDED_FROM,
        voiced=None if row.voice is None else row.voice >= VOICED_FROM,
    )


def _codes(clusters: Sequence[Hashable]) -> list[Hashable]:
    return list(clusters)
