"""Test sets that have grown: two runs are compared on the samples whose content is the same in both.

See `store.comparable.sample_contents` for what counts as content.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from echat_eval.analysis.frames import CONTENT

if TYPE_CHECKING:
    from echat_eval.analysis.runs import ScoredSystem

__all__ = ["shared_content"]

SAMPLE = ["task", "sample_id"]


def shared_content(run: ScoredSystem, against: ScoredSystem) -> tuple[ScoredSystem, list[str]]:
    """Return a run where samples with other content than in `against` have other ids, and a note per task.

    With other content it is another sample: it is not compared, its failure still counts, and the baseline's
    sample is one that the run lacks. Tasks that are the same in both runs stay as they are, and so do tasks
    whose samples have no content hashes, which are not comparable.
    """
    shared = sorted(set(run.hashes) & set(against.hashes))
    changed = [key for key in shared if key[0] == "tasks" and run.hashes[key] != against.hashes[key]]
    frame, hashes, notes = run.frame, dict(run.hashes), []
    for key in changed:
        name = key[1]
        ours, theirs = (
            table.loc[table["task"] == name, [*SAMPLE, CONTENT]].drop_duplicates(SAMPLE)
            for table in (run.frame, against.frame)
        )
        if ours.empty or theirs.empty or ours[CONTENT].isna().any() or theirs[CONTENT].isna().any():
            continue
        joined = ours.merge(theirs, on=SAMPLE, suffixes=("", "_against"))
        other = joined.loc[joined[CONTENT] != joined[f"{CONTENT}_against"], "sample_id"]
        renamed = (frame["task"] == name) & frame["sample_id"].isin(set(other))
        ids = frame["sample_id"].where(~renamed, frame["sample_id"] + "@" + frame[CONTENT].str[:12])
        frame = frame.assign(sample_id=ids)
        hashes[key] = against.hashes[key]
        notes.append(
            f"task '{name}' differs ({run.hashes[key][:8]} in {run.name}, {against.hashes[key][:8]} in "
            f"{against.name}): {len(joined) - len(other)} samples are the same in both and are compared; "
            f"{len(other)} have other content, {len(ours) - len(joined)} are only in {run.name}, "
            f"{len(theirs) - len(joined)} only in {against.name}"
        )
    frame.attrs = dict(run.frame.attrs)
    return replace(run, frame=frame, hashes=hashes), notes
