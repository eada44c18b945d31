"""The verbs: evaluate, score, estimate, compare, gate, accept, load_run, leaderboard.

A notebook and the command line call the same functions. Arguments take names, specs or objects:

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     run = evaluate(
...         "canned", tasks="emotion", limit=4, annotators="acoustics", scorers="outcome", out=folder
...     )
...     run.scores()[["sample_id", "metric", "state", "cue_emotion"]].head(2)
  sample_id   metric  state cue_emotion
0    563r7x   failed  value       happy
1    563r7x  seconds  value       happy
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.analysis.compare_runs import compare_runs, series_of_runs
from echat_eval.analysis.content import shared_content
from echat_eval.analysis.frames import check_table, is_frame, one_system
from echat_eval.analysis.nightly import specs_of
from echat_eval.analysis.run_tables import long_table
from echat_eval.analysis.runs import ScoredSystem, load_scored_system
from echat_eval.analysis.stated import merged_facts
from echat_eval.errors import BadData, UsageError, scrub
from echat_eval.experiment import (
    GROUPS,
    SELECTING,
    Experiment,
    experiment_of_folder,
    is_experiment_file,
    is_run_folder,
    read_experiment,
    recorded_content,
    recorded_text,
    recording,
    refuse_foreign_tasks,
    resolved,
    select_experiment_tasks,
    unfinished_part,
    with_arguments,
    with_settings,
)
from echat_eval.experiment.until_decided import Decided, run_rounds
from echat_eval.gate import Policy, build_policy, decide, decide_first, read_policy
from echat_eval.gate.accept import REPLIES, accept_scored_again, kept_run
from echat_eval.gate.accept import accept as accept_baseline
from echat_eval.gate.baseline_report import changes
from echat_eval.gate.evidence import with_replies
from echat_eval.gate.looks import LOOKS, look_policy, plan_looks, read_looks
from echat_eval.gate.plan_run import Assumed, RunPlan, assumed, plan_run
from echat_eval.gate.provenance import count_try, provenance, provenance_alone
from echat_eval.gate.tries import evidence_of
from echat_eval.io.unfinished import is_half_made
from echat_eval.leaderboard.render import CSV_COLUMNS, table_rows
from echat_eval.leaderboard.run import Run
from echat_eval.leaderboard.view import LeaderboardView, view_leaderboard
from echat_eval.ports import Silent, TrackedRun
from echat_eval.runner.carry_out import carry_out
from echat_eval.runner.plan import planned
from echat_eval.scorers.function_metric import metric
from echat_eval.scorers.judge_link import parse_link
from echat_eval.scorers.judge_settings import parse_judges
from echat_eval.store.kept_replies import KeptFile, kept_files
from echat_eval.store.run_folder import RunFolder
from echat_eval.store.select import SelectedRun, is_baseline, open_run, parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    import pandas as pd

    from echat_eval.analysis.compare_runs import RunComparison
    from echat_eval.analysis.metric_rule import MetricRule
    from echat_eval.experiment import ExperimentTask
    from echat_eval.gate import Decision
    from echat_eval.ports import Progress, Tracker
    from echat_eval.runner.cost_estimate import ExpectedCost
    from echat_eval.runner.plan import Plan
    from echat_eval.stats import Sentences

__all__ = [
    "Run",
    "accept",
    "compare",
    "estimate",
    "evaluate",
    "gate",
    "leaderboard",
    "load_run",
    "metric",
    "plan",
    "score",
]

logger = logging.getLogger(__name__)


class Logged(Silent):
    """The default `Progress`: it logs notes as warnings, which Python shows by default."""

    def note(self, text: str) -> None:
        """Log a message."""
        logger.warning("%s", text)


def evaluate(
    systems: Any,
    *,
    tasks: Any = None,
    data: str | Path | None = None,
    languages: str | Sequence[str] | None = None,
    limit: int | None = None,
    ask: str | None = None,
    annotators: Any = None,
    scorers: Any = None,
    metrics: Any = None,
    judges: Any = None,
    headline: str | None = None,
    controls: int | None = None,
    link: Any = None,
    out: str | Path | None = None,
    tries: int | None = None,
    retry_failed: bool | None = None,
    overlap: bool | None = None,
    cache: bool | None = None,
    prices: str | Path | None = None,
    max_cost: str | float | None = None,
    executor: Any = None,
    send_to: str | Sequence[str] | None = None,
    track: Any = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Evaluate systems on tasks; a second call with the same arguments makes only what is missing.

    Ctrl-C keeps all finished rows.

    Args:
        systems: an object with the `System` or `Oracle` protocol; a name ("canned") or spec
            ("mine=replay:replies.jsonl", "my.py:Class"); `{"use": spec, setting: value}`; a list of these; or
            a mapping of names to these. Or the path of an experiment file ("experiment.yaml"), whose content
            the other arguments replace; or of a run folder, to finish it or to score it again, where judges
            are added to its own; or of a baseline that `accept` wrote, to score its replies again, where
            judges replace its own.
        tasks: names of tasks, or mappings `{"name": name, "data": ..., "languages": ..., "limit": ...,
            "ask": ...}`; None: all.
        data: folder of tasks to use instead of the demo split.
        languages: languages of the samples to use; None: all.
        limit: maximum samples per task; contrast groups stay whole.
        ask: "transcript" or a cue: ask for it instead of a reply.
        annotators: as `systems`, for annotators; "defaults" in a list, or None: whisper and acoustics.
        scorers: likewise, for scorers; "defaults" in a list, or None: those of the samples' families.
        metrics: further metrics beside those of the scorers: functions of a case with the decorator `metric`,
            or specs such as "my_metrics.py:speech_rate".
        judges: name of a model; a mapping of settings (model, url, rubric, listens, query_audio, repeats,
            match, prose, calls, timeout); a list of these; or a mapping of names to these. The name of a
            judge names its metrics (`judge_NAME`); without one, its rubric does. None: no judge.
        headline: name of the metric that leads and ranks; None: the best that applies to every system.
        controls: number of replies that each judge grades again with wrong labels.
        link: old judge whose scale the new scores get estimates on, as one of `judges`, and `anchors`: the
            largest number of replies that it grades, by default 150. See docs/instruments.md.
        out: run folder to write or to continue, by default runs/latest; it also gets leaderboard.md, .csv
            and .png.
        tries: maximum calls per row, by default 3; after that it counts as failed or missing.
        retry_failed: ask again for replies that failed; missing ones are asked again anyway.
        overlap: annotate and score while the system replies, as by default; False to measure its speed.
        cache: read and write the cache that runs share, as by default.
        prices: price table to use instead of baselines/prices.yaml.
        max_cost: US dollars; calls that could exceed it are not made.
        executor: "local", "ray" or a mapping of name, workers, address.
        send_to: hosts that may get data of private tasks; others are refused unless they are this machine.
        track: experiment tracker that gets a copy of the finished run: a name ("wandb"), a spec, a mapping of
            settings, or an object with the `Tracker` protocol; None: no tracker.
        settings: single settings to change, as `--set`: {"key": value} of every system, "NAME.key" of the
            system of that name, "judge.key" or "judge.NAME.key", "runner.key", "executor.key".
        progress: receives stages, rows and notes; None: notes are logged.

    Raises:
        UnknownName: no task, system, annotator, scorer, rubric or setting has this name.
        UsageError: an argument of the wrong type, or the folder's replies do not fit the tasks.
        BadData: a fault in the tasks or the experiment file, or a manifest of another version.
        NotInstalled: an optional package or model is missing.
        Busy: another process is writing to the folder.
    """
    prepared = _prepared(
        systems,
        settings,
        tasks=tasks,
        data=data,
        languages=languages,
        limit=limit,
        ask=ask,
        annotators=annotators,
        scorers=scorers,
        metrics=metrics,
        judges=judges,
        headline=headline,
        controls=controls,
        link=link,
        out=out,
        tries=tries,
        retry_failed=retry_failed,
        overlap=overlap,
        cache=cache,
        prices=prices,
        max_cost=max_cost,
        executor=executor,
        send_to=send_to,
        track=track,
    )
    return _accepted_again(systems, _carried_out(prepared, progress=progress))


