"""Deciding about a candidate: the gate, its plan, and runs that stop when it has decided."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.analysis.content import shared_content
from echat_eval.analysis.stated import merged_facts
from echat_eval.api.carried_out import carried_out
from echat_eval.api.prepared import prepared_experiment
from echat_eval.api.progress import Logged
from echat_eval.api.reading import one_system_of
from echat_eval.errors import BadData, UsageError
from echat_eval.experiment import is_run_folder
from echat_eval.experiment.until_decided import Decided, run_rounds
from echat_eval.gate import Policy, build_policy, decide, decide_first, read_policy
from echat_eval.gate.evidence import with_replies
from echat_eval.gate.looks import LOOKS, look_policy, plan_looks, read_looks
from echat_eval.gate.plan_run import Assumed, assumed, plan_run
from echat_eval.gate.provenance import count_try, provenance, provenance_alone
from echat_eval.gate.tries import evidence_of
from echat_eval.leaderboard.run import Run
from echat_eval.scorers.judged_voice import JudgedVoice
from echat_eval.scorers.listening_result import how_to_check, unproven_metrics
from echat_eval.store.run_folder import RunFolder
from echat_eval.store.select import parse_spec

if TYPE_CHECKING:
    import pandas as pd

    from echat_eval.analysis.runs import ScoredSystem
    from echat_eval.api.prepared import Prepared
    from echat_eval.gate import Decision
    from echat_eval.gate.plan_run import RunPlan
    from echat_eval.ports import Progress

__all__ = ["evaluate_until_decided", "gate", "plan"]


def gate(
    candidate: Run | str | Path | pd.DataFrame,
    against: Run | str | Path | pd.DataFrame,
    policy: Policy | Mapping[str, Any] | str | Path,
    *,
    bootstrap: bool = False,
    lineage: str | None = None,
    ledger: str | Path | None = None,
    commit: str = "",
    now: datetime | None = None,
) -> Decision:
    """Decide whether a candidate may replace a baseline: pass, regress or cannot tell.

    Args:
        candidate: a run of one system, a spec as in `load_run`, the path of a table, or a long table.
        against: likewise; also the folder of a baseline that `accept` wrote.
        policy: the requirements, or their fields, or the path of a policy file.
        bootstrap: if `against` does not exist yet, judge the candidate alone (see `gate.decide_first`).
        lineage: name of the line of candidates that this one belongs to, whose tries are counted together;
            None: the name of its system.
        ledger: file that counts the tries; None: that of the baseline that `accept` wrote. Tries at other
            runs and tables are counted only if it is given.
        commit: of the code or weights of the candidate, for the reports.
        now: current time, with a time zone, for the baseline's age; None: the clock.

    Raises:
        UsageError: several systems in one run, or a wrong policy.
        BadData: no shared samples, a metric of the policy is absent from one run, or the ledger of tries is
            damaged or belongs to another baseline.
        Busy: another gate is deciding at this baseline.
    """
    now = now or datetime.now(UTC)
    return _gate(candidate, against, policy, bootstrap, lineage, ledger, now, commit=commit)


def _gate(
    candidate: Run | str | Path | pd.DataFrame,
    against: Run | str | Path | pd.DataFrame,
    policy: Policy | Mapping[str, Any] | str | Path,
    bootstrap: bool,
    lineage: str | None,
    ledger: str | Path | None,
    now: datetime,
    *,
    commit: str = "",
    last_look: bool = True,
) -> Decision:
    """Return a decision; "cannot tell" before the last look is no try."""
    ours = one_system_of(candidate, "candidate")
    if isinstance(against, str | Path) and not (path := parse_spec(str(against)).path).exists():
        if not bootstrap:
            raise BadData(
                f"{path}: no such run folder, table or baseline; --bootstrap judges a first candidate alone"
            )
        rules = _policy(policy, merged_facts([(ours.name, ours.facts)]))
        _refuse_unproven(ours, rules)
        words = ["echat-eval", "gate", "accept", str(candidate), "--to", str(against)]
        keep = shlex.join(words) if isinstance(candidate, str | Path) else ""
        return decide_first(
            ours.frame, rules, provenance=provenance_alone(ours, now=now, commit=commit), accept=keep
        )
    theirs = one_system_of(against, "against")
    looks = read_looks(Path(ours.folder) / LOOKS) if ours.folder else None
    # The looks began before the candidate had facts of its own.
    known = [theirs] if looks is not None else [theirs, ours]
    rules = _policy(policy, merged_facts([(run.name, run.facts) for run in known]))
    _refuse_unproven(ours, rules)
    counting = count_try(
        ours,
        theirs,
        rules,
        ledger=None if ledger is None else Path(ledger),
        lineage=lineage or ours.system,
        now=now,
    )
    at, notes = rules, []
    if looks is not None:
        looks.refuse_changes(rules, evidence_of(theirs.frame, rules.metrics), Path(ours.folder) / LOOKS)
        requested = {(sample.task, sample.id) for sample in RunFolder.existing(Path(ours.folder)).samples()}
        at = look_policy(rules, looks.looks, looks.at(len(requested)).number)
        theirs, notes = (
            replace(theirs, frame=looks.of_asked(theirs.frame, requested)),
            [looks.text(len(requested))],
        )
    try:
        with counting as tries:
            ours, more = shared_content(ours, theirs) if rules.shared_samples == "allow" else (ours, [])
            facts = provenance(
                ours, theirs, rules, now=now, notes=[*notes, *more], tries=tries, commit=commit
            )
            decision = decide(ours.frame, theirs.frame, at, provenance=facts)
            if decision.outcome == "cannot tell" and not last_look:
                raise _GoesOn(decision)
    except _GoesOn as look:
        return look.decision
    return replace(decision, worst=with_replies(decision.worst, ours, theirs))


class _NoTry(Exception):
    """Raised in the ledger's block, so that nothing is counted."""


