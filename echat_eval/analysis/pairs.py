"""Two systems on the samples they share: one row per task, sample and metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from echat_eval.analysis.frames import LINKS, SLICES
from echat_eval.errors import BadData
from echat_eval.stats import connected_clusters

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Pairs", "cluster_numbers", "pair"]

SAMPLE = ["task", "sample_id"]
KEY = [*SAMPLE, "metric"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Rows of the samples that two systems share.

    Attributes:
        frame: columns task, sample_id, metric, value, against, weight, against_weight, state,
            against_state, cluster (a number, shared by samples that vary together), label, language, source.
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


def pair(candidate: pd.DataFrame, against: pd.DataFrame, *, metrics: Sequence[str]) -> Pairs:
    """Join two checked tables of one system each.

    Args:
        candidate: a checked table of one system.
        against: a checked table of the baseline.
        metrics: metrics to keep; others are dropped.

    Raises:
        BadData: a metric is absent from one of them, or they share no sample.
    """
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
    for name in (*LINKS, *SLICES):
        joined[name] = joined[name].where(joined[name].notna(), joined[f"{name}_against"])
    samples = joined.drop_duplicates(SAMPLE)
    numbered = samples[SAMPLE].assign(cluster=cluster_numbers(samples))
    clusters = joined[SAMPLE].merge(numbered, on=SAMPLE, how="left")["cluster"]
    frame = pd.DataFrame(
        {
            **{name: joined[name] for name in KEY},
            "value": joined["value"],
            "against": joined["value_against"],
            "weight": joined["weight"],
            "against_weight": joined["weight_against"],
            "state": joined["state"],
            "against_state": joined["state_against"],
            "cluster": clusters.to_numpy(),
            **{name: joined[name] for name in SLICES},
        }
    )
    return Pairs(
        frame=frame,
        shared=len(in_ours & in_theirs),
        only_candidate=len(in_ours - in_theirs),
        only_against=len(in_theirs - in_ours),
        linked=bool(joined[list(LINKS)].notna().any(axis=None)),
    )


def _samples(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (task, sample id) of every sample of a table."""
    unique = frame[SAMPLE].drop_duplicates()
    return list(zip(unique["task"].tolist(), unique["sample_id"].tolist(), strict=True))


def cluster_numbers(samples: pd.DataFrame) -> NDArray[np.int64]:
    """Return the cluster of each sample of a checked table, shape (rows,).

    Samples that share a cluster, speaker, transcript or, within a task, a contrast group vary together.
    """
    columns = {name: samples[name].tolist() for name in LINKS}
    groups = zip(samples["task"].tolist(), columns["contrast_group"], strict=True)
    columns["contrast_group"] = [None if group is None else (task, group) for task, group in groups]
    return connected_clusters(list(zip(*columns.values(), strict=True)))