def score(
    run: Run | str | Path,
    *,
    annotators: Any = None,
    scorers: Any = None,
    metrics: Any = None,
    judges: Any = None,
    headline: str | None = None,
    controls: int | None = None,
    link: Any = None,
    tries: int | None = None,
    cache: bool | None = None,
    prices: str | Path | None = None,
    max_cost: str | float | None = None,
    executor: Any = None,
    send_to: str | Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Annotate and score the replies of a run again, without calling a system.

    Args:
        run: a run, or the path of its folder or of a baseline. The other arguments are those of `evaluate`.

    Raises:
        BadData: not a run folder, a manifest of another version, or an unfinished run.
        UsageError, UnknownName, NotInstalled, Busy: as for `evaluate`.
    """
    prepared = _prepared(
        None,
        settings,
        annotators=annotators,
        scorers=scorers,
        metrics=metrics,
        judges=judges,
        headline=headline,
        controls=controls,
        link=link,
        out=_folder_with_replies(run).path,
        tries=tries,
        cache=cache,
        prices=prices,
        max_cost=max_cost,
        executor=executor,
        send_to=send_to,
    )
    return _accepted_again(run, _carried_out(prepared, progress=progress))


def estimate(
    systems: Any = None,
    *,
    tasks: Any = None,
    data: str | Path | None = None,
    languages: str | Sequence[str] | None = None,
    limit: int | None = None,
    ask: str | None = None,
    annotators: Any = None,
    scorers: Any = None,
    metrics: Any = None,
    judges: Any = None,
    headline: str | None = None,
    controls: int | None = None,
    link: Any = None,
    out: str | Path | None = None,
    tries: int | None = None,
    retry_failed: bool | None = None,
    cache: bool | None = None,
    prices: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> ExpectedCost:
    """Return the calls that `evaluate` with these arguments has left to make, and what they may cost.

    Sends nothing. With `systems=None`, the calls of `score` on the run in `out`.

    Raises:
        UsageError, UnknownName, BadData, NotInstalled: as for `evaluate`.
    """
    prepared = _prepared(
        systems,
        settings,
        tasks=tasks,
        data=data,
        languages=languages,
        limit=limit,
        ask=ask,
        annotators=annotators,
        scorers=scorers,
        metrics=metrics,
        judges=judges,
        headline=headline,
        controls=controls,
        link=link,
        out=out,
        tries=tries,
        retry_failed=retry_failed,
        cache=cache,
        prices=prices,
    )
    if systems is None:
        _folder_with_replies(prepared.experiment.out)
    with prepared.planned((progress or Logged()).note) as plan:
        return plan.expected_cost()


def load_run(spec: str | Path) -> Run:
    """Return a run, or one of its systems.

    Args:
        spec: path of a run folder; `path:system` for one system, `name=path:system` to rename it.

    Raises:
        BadData: no run folder at the path, or a manifest of another version.
        UnknownName: the run does not have the system.
    """
    folder = open_run(str(spec))
    folder.manifest()  # raises BadData if another version has written it
    return Run(folder=folder, name=folder.shown if isinstance(folder, SelectedRun) else str(spec))


def leaderboard(
    *runs: Run | str | Path,
    published: Sequence[str] = (),
    within: float | None = None,
    headline: str | None = None,
) -> LeaderboardView:
    """Return the leaderboard of one or more runs.

    Args:
        runs: runs or specs as in `load_run`.
        published: names of published tables to show below, never ranked; only those of a measure that the
            runs have.
        within: list the pairs of systems that are shown to differ by less than this, in the units of the
            headline.
        headline: name of the metric that leads and ranks; None: the choice of the runs, or else the best that
            applies to every system.

    Raises:
        UsageError: no run, or `within` is not above 0; UnknownName: no published table or metric has a name.
        BadData: no scores, a system in two runs, or runs whose tasks or instruments differ.
    """
    if not runs:
        raise UsageError("no run; give one or more runs, or their paths")
    folders = [run.folder if isinstance(run, Run) else open_run(str(run)) for run in runs]
    return view_leaderboard(folders, tables=published, within=within, headline=headline)


def compare(
    *runs: Run | str | Path | pd.DataFrame,
    metrics: str | Sequence[str] | Mapping[str, str | MetricRule] | None = None,
    headline: str | None = None,
    anyway: bool = False,
    sentences: Sentences = "random",
) -> RunComparison:
    """Compare two runs by paired differences, or several, in the given order, by their trend.

    Args:
        runs: two or more, of one system each, the baseline first: runs, specs as in `load_run`, paths of
            tables, or long tables.
        metrics: names, each as `name` or `name=WORDS`; or name -> WORDS: a direction and further facts, as in
            "lower,average=ratio,low=0". By default all metrics that the runs share; of tables, those whose
            direction a column states.
        headline: name of the metric that comes first; None: as for `leaderboard`.
        anyway: compare runs whose tasks or instruments differ, and mark every number.
        sentences: "fixed" if results need hold for exactly these sentences only.

    Raises:
        UsageError: fewer than two runs, several systems in one, or runs that are not comparable.
        BadData: no shared samples, or a metric is absent from one run.
    """
    loaded = [_one_system(run, f"run {number}") for number, run in enumerate(runs, 1)]
    return compare_runs(loaded, metrics=metrics, headline=headline, anyway=anyway, sentences=sentences)


def trend(
    *runs: Run | str | Path,
    out: str | Path,
    metrics: str | Sequence[str] | Mapping[str, str | MetricRule] | None = None,
    headline: str | None = None,
    anyway: bool = False,
    sentences: Sentences = "random",
) -> list[str]:
    """Write one figure and one table of every metric over many runs, with change points; return their lines.

    Args:
        runs: as for `compare`, in order; a folder of runs stands for its runs in the order of their names.
        out: folder to write: trend.png, trend.pdf, trend.csv, trend.md.
        metrics, headline, anyway, sentences: as for `compare`; by default all metrics that two runs have.

    Raises:
        UsageError: fewer than two runs, or runs that are not comparable; BadData: a folder without runs.
    """
    from echat_eval.report.trend_report import trend_lines, write_trend

    specs = specs_of(run.spec if isinstance(run, Run) else str(run) for run in runs)
    loaded = [load_scored_system(spec) for spec in specs]
    series, notes = series_of_runs(
        loaded, metrics=metrics, headline=headline, anyway=anyway, sentences=sentences
    )
    if not series:
        raise UsageError(f"no metric has a series: {'; '.join(notes)}")
    names = [run.name for run in loaded]
    paths = write_trend(series, names, Path(out), notes)
    return [*trend_lines(series, names, notes), f"wrote {', '.join(map(str, paths))}"]


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
    ours = _one_system(candidate, "candidate")
    if isinstance(against, str | Path) and not (path := parse_spec(str(against)).path).exists():
        if not bootstrap:
            raise BadData(
                f"{path}: no such run folder, table or baseline; --bootstrap judges a first candidate alone"
            )
        rules = _policy(policy, merged_facts([(ours.name, ours.facts)]))
        words = ["echat-eval", "gate", "accept", str(candidate), "--to", str(against)]
        keep = shlex.join(words) if isinstance(candidate, str | Path) else ""
        return decide_first(
            ours.frame, rules, provenance=provenance_alone(ours, now=now, commit=commit), accept=keep
        )
    theirs = _one_system(against, "against")
    looks = read_looks(Path(ours.folder) / LOOKS) if ours.folder else None
    # The looks began before the candidate had facts of its own.
    known = [theirs] if looks is not None else [theirs, ours]
    rules = _policy(policy, merged_facts([(run.name, run.facts) for run in known]))
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
    prepared = _prepared(systems, settings, **arguments)
    display, path = progress or Logged(), Path(prepared.experiment.out)
    theirs = _one_system(against, "against")
    rules = _policy(policy, merged_facts([(theirs.name, theirs.facts)]))
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
        make=lambda tasks: _carried_out(replace(prepared, tasks=tasks), progress=display),
        decide=look_at,
        note=display.note,
    )
    run = made[0] if made else Run(folder=RunFolder.existing(path), name=str(path))
    decision = made[1] if made else look_at(run, True)
    return Decided(run=run, decision=decision, requested=len(run.folder.samples()), planned=len(looks.order))


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
    theirs = None if against is None else _one_system(against, "against")
    ours = None if candidate is None else _one_system(candidate, "candidate")
    if ours is not None and theirs is None:
        raise UsageError("plan: a candidate without a baseline; give both, or the baseline alone")
    facts = merged_facts([(run.name, run.facts) for run in (theirs, ours) if run is not None])
    return plan_run(ours, theirs, _policy(policy, facts), numbers)


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
        BadData: no scores, or a recording is missing or damaged.
    """
    target = Path(to)
    own = is_baseline(target) or is_half_made(target)
    if target.exists() and not own and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{to}: not empty and not a baseline of `gate accept`; choose another --to")
    scored = _one_system(run, "run")
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
    return changes(_one_system(str(to), "baseline"), _one_system(run, "run"))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """An experiment with its tasks; without systems, the existing replies of its folder are scored."""

    experiment: Experiment
    tasks: Sequence[ExperimentTask] = ()

    def planned(self, note: Callable[[str], None]) -> AbstractContextManager[Plan]:
        """Return the plan of the experiment."""
        return planned(
            RunFolder(Path(self.experiment.out)),
            self.experiment.plan_arguments(),
            systems=self.experiment.systems,
            tasks=[selected.task for selected in self.tasks],
            note=note,
        )


def _prepared(systems: Any, settings: Mapping[str, Any] | None, **arguments: Any) -> _Prepared:
    """Return the experiment that a caller describes: in a file or a run folder, and in arguments."""
    if _is_baseline(systems):
        return _prepared_baseline(Path(systems), settings or {}, arguments)
    if is_run_folder(systems):
        return _prepared_folder(Path(systems), settings or {}, arguments)
    found = read_experiment(Path(systems)) if is_experiment_file(systems) else Experiment(systems=systems)
    experiment = with_settings(with_arguments(found, arguments), settings or {})
    if systems is None:
        return _Prepared(experiment=experiment)
    tasks = select_experiment_tasks(experiment)
    refuse_foreign_tasks(Path(experiment.out), tasks)
    return _Prepared(experiment=experiment, tasks=tasks)


def _prepared_folder(path: Path, settings: Mapping[str, Any], arguments: Mapping[str, Any]) -> _Prepared:
    """Return what a run folder still lacks, or its whole experiment if a caller selects other samples."""
    if arguments.get("out") is not None:
        raise UsageError(f"{path} is a run folder and is continued where it lies; leave out --out")
    own = experiment_of_folder(path)
    if (link := arguments.get("link")) is not None:  # a judge of the folder that a new one may replace
        arguments = {**arguments, "link": parse_link(link, parse_judges(own.judges))}
    experiment = with_arguments(own, arguments, add_judges=True)
    experiment = with_settings(experiment, settings)
    if experiment.systems is None:
        return _Prepared(experiment=replace(experiment, out=_folder_with_replies(path).path))
    changed = [name for name in settings if name.partition(".")[0] not in GROUPS]
    if all(arguments.get(name) is None for name in ("tasks", *SELECTING)):
        experiment, tasks = unfinished_part(experiment, all_systems=bool(changed))
    else:
        tasks = select_experiment_tasks(experiment)
    refuse_foreign_tasks(path, tasks)
    return _Prepared(experiment=experiment, tasks=tasks)


def _is_baseline(given: object) -> bool:
    """Return whether an argument is the path of a baseline that `accept` wrote."""
    return isinstance(given, str | Path) and is_baseline(Path(given))


def _prepared_baseline(path: Path, settings: Mapping[str, Any], arguments: Mapping[str, Any]) -> _Prepared:
    """Return the experiment that scores the replies of a baseline again; no system is called."""
    refused = ("tasks", *SELECTING, "out", "retry_failed")
    if given := [name for name in refused if arguments.get(name) is not None]:
        raise UsageError(
            f"{path}: a baseline, whose replies are scored again as they are; leave out --{given[0]}"
        )
    folder = _folder_with_replies(path).path
    experiment = with_arguments(replace(experiment_of_folder(folder), systems=None), arguments)
    return _Prepared(experiment=replace(with_settings(experiment, settings), out=folder))


def _accepted_again(given: object, run: Run) -> Run:
    """Replace the scores of a baseline by those of a run of its replies; other runs stay as they are."""
    if isinstance(given, str | Path) and is_baseline(Path(given)):
        accept_scored_again(Path(given), load_scored_system(str(run.path)))
    return run


def _carried_out(prepared: _Prepared, *, progress: Progress | None) -> Run:
    """Make what is missing in a run folder; return the run, with its leaderboard on disk."""
    display = progress or Logged()
    with prepared.planned(display.note) as plan:
        content = resolved(prepared.experiment, plan, prepared.tasks)
        recorded = partial(recording, plan.folder.path, content, prepared.tasks)
        spent = carry_out(plan, display, recording=recorded)
        folder, trackers = plan.folder, plan.trackers
    run = Run(folder=folder, name=str(folder.path), spent=spent)
    view = run.leaderboard()
    view.write(run.path)
    if trackers:
        _track(run, view, trackers, display)
    return run


def _track(run: Run, view: LeaderboardView, trackers: Sequence[Tracker], display: Progress) -> None:
    """Copy a finished run to trackers. A failure is a note: nothing that they do changes the run."""
    from tempfile import TemporaryDirectory

    from echat_eval.report import build_report

    rows = table_rows(view.board)
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        for tracker in trackers:
            try:
                if not report.exists():
                    build_report([str(run.path)], report, progress=Silent(), only=["page"])
                tracker.log(
                    TrackedRun(
                        name=run.path.name,
                        folder=run.path,
                        experiment=recorded_content(run.path),
                        headline=view.board.headline.name,
                        columns=CSV_COLUMNS,
                        rows=rows,
                        page=report / "page",
                    )
                )
            except Exception as error:  # noqa: BLE001  a tracker may raise anything
                reason = scrub(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
                display.note(
                    f"note: tracker '{tracker.name}' failed: {reason}; the run is complete in {run.path}"
                )


def _folder_with_replies(run: Run | str | Path) -> RunFolder:
    """Return the folder of a finished run, to score its replies.

    Raises:
        BadData: not a run folder; UsageError: no replies yet, or a single system of a run.
    """
    if isinstance(run, Run) and isinstance(run.folder, SelectedRun):
        raise UsageError(f"{run.name} is one system of a run; score the whole run: {run.path}")
    path = run.path if isinstance(run, Run) else Path(run)
    folder = RunFolder.existing(kept_run(path) if is_baseline(path) else path)
    if not folder.responses():
        raise UsageError(f"{path}: no responses yet; make them with `echat-eval run --out {path}`")
    return folder


def _one_system(run: Run | str | Path | pd.DataFrame, location: str) -> ScoredSystem:
    """Return the scores of one system of a run, a spec or a table.

    Raises:
        UsageError: several systems; BadData: no scores.
    """
    if isinstance(run, Run):
        return load_scored_system(run.spec)
    if isinstance(run, str | Path):
        return load_scored_system(str(run))
    if not is_frame(run):
        raise UsageError(f"{location}: got {type(run).__name__}; expected a run, a path or a data frame")
    frame = one_system(check_table(long_table(run), location=location), location=location)
    return ScoredSystem(name=location, system=frame["system"].iloc[0], frame=frame)