class _GoesOn(Exception):
    """A look that decided nothing; raised in the ledger's block, it is not counted as a try."""

    def __init__(self, decision: Decision):
        super().__init__()
        self.decision = decision


def evaluate_until_decided(
    systems: Any,
    *,
    policy: Policy | Mapping[str, Any] | str | Path,
    against: Run | str | Path,
    seed: int = 0,
    lineage: str | None = None,
    ledger: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **arguments: Any,
) -> Decided:
    """Evaluate one system on clusters of samples in random order, until the gate has decided.

    After each planned look the gate decides; "pass" and "regress" stop the run, and the calls that are left
    are not made. The same call continues a run that was interrupted; `evaluate` asks for the rest.

    Args:
        systems: as for `evaluate`, but one system.
        policy, against, lineage, ledger: as for `gate`.
        seed: of the order.
        settings, progress: as for `evaluate`.
        arguments: further arguments of `evaluate`.

    Raises:
        UsageError: several systems, or a policy, a baseline or samples that changed between looks.
        EChatError: as for `evaluate` and `gate`.
    """
    if is_run_folder(systems):
        raise UsageError(f"{systems}: a run folder; repeat the command that began it, with its --out")
    prepared = prepared_experiment(systems, settings, **arguments)
    display, path = progress or Logged(), Path(prepared.experiment.out)
    theirs = one_system_of(against, "against")
    rules = _policy(policy, merged_facts([(theirs.name, theirs.facts)]))
    _refuse_before_calls(prepared, theirs, rules, lineage, ledger)
    baseline = evidence_of(theirs.frame, rules.metrics)
    samples = [sample for selected in prepared.tasks for sample in selected.task.samples]
    fresh = plan_looks(samples, seed=seed, sentences=rules.sentences, policy=rules, baseline=baseline)
    looks = read_looks(path / LOOKS) or fresh
    if not (path / LOOKS).is_file() and is_run_folder(path):
        raise UsageError(f"{path}: was asked without looks; choose another --out")
    looks.refuse_changes(rules, baseline, path / LOOKS)
    if (looks.order, looks.seed) != (fresh.order, fresh.seed):
        raise UsageError(f"{path / LOOKS}: the samples or the seed changed between looks; restore them")

    def look_at(run: Run, last: bool) -> Decision:
        return _gate(run, against, rules, False, lineage, ledger, datetime.now(UTC), last_look=last)

    made = run_rounds(
        looks,
        rules,
        prepared.tasks,
        path,
        make=lambda tasks: carried_out(replace(prepared, tasks=tasks), progress=display),
        decide=look_at,
        note=display.note,
    )
    run = made[0] if made else Run(folder=RunFolder.existing(path), name=str(path))
    decision = made[1] if made else look_at(run, True)
    return Decided(run=run, decision=decision, requested=len(run.folder.samples()), planned=len(looks.order))


