"""Error attribution: was the cue perceived, do the words fit it, does the voice fit it?

For systems whose replies name the cue (`Reply.perceived`), or that answered a probing question about the same
recording (`run --ask CUE`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from echat_eval.errors import BadData
from echat_eval.labels import LABELS, UNKNOWN
from echat_eval.stats import Estimate, cluster_mean

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = [
    "VOICED_FROM",
    "WORDED_FROM",
    "Attribution",
    "AttributionRow",
    "Recognition",
    "Share",
    "attribution_shares",
    "recognition",
]

#: Cue awareness of a verdict, of 5, from which the words fit the cue (the rubric's anchor for 4).
WORDED_FROM = 4
#: A voice score, of 100, from which the voice fits (the rubric's anchor for 4 of 5).
VOICED_FROM = 80.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionRow:
    """Perception and grades of one reply for one cue.

    Attributes:
        perceived: the label that the system named; None: it named none.
        cue_awareness: grade of the words, 0 to 5; None: no verdict.
        voice: voice score, 0 to 100; None: the voice was not scored.
    """

    cue: str
    gold: str
    cluster: Hashable
    perceived: str | None = None
    cue_awareness: float | None = None
    voice: float | None = None


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
    """

    cue: str
    uar: Estimate
    war: Estimate
    per_label: Mapping[str, tuple[int, int]]


def recognition(cue: str, rows: Sequence[tuple[str, str, Hashable]]) -> Recognition:
    """Return UAR and WAR with intervals over clusters.

    UAR is a weighted mean over samples with weights of one over the label's count, so it has the interval of
    a mean. The values of each label are first centred on the mean over labels: differences between labels
    are not uncertainty. "unknown" counts as wrong. A label without samples is excluded, so two checkpoints
    are comparable if they answered the same samples.

    Args:
        rows: (gold, perceived, cluster).

    Raises:
        BadData: no rows, or a label that the benchmark does not have.
    """
    if not rows:
        raise BadData(f"no sample has a perceived {cue}")
    for gold, perceived, _ in rows:
        for label in (gold, perceived):
            if label not in (*LABELS[cue], UNKNOWN):
                raise BadData(f"'{label}' is not a label of {cue}; labels are {', '.join(LABELS[cue])}")
    counts = {label: sum(gold == label for gold, _, _ in rows) for label in LABELS[cue]}
    right = [100.0 * (gold == perceived) for gold, perceived, _ in rows]
    codes = _codes([cluster for _, _, cluster in rows])
    hits = {label: sum(g == label == p for g, p, _ in rows) for label, count in counts.items() if count}
    label_recall = {label: 100.0 * hit / counts[label] for label, hit in hits.items()}
    mean_recall = sum(label_recall.values()) / len(label_recall)
    centred = [
        value - label_recall[gold] + mean_recall for value, (gold, _, _) in zip(right, rows, strict=True)
    ]
    return Recognition(
        cue=cue,
        uar=cluster_mean(centred, codes, weights=[1 / counts[gold] for gold, _, _ in rows]),
        war=cluster_mean(right, codes),
        per_label={label: (hit, counts[label]) for label, hit in hits.items()},
    )


def attribution_shares(rows: Sequence[AttributionRow], *, by_label: bool = False) -> list[Share]:
    """Return the share of every outcome, over all labels and, with `by_label`, per gold label.

    Rows without a perceived label or without a verdict on the words are excluded: missing is not wrong.

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
            shares.append(Share(outcome=outcome, label=label, estimate=cluster_mean(hits, codes)))
    return shares


def _outcome(row: AttributionRow) -> Attribution:
    assert row.cue_awareness is not None
    return Attribution(
        perceived=row.perceived == row.gold,
        worded=row.cue_awareness >= WORDED_FROM,
        voiced=None if row.voice is None else row.voice >= VOICED_FROM,
    )


def _codes(clusters: Sequence[Hashable]) -> list[Hashable]:
    return list(clusters)
