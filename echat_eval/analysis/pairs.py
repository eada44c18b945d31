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
    """What two systems share.

    Attributes:
        frame: columns task, sample_id, metric, value, against, weight, against_weight, state,
            against_state, cluster (a number, shared by samples that vary together), label, language, source.
        shared: samples both have.
        only_candidate, only_against: samples one of them has.
        linked: whether anything said which samples vary together; if not, each counts as independent.
    """

    frame: pd.DataFrame
    shared: int
    only_candidate: int
    only_against: int
    linked: bool

    @property
    def counts(self) -> str:
        """Return the counts as a sentence."""
        said = f"{self.shared} shared samples"
        if self.only_candidate or self.only_against:
            said += (
                f" ({self.only_candidate} only in the candidate, {self.only_against} only in the other run)"
            )
        return said


def pair(candidate: pd.DataFrame, against: pd.DataFrame, *, metrics: Sequence[str]) -> Pairs:
    """Join two checked tables of one system each.

    Args:
        candidate: a checked table of one system.
        against: a checked table of the system it is compared with.
        metrics: which to keep; others are left alone.

    Raises:
        BadData: a metric that one of them lacks, or no sample in both.
    """
    for name, frame in (("candidate", candidate), ("run to compare with", against)):
        found = set(frame["metric"].unique())
        if lacking := [metric for metric in metrics if metric not in found]:
            raise BadData(f"the {name} has no metric '{lacking[0]}'; it has {', '.join(sorted(found))}")
    ours, theirs = (frame[frame["metric"].isin(metrics)] for frame in (candidate, against))
    joined = ours.merge(theirs, on=KEY, suffixes=("", "_against"), how="inner", sort=False)
    here, there = (set(_samples(frame)) for frame in (ours, theirs))
    if joined.empty:
        raise BadData(
            f"no shared samples: the candidate has {len(here)}, the other run {len(there)}, and none has the "
            "same task and sample_id in both; compare runs of the same tasks"
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
        shared=len(here & there),
        only_candidate=len(here - there),
        only_against=len(there - here),
        linked=bool(joined[list(LINKS)].notna().any(axis=None)),
    )


def _samples(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (task, sample id) of every sample of a table."""
    once = frame[SAMPLE].drop_duplicates()
    return list(zip(once["task"].tolist(), once["sample_id"].tolist(), strict=True))


def cluster_numbers(samples: pd.DataFrame) -> NDArray[np.int64]:
    """Return (rows,) the cluster of each sample of a checked table.

    Samples vary together if they share a cluster, speaker, transcript or, within a task, a contrast group.
    """
    columns = {name: samples[name].tolist() for name in LINKS}
    groups = zip(samples["task"].tolist(), columns["contrast_group"], strict=True)
    columns["contrast_group"] = [None if group is None else (task, group) for task, group in groups]
    return connected_clusters(list(zip(*columns.values(), strict=True)))
