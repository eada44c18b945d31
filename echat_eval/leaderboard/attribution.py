"""Where it went wrong: was the cue perceived, were the words right for it, was the voice?

For systems that say what they heard in their replies (`Reply.perceived`), or answered one probing question
about the same recording (`run --ask CUE`).
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
    "recognition",
    "where_it_went_wrong",
]

#: A verdict's cue awareness, of 5, from which the words took the cue up (the rubric's anchor for 4).
WORDED_FROM = 4
#: A voice score, of 100, from which the voice fits (the rubric's anchor for 4 of 5).
VOICED_FROM = 80.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionRow:
    """What is known of one reply and one cue.

    Attributes:
        perceived: the label the system says it heard; None: it said nothing.
        cue_awareness: grade of the words, 0 to 5; None: no verdict.
        voice: voice score, 0 to 100; None: no voice was heard.
    """

    cue: str
    gold: str
    cluster: Hashable
    perceived: str | None = None
    cue_awareness: float | None = None
    voice: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """One of the ways it can go: each part right, wrong, or (None) not known."""

    perceived: bool
    worded: bool
    voiced: bool | None

    def __str__(self) -> str:
        """Return it in words."""
        voice = {True: "voiced right", False: "voiced wrong", None: "voice not heard"}[self.voiced]
        first = "perceived" if self.perceived else "not perceived"
        return f"{first}, {'worded right' if self.worded else 'worded wrong'}, {voice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How often one outcome came, in percent, with its interval over clusters."""

    outcome: Attribution
    label: str
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """How well a cue was perceived, in percent.

    Attributes:
        uar: mean over labels of the share perceived right: each label counts alike.
        war: share of samples perceived right: each sample counts alike.
        per_label: label -> (right, samples).
    """

    cue: str
    uar: Estimate
    war: Estimate
    per_label: Mapping[str, tuple[int, int]]


def recognition(cue: str, rows: Sequence[tuple[str, str, Hashable]]) -> Recognition:
    """Return UAR and WAR with intervals over clusters.

    UAR is a weighted mean over samples whose weights are one over the label's count, so it has the
    interval of a mean; each label's values are moved to the mean over labels first, for what differs
    between labels is no uncertainty. "unknown" is wrong; a label without a sample is in no mean, so two
    checkpoints compare as long as they answered the same samples.

    Args:
        rows: (gold, perceived, cluster).

    Raises:
        BadData: no row, or a label the benchmark does not have.
    """
    if not rows:
        raise BadData(f"no sample says which {cue} was perceived")
    for gold, perceived, _ in rows:
        for label in (gold, perceived):
            if label not in (*LABELS[cue], UNKNOWN):
                raise BadData(f"'{label}' is no {cue}; labels are {', '.join(LABELS[cue])}")
    counts = {label: sum(gold == label for gold, _, _ in rows) for label in LABELS[cue]}
    right = [100.0 * (gold == perceived) for gold, perceived, _ in rows]
    codes = _codes([cluster for _, _, cluster in rows])
    hits = {label: sum(g == label == p for g, p, _ in rows) for label, count in counts.items() if count}
    recall = {label: 100.0 * hit / counts[label] for label, hit in hits.items()}
    whole = sum(recall.values()) / len(recall)
    moved = [value - recall[gold] + whole for value, (gold, _, _) in zip(right, rows, strict=True)]
    return Recognition(
        cue=cue,
        uar=cluster_mean(moved, codes, weights=[1 / counts[gold] for gold, _, _ in rows]),
        war=cluster_mean(right, codes),
        per_label={label: (hit, counts[label]) for label, hit in hits.items()},
    )


def where_it_went_wrong(rows: Sequence[AttributionRow], *, by_label: bool = False) -> list[Share]:
    """Return the share of every outcome, over all labels and, if asked, per gold label.

    Rows that say nothing of what was perceived, or have no verdict on the words, are left out:
    what is missing is not wrong.
    """
    known = [row for row in rows if row.perceived is not None and row.cue_awareness is not None]
    if not known:
        raise BadData("no reply says what was perceived and has a verdict; this needs both")
    outcomes = [_outcome(row) for row in known]
    possible = [
        Attribution(perceived=p, worded=w, voiced=v)
        for p, w, v in product((True, False), (True, False), (True, False, None))
        if any(outcome.voiced == v for outcome in outcomes)
    ]
    labels = ["all", *(dict.fromkeys(row.gold for row in known) if by_label else ())]
    shares = []
    for label in labels:
        chosen = [n for n, row in enumerate(known) if label in ("all", row.gold)]
        codes = _codes([known[n].cluster for n in chosen])
        for outcome in possible:
            hits = [100.0 * (outcomes[n] == outcome) for n in chosen]
            shares.append(Share(outcome=outcome, label=label, estimate=cluster_mean(hits, codes)))
    return shares


def _outcome(row: AttributionRow) -> Attribution:
    assert row.cue_awareness is not None
    return Attribution(
        perceived=row.perceived == row.gold,
        worded=row.cue_awareness >= WORDED_FROM,
        voiced=None if row.voice is None else row.voice >= VOICED_FROM,
    )


def _codes(clusters: Sequence[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(cluster, len(numbers)) for cluster in clusters]
