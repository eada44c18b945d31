"""Two systems on the samples they share: one row per task, sample and metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.analysis.frames import IN_ALL, LINKS, SLICES
from echat_eval.errors import BadData
from echat_eval.stats import STATED, connected_clusters, unit_codes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from echat_eval.stats import Sentences

__all__ = ["UNIT", "Pairs", "pair", "table_units"]

SAMPLE = ["task", "sample_id"]
KEY = [*SAMPLE, "metric"]
#: Columns of the numbers of speaker and sentence in a frame of pairs.
UNIT = ["speaker", "sentence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Rows of the samples that two systems share.

    Attributes:
        frame: columns task, sample_id, metric, value, against, weight, against_weight, state,
            against_state, speaker and sentence (numbers; samples that share one vary together), same_reply
            (both replies are known to be the same bytes), label, language, source,
            in_all ("no": the row counts in its task only).
        shared: number of samples that both have.
        only_candidate, only_against: number of samples that only one of them has.
        linked: whether a column links samples that vary together; if not, each counts as independent.
    """

    frame: pd.DataFrame
    shared: int
    only_candidate: int
    only_against: int
    linked: bool

    @property
    def counts(self) -> str:
        """Return the counts as a sentence."""
        text = f"{self.shared} shared samples"
        if self.only_candidate or self.only_against:
            text += (
                f" ({self.only_candidate} only in the candidate, {self.only_against} only in the baseline)"
            )
        return text


def pair(
    candidate: pd.DataFrame,
    against: pd.DataFrame,
    *,
    metrics: Sequence[str],
    sentences: Sentences = "random",
) -> Pairs:
    """Join two checked tables of one system each.

    Args:
        candidate: a checked table of one system.
        against: a checked table of the baseline.
        metrics: metrics to keep; others are dropped.
        sentences: whether results should hold for other sentences (see `stats.factors`).

    Raises:
        BadData: a metric is absent from one of them, they share no sample, or a sample has two labels.
    """
    import pandas as pd

    for name, frame in (("candidate", candidate), ("baseline", against)):
        found = set(frame["metric"].unique())
        if absent := [metric for metric in metrics if metric not in found]:
            raise BadData(f"the {name} has no metric '{absent[0]}'; it has {', '.join(sorted(found))}")
    ours, theirs = (frame[frame["metric"].isin(metrics)] for frame in (candidate, against))
    joined = ours.merge(theirs, on=KEY, suffixes=("", "_against"), how="inner", sort=False)
    in_ours, in_theirs = (set(_samples(frame)) for frame in (ours, theirs))
    if joined.empty:
        raise BadData(
            f"no shared samples: the candidate has {len(in_ours)}, the baseline {len(in_theirs)}, and no "
            "task and sample_id is in both; compare runs of the same tasks"
        )
    _refuse_two_labels(joined)
    for name in (*LINKS, *SLICES, IN_ALL):
        joined[name] = joined[name].where(joined[name].notna(), joined[f"{name}_against"])
    samples = joined.drop_duplicates(SAMPLE)
    codes = table_units(samples, sentences=sentences)
    numbered = samples[SAMPLE].assign(**dict(zip(UNIT, codes.T, strict=True)))
    units = joined[SAMPLE].merge(numbered, on=SAMPLE, how="left")
    frame = pd.DataFrame(
        {
            **{name: joined[name] for name in KEY},
            "value": joined["value"],
            "against": joined["value_against"],
            "weight": joined["weight"],
            "against_weight": joined["weight_against"],
            "state": joined["state"],
            "against_state": joined["state_against"],
            **{name: units[name].to_numpy() for name in UNIT},
            "same_reply": joined["reply"].notna() & (joined["reply"] == joined["reply_against"]),
            **{name: joined[name] for name in (*SLICES, IN_ALL)},
        }
    )
    return Pairs(
        frame=frame,
        shared=len(in_ours & in_theirs),
        only_candidate=len(in_ours - in_theirs),
        only_against=len(in_theirs - in_ours),
        linked=bool(joined[list(LINKS)].notna().any(axis=None)),
    )


def _refuse_two_labels(joined: pd.DataFrame) -> None:
    ours, theirs = joined["label"], joined["label_against"]
    differs = ours.notna() & theirs.notna() & (ours != theirs)
    if differs.any():
        row = joined[differs].iloc[0]
        raise BadData(
            f"task '{row.task}', sample '{row.sample_id}': the label is '{row.label}' in the candidate and "
            f"'{row.label_against}' in the baseline, and {int(differs.sum()) - 1} more rows differ; "
            "both must have the gold label"
        )


def _samples(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (task, sample id) of every sample of a table."""
    unique = frame[SAMPLE].drop_duplicates()
    return list(zip(unique["task"].tolist(), unique["sample_id"].tolist(), strict=True))


def table_units(samples: pd.DataFrame, *, sentences: Sentences = "random") -> NDArray[np.int64]:
    """Return the speaker and the sentence of each sample of a checked table as numbers, (rows, 2).

    Samples have the same sentence if they share a transcript or, within a task, a contrast group. A column
    `cluster` states the independent units itself and replaces the others in its rows; the design is then
    one-way.
    """
    speakers, transcripts, clusters = (
        samples[name].tolist() for name in ("speaker", "transcript", "cluster")
    )
    groups = [
        None if group is None else (task, group)
        for task, group in zip(samples["task"].tolist(), samples["contrast_group"].tolist(), strict=True)
    ]
    if all(cluster is None for cluster in clusters):
        return unit_codes(speakers, list(zip(transcripts, groups, strict=True)), kind=sentences)
    links = zip(speakers, transcripts, groups, strict=True)
    keys = [
        (None, *link) if cluster is None else (cluster, None, None, None)
        for cluster, link in zip(clusters, links, strict=True)
    ]
    codes = connected_clusters(keys)
    return np.stack([codes, np.full_like(codes, STATED)], axis=1)
