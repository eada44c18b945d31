"""Baselines: keeping a run as one, and what that would change."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.api.reading import one_system_of
from echat_eval.errors import BadData, UsageError
from echat_eval.experiment import recorded_text
from echat_eval.gate.accept import REPLIES, kept_run
from echat_eval.gate.accept import accept as accept_baseline
from echat_eval.gate.baseline_report import changes
from echat_eval.io.unfinished import is_half_made
from echat_eval.leaderboard.run import Run
from echat_eval.store.kept_replies import KeptFile, kept_files
from echat_eval.store.run_folder import RunFolder
from echat_eval.store.select import SelectedRun, is_baseline, parse_spec

if TYPE_CHECKING:
    from echat_eval.analysis.runs import ScoredSystem

__all__ = ["accept", "baseline_changes"]


def accept(
    run: Run | str | Path,
    to: str | Path,
    *,
    replies: bool = True,
    commit: str = "",
    now: datetime | None = None,
) -> ScoredSystem:
    """Keep a run as the baseline of later candidates: its scores, and its replies to score them again.

    `evaluate(to, judges=...)` scores the replies of a baseline again.

    Args:
        run: a run of one system, a spec as in `load_run`, or the path of a table, which has no replies.
        to: folder to write; an earlier baseline there is replaced, and only new recordings are copied.
        replies: keep the replies and the recordings; without them the folder is small enough to commit.
        commit: of the code or weights that were run, for the reports of later decisions.
        now: current time, with a time zone; None: the clock.

    Raises:
        UsageError: several systems in the run, or a folder with other contents.
        BadData: no scores, every reply failed, or a recording is missing or damaged.
    """
    target = Path(to)
    own = is_baseline(target) or is_half_made(target)
    if target.exists() and not own and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{to}: not empty and not a baseline of `gate accept`; choose another --to")
    scored = one_system_of(run, "run")
    failed = scored.frame.loc[scored.frame["metric"] == "failed", "value"]
    if len(failed) and (failed >= 100).all():
        raise BadData(
            f"{run}: all {len(failed)} replies failed; such a baseline would hold no candidate back"
        )
    kept = _kept_replies(run, scored, target) if replies else []
    accept_baseline(scored, target, now=now or datetime.now(UTC), replies=kept, commit=commit)
    return scored


def baseline_changes(run: Run | str | Path, to: str | Path) -> list[str]:
    """Return the lines that state what `accept` with these arguments would change; nothing is written.

    Raises:
        BadData: there is no baseline yet, or no scores; UsageError: several systems in the run.
    """
    if not is_baseline(Path(to)):
        raise BadData(f"{to}: no baseline of `gate accept` yet, so that nothing can be compared with it")
    return changes(one_system_of(str(to), "baseline"), one_system_of(run, "run"))


def _kept_replies(run: Run | str | Path, scored: ScoredSystem, target: Path) -> list[KeptFile]:
    """Return the files of the replies behind scores; none behind a table."""
    spec = parse_spec(run.spec if isinstance(run, Run) else str(run))
    if scored.folder:
        place = spec.path
    elif scored.accepted_in and (spec.path / REPLIES).is_dir():
        place = kept_run(spec.path)
    else:
        return []
    systems = list(RunFolder(place).manifest().systems)
    system = spec.system or (systems[0] if len(systems) == 1 else scored.system)
    files = kept_files(SelectedRun(place, system, scored.system))
    if text := recorded_text(place, target / REPLIES, system, scored.system):
        files.append(KeptFile.of("experiment.yaml", text))
    return files