def _refuse_before_calls(
    prepared: Prepared, theirs: ScoredSystem, rules: Policy, lineage: str | None, ledger: str | Path | None
) -> None:
    """Refuse what no look could decide, before the first call is paid for.

    Raises:
        UsageError: several systems, a metric that no scorer of the run gives, or a try that cannot count.
        BadData, Busy: as for `gate`, of the ledger.
    """
    with prepared.planned(lambda text: None) as plan:
        names = [system.name for system in plan.systems]
        metrics = {metric.name for scorer in plan.scorers for metric in scorer.metrics}
        listening = {
            metric.name: scorer.name
            for scorer in plan.scorers
            if isinstance(scorer, JudgedVoice)
            for metric in scorer.metrics
        }
    if len(names) != 1:
        raise UsageError(f"{len(names)} systems ({', '.join(names)}); a run until decided has one")
    if absent := [name for name in rules.metrics if name not in metrics]:
        raise UsageError(
            f"the policy has {', '.join(absent)}, and no scorer of this run gives that; it gives "
            f"{', '.join(sorted(metrics))}"
        )
    folder = Path(prepared.experiment.out)
    for name in rules.metrics:
        if name in listening and not is_run_folder(folder):
            raise UsageError(_not_proven(name, listening[name], folder))
    counting = count_try(
        replace(theirs, name=names[0]),
        theirs,
        rules,
        ledger=None if ledger is None else Path(ledger),
        lineage=lineage or names[0],
        now=datetime.now(UTC),
    )
    with contextlib.suppress(_NoTry), counting as tries:
        if tries is not None and tries.blockers:
            raise UsageError("; ".join(blocker.text for blocker in tries.blockers))
        raise _NoTry


def _refuse_unproven(candidate: ScoredSystem, rules: Policy) -> None:
    """Raise UsageError if a metric is of a judge that listens and has not passed the listening check."""
    if not candidate.folder or not is_run_folder(folder := Path(candidate.folder)):
        return  # a table names no judge
    unproven = unproven_metrics(RunFolder.existing(folder))
    for metric in rules.metrics:
        if metric in unproven:
            raise UsageError(_not_proven(metric, unproven[metric], folder))


def _not_proven(metric: str, judge: str, folder: Path) -> str:
    return (
        f"the policy has {metric}, and {judge} has not passed `check judge --listens`, so that its scores of "
        f"voices may not decide; {how_to_check(folder)} puts it to the check, or take another metric"
    )


def _policy(
    policy: Policy | Mapping[str, Any] | str | Path, known: Mapping[str, Mapping[str, Any]]
) -> Policy:
    if isinstance(policy, Policy):
        return policy
    if isinstance(policy, Mapping):
        return build_policy(policy, known=known)
    return read_policy(Path(policy), known=known)


def plan(
    policy: Policy | Mapping[str, Any] | str | Path,
    against: Run | str | Path | pd.DataFrame | None = None,
    *,
    candidate: Run | str | Path | pd.DataFrame | None = None,
    assume: str | Mapping[str, Any] | None = None,
) -> RunPlan:
    """Return what the next run can show, and the samples, speakers and sentences that it needs.

    Args:
        policy: as for `gate`.
        against: the baseline, whose scores show the spread; None if it is assumed.
        candidate: a run like those to come; the spread is then that of its paired differences.
        assume: numbers to assume, as in "sd=25,by_speaker=0.1,speakers=20,samples=400" (see `gate.Assumed`).

    Raises:
        UsageError: no baseline and no assumed spread, or a wrong policy.
        BadData: a metric of the policy is absent from one run.
    """
    numbers = assumed(assume) if isinstance(assume, str) else Assumed(**(assume or {}))
    theirs = None if against is None else one_system_of(against, "against")
    ours = None if candidate is None else one_system_of(candidate, "candidate")
    if ours is not None and theirs is None:
        raise UsageError("plan: a candidate without a baseline; give both, or the baseline alone")
    facts = merged_facts([(run.name, run.facts) for run in (theirs, ours) if run is not None])
    return plan_run(ours, theirs, _policy(policy, facts), numbers)
