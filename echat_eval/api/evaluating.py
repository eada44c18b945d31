"""Evaluating systems, scoring their replies again, and estimating both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.api.carried_out import carried_out
from echat_eval.api.prepared import folder_with_replies, prepared_experiment
from echat_eval.api.progress import Logged
from echat_eval.store.select import is_baseline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.leaderboard.run import Run
    from echat_eval.ports import Progress
    from echat_eval.runner.cost_estimate import ExpectedCost

__all__ = ["estimate", "evaluate", "score"]


def evaluate(
    systems: Any,
    *,
    tasks: Any = None,
    data: str | Path | None = None,
    languages: str | Sequence[str] | None = None,
    part: str | None = None,
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
        tasks: names of tasks, or mappings `{"name": name, "data": ..., "languages": ..., "part": ...,
            "limit": ..., "ask": ...}`; None: all.
        data: folder of tasks to use instead of the demo split.
        languages: languages of the samples to use; None: all.
        part: part of each task's split to use, such as "test", or "test@1" for version 1 of the split.
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
    prepared = prepared_experiment(
        systems,
        settings,
        tasks=tasks,
        data=data,
        languages=languages,
        part=part,
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
    return _accepted_again(systems, carried_out(prepared, progress=progress))


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
    prepared = prepared_experiment(
        None,
        settings,
        annotators=annotators,
        scorers=scorers,
        metrics=metrics,
        judges=judges,
        headline=headline,
        controls=controls,
        link=link,
        out=folder_with_replies(run).path,
        tries=tries,
        cache=cache,
        prices=prices,
        max_cost=max_cost,
        executor=executor,
        send_to=send_to,
    )
    return _accepted_again(run, carried_out(prepared, progress=progress))


def estimate(
    systems: Any = None,
    *,
    tasks: Any = None,
    data: str | Path | None = None,
    languages: str | Sequence[str] | None = None,
    part: str | None = None,
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
    prepared = prepared_experiment(
        systems,
        settings,
        tasks=tasks,
        data=data,
        languages=languages,
        part=part,
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
        folder_with_replies(prepared.experiment.out)
    with prepared.planned((progress or Logged()).note) as plan:
        return plan.expected_cost()


def _accepted_again(given: object, run: Run) -> Run:
    """Replace the scores of a baseline by those of a run of its replies; other runs stay as they are."""
    if isinstance(given, str | Path) and is_baseline(Path(given)):
        from echat_eval.analysis.runs import load_scored_system
        from echat_eval.gate.accept import accept_scored_again

        accept_scored_again(Path(given), load_scored_system(str(run.path)))
    return run
