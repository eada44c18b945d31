"""The facts behind a decision for its reader: runs, commits, judges, levels, and the worst samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.analysis.differences import level
from echat_eval.analysis.frames import over_all_tasks
from echat_eval.gate.accept import REPLIES
from echat_eval.io.display import one_line
from echat_eval.store.run_folder import RunFolder
from echat_eval.store.select import open_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from echat_eval.analysis import Pairs, ScoredSystem
    from echat_eval.gate.policy import Policy

__all__ = ["RunFacts", "WorstSample", "levels", "run_facts", "with_replies", "worst_samples"]

#: Samples that a summary lists, and characters of each text.
WORST, CHARACTERS = 5, 160


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run of a decision.

    Attributes:
        role: "candidate" or "baseline".
        name, system: of the run and its system.
        commit: of the code or weights that were run, as the caller states it; "" if unknown.
        made_with: version and commit of EChat-eval; "" for a table.
        judges: models that graded the replies.
    """

    role: str
    name: str
    system: str
    commit: str = ""
    made_with: str = ""
    judges: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """Return the facts in words."""
        parts = [f"{self.name} ({self.system})"]
        parts += [f"commit {self.commit}"] if self.commit else []
        parts += [self.made_with] if self.made_with else []
        return ", ".join([*parts, f"judge {', '.join(self.judges) or 'none'}"])


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstSample:
    """A sample whose score fell most.

    Attributes:
        before, after: values of the primary metric.
        words: gold words of the query; "" if unknown.
        reply, reply_before: words of the replies; "" if unknown.
    """

    task: str
    sample_id: str
    before: float
    after: float
    words: str = ""
    reply: str = ""
    reply_before: str = ""


def run_facts(run: ScoredSystem, role: str, commit: str = "") -> RunFacts:
    """Return the facts of a run.

    Args:
        commit: of the code or weights that were run; "": that of the accepted baseline, if it has one.
    """
    environment = run.manifest.environment
    made_with = ""
    if environment is not None and environment.echat_eval is not None:
        at = environment.commit
        made_with = f"EChat-eval {environment.echat_eval}"
        made_with += "" if at is None else f" at {at.id[:8]}{' with changes' if at.dirty else ''}"
    return RunFacts(
        role=role,
        name=run.name,
        system=run.system,
        commit=commit or run.commit,
        made_with=made_with,
        judges=tuple(judge.model for judge in run.judges),
    )


def levels(pairs: Pairs, policy: Policy) -> tuple[float | None, float | None]:
    """Return the mean of the primary metric over the shared samples: baseline, candidate."""
    rows = over_all_tasks(pairs.frame[pairs.frame["metric"] == policy.primary])
    other = rows.assign(value=rows["against"], weight=rows["against_weight"], state=rows["against_state"])
    found = [
        level(
            side,
            policy.metrics[policy.primary],
            coverage=policy.level,
            min_clusters=policy.fewest_clusters,
        ).observed
        for side in (other, rows)
    ]
    before, after = (None if estimate is None else estimate.value for estimate in found)
    return before, after


def worst_samples(pairs: Pairs, ours: pd.DataFrame, policy: Policy) -> tuple[WorstSample, ...]:
    """Return the samples whose primary score fell most, the worst first."""
    rows = pairs.frame[pairs.frame["metric"] == policy.primary].dropna(subset=["value", "against"])
    change = policy.metrics[policy.primary].sign * (rows["value"] - rows["against"])
    fallen = rows.loc[change[change < 0].sort_values(kind="stable").index[:WORST]]
    words = ours.drop_duplicates(["task", "sample_id"]).set_index(["task", "sample_id"])["transcript"]
    return tuple(
        WorstSample(
            task=str(task),
            sample_id=str(name),
            before=float(before),
            after=float(after),
            words=_words(words.get((task, name))),
        )
        for task, name, before, after in zip(
            fallen["task"], fallen["sample_id"], fallen["against"], fallen["value"], strict=True
        )
    )


def with_replies(
    samples: Sequence[WorstSample], ours: ScoredSystem, theirs: ScoredSystem
) -> tuple[WorstSample, ...]:
    """Return samples with the words of both replies, where the runs have them."""
    if not samples:
        return ()
    after, before = _replies(ours), _replies(theirs)
    return tuple(
        replace(
            sample,
            reply=after.get((sample.task, sample.sample_id), ""),
            reply_before=before.get((sample.task, sample.sample_id), ""),
        )
        for sample in samples
    )


def _replies(run: ScoredSystem) -> dict[tuple[str, str], str]:
    """Return (task, sample id) -> words of the reply; empty for a table, or a baseline without replies."""
    kept = Path(run.accepted_in) / REPLIES
    if run.folder:
        folder = open_run(run.spec)
    elif run.accepted_in and (kept / "manifest.json").is_file():
        folder = RunFolder(kept)
    else:
        return {}
    return {
        (task, name): _words(response.reply.text)
        for (_, task, name), response in folder.responses().items()
        if response.reply is not None
    }


def _words(text: object) -> str:
    return one_line(text, CHARACTERS) if isinstance(text, str) else ""
