"""A command that is ready to start: what it calls, where it writes, and what that may cost."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.annotators.select import select_annotators
from echat_eval.clients.chat import OPENAI, require_openai_model
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.cost.budget import read_budget
from echat_eval.cost.meter import billed_client_of
from echat_eval.errors import UnknownName, UsageError, scrub
from echat_eval.executors.place import parse_executor
from echat_eval.plugins.packages import require_package
from echat_eval.ports import role_of
from echat_eval.runner.cost_estimate import ExpectedCost
from echat_eval.runner.destinations import send_to_hosts
from echat_eval.runner.spending import billed_clients_of
from echat_eval.scorers.judge_settings import DATED, parse_judges, scorers_of_judge, unshown_history
from echat_eval.scorers.judged import Judged
from echat_eval.scorers.judged_turns import scorers_of_turns
from echat_eval.scorers.judged_voice import JudgedVoice
from echat_eval.scorers.link_settings import parse_link
from echat_eval.scorers.select import select_scorers
from echat_eval.store.headline import chosen_headline
from echat_eval.store.manifest import RunSettings
from echat_eval.store.reuse import ReuseIndex
from echat_eval.store.shared_cache import shared_cache
from echat_eval.systems.select import select_repeats, select_systems
from echat_eval.trackers import select_trackers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from echat_eval.cost.budget import Budget
    from echat_eval.cost.meter import BilledClient, BilledRole
    from echat_eval.executors.place import ExecutorSettings
    from echat_eval.judge import JudgeClient
    from echat_eval.ports import Annotator, Oracle, Scorer, System, Tracker
    from echat_eval.records import Sample
    from echat_eval.store.cache import Cache
    from echat_eval.store.manifest import RunManifest
    from echat_eval.store.run_folder import RunFolder
    from echat_eval.task import Task

__all__ = ["MAX_TRIES", "Plan", "PlanArguments", "planned", "whole_number"]

#: Limit of `tries`.
MAX_TRIES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that one command uses.

    Attributes:
        folder: where it writes.
        systems: empty: annotate and score the existing replies.
        repeats: name of a system -> number of its replies to each sample.
        tasks: with the samples to send to each system.
        scorers: including those of the judges.
        judges: clients of the judges.
        controls: number of replies that are judged again with wrong labels; 0: none.
        link: of the judges to the one that they replace; None: none.
        budget: prices, and limit of the cost.
        settings: of the run; `executor` completes them once the workers are known.
        executor: where systems and annotators run.
        cache: rows of other runs; None: no cache.
        send_to: hosts that may get private data.
        trackers: that get a copy of the finished run.
    """

    folder: RunFolder
    systems: Sequence[System | Oracle]
    repeats: Mapping[str, int]
    tasks: Sequence[Task]
    annotators: Sequence[Annotator]
    scorers: Sequence[Scorer]
    judges: Sequence[JudgeClient]
    controls: int
    budget: Budget
    settings: RunSettings
    executor: ExecutorSettings
    cache: Cache | None
    send_to: Sequence[str] = ()
    trackers: Sequence[Tracker] = ()
    link: PlannedLink | None = None

    @property
    def samples(self) -> list[Sample]:
        """Return the samples that each system answers."""
        return [sample for task in self.tasks for sample in task.samples]

    @property
    def billed_clients(self) -> list[tuple[BilledRole, str, BilledClient]]:
        """Return (role, name, billed client) of every system and judge whose calls may cost money."""
        return billed_clients_of(self.systems, self.senders)

    @property
    def senders(self) -> list[Scorer]:
        """Return the scorers, and that of the old judge that a link asks."""
        old = [] if self.link is None else [self.link.old]
        return [*self.scorers, *(scorer for scorer in old if scorer not in self.scorers)]

    def expected_cost(self) -> ExpectedCost:
        """Return the calls left to make and what they may cost; sends nothing."""
        unpriced = tuple(system.name for system in self.systems if billed_client_of(system) is None)
        if not self.billed_clients:
            return ExpectedCost(estimates=(), controls=self.controls, unpriced=unpriced)
        from echat_eval.runner.estimate import estimate

        link = None if self.link is None else (self.link.old.judge_client.client.model, self.link.anchors)
        found = estimate(
            self.folder,
            systems=self.systems,
            samples=self.samples,
            scorers=self.scorers,
            reuse=ReuseIndex(cache=self.cache, run=self.folder),
            table=self.budget.table,
            tries=self.settings.retry_policy.tries,
            failed_again=self.settings.retry_policy.failed_again,
            repeats=self.repeats,
        )
        return ExpectedCost(estimates=tuple(found), controls=self.controls, unpriced=unpriced, anchors=link)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLink:
    """The old judge that a command's judges are linked to, and the largest number of replies it grades."""

    old: Judged
    anchors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanArguments:
    """Arguments of `api.evaluate` beside systems and tasks, before they are checked."""

    annotators: object
    scorers: object
    judges: object
    headline: str | None = None
    controls: int
    link: object = None
    calls_at_once: int | None = None
    tries: int
    retry_failed: bool = False
    overlap: bool = True
    cache: bool
    prices: str | Path | None
    max_cost: str | float | None = None
    executor: object = None
    send_to: object = None
    track: object = None


@contextmanager
def planned(
    folder: RunFolder,
    arguments: PlanArguments,
    *,
    systems: object,
    tasks: Sequence[Task],
    note: Callable[[str], None],
) -> Iterator[Plan]:
    """Check the arguments of a command and yield its plan; nothing is written or sent.

    The cache is open within the block.

    Args:
        folder: where to write.
        arguments: of the caller.
        systems: None: score the existing replies.
        tasks: with the samples to send.
        note: called with remarks on what is left out, and on licences.

    Raises:
        UsageError, UnknownName, BadData, NotInstalled: as in `api.evaluate`.
    """

    def remark(text: str) -> None:
        note(f"note: {text}")

    loaded = [] if systems is None else select_systems(systems, arguments.calls_at_once)
    repeats = {} if systems is None else select_repeats(systems, loaded)
    samples = folder.samples() if systems is None else [sample for task in tasks for sample in task.samples]
    prices = None if arguments.prices is None else Path(arguments.prices)
    budget = read_budget(prices, arguments.max_cost)
    tries = whole_number("tries", arguments.tries, low=1, high=MAX_TRIES)
    placement, send_to = parse_executor(arguments.executor), send_to_hosts(arguments.send_to)
    trackers = select_trackers(arguments.track)
    judges = parse_judges(arguments.judges)
    if whole_number("controls", arguments.controls, low=0) and not judges:
        raise UsageError("controls without a judge; name the model to test (--judge MODEL)")
    roles = {name: facts.role for name, facts in folder.manifest().systems.items()}
    roles |= {system.name: role_of(system) for system in loaded}
    if arguments.controls:
        from echat_eval.scorers.run_controls import refuse_few_controls

        refuse_few_controls(arguments.controls, samples, roles.values())
    if list(roles.values()).count("system") > 1:  # the leaderboard compares them at the end
        require_package("scipy", "the ranks of several systems need")
    with shared_cache(os.environ, enabled=arguments.cache) as opened:
        annotators = select_annotators(arguments.annotators, remark)
        scorers = select_scorers(arguments.scorers, samples, remark)
        store = folder.path / "verdicts.jsonl"
        judged = [
            scorers_of_judge(judge, note=remark, store=store, tries=tries, cache=opened) for judge in judges
        ]
        clients = [pair[0].judge_client for pair in judged]
        for first, second in combinations(clients, 2):
            second.share_identities(first)
        for line in unshown_history(clients, samples):
            remark(line)
        scorers += [scorer for pair in judged for scorer in pair]
        scorers += scorers_of_turns([pair[0] for pair in judged if isinstance(pair[0], Judged)], samples)
        for line in _replaced_judges(folder.manifest(), scorers):
            remark(line)
        link = None
        if (wanted := parse_link(arguments.link, judges)) is not None:
            from echat_eval.scorers.stored_links import new_judges

            if wanted.judge.url is None and wanted.judge.model != DATED:
                require_openai_model(wanted.judge.model, "--set link.url=")
            with _named_as_link():
                made = scorers_of_judge(wanted.judge, note=remark, store=store, tries=tries, cache=opened)[0]
            if not isinstance(made, Judged):
                raise UsageError(f"--link {wanted.judge.model}: links are between judges that read")
            link = PlannedLink(old=made, anchors=wanted.anchors)
            new_judges(scorers, made)  # refuses a link without a new judge before anything is sent
        if arguments.headline is not None:
            _check_headline(arguments.headline, scorers, folder)
        headline = chosen_headline([folder.manifest()], arguments.headline)
        yield Plan(
            folder=folder,
            systems=loaded,
            repeats=repeats,
            tasks=tasks,
            annotators=annotators,
            scorers=scorers,
            judges=clients,
            controls=arguments.controls,
            budget=budget,
            settings=RunSettings(
                retry_policy=RetryPolicy(tries=tries, failed_again=arguments.retry_failed),
                overlap=arguments.overlap,
                headline=headline,
            ),
            executor=placement,
            cache=opened,
            send_to=send_to,
            trackers=trackers,
            link=link,
        )


def _replaced_judges(manifest: RunManifest, scorers: Sequence[Scorer]) -> list[str]:
    """Return which judges of a folder lose their columns to another model, or to one at another address."""
    lines = []
    for scorer in scorers:
        known = manifest.scorers.get(scorer.name)
        if known is None or not isinstance(scorer, Judged | JudgedVoice):
            continue
        client = scorer.judge_client.client
        old, new = known.settings.get("model"), client.model
        old_url, new_url = known.settings.get("url") or OPENAI, scrub(client.base_url or OPENAI)
        if old is None or (old, old_url) == (new, new_url):
            continue
        servers = (old, new) if old != new else (f"{old} at {old_url}", f"{new} at {new_url}")
        lines.append(
            f"{scorer.metrics[0].name}: the scores of {servers[0]} are replaced by those of {servers[1]}; to "
            f"keep both columns, name the new judge (--judge new={new})"
        )
    return lines


@contextmanager
def _named_as_link() -> Iterator[None]:
    """Name the options of a link in refusals of its judge, in place of those of a run's judge."""
    try:
        yield
    except UsageError as error:
        text = str(error).replace("--judge-url", "--set link.url=").replace("--judge-set ", "--set link.")
        raise UsageError(text) from error


def _check_headline(name: str, scorers: Sequence[Scorer], folder: RunFolder) -> None:
    """Raise UnknownName unless a scorer of the command, or the run already, has the metric."""
    known = {metric.name for scorer in scorers for metric in scorer.metrics}
    known |= {metric.name for metric in folder.manifest().metrics}
    if name not in known:
        raise UnknownName("metric", name, known)


def whole_number(argument: str, given: int, *, low: int, high: int | None = None) -> int:
    """Return an argument that is a whole number within limits.

    Raises:
        UsageError: it is not.
    """
    if isinstance(given, bool) or not isinstance(given, int) or given < low or (high and given > high):
        limits = f"{low} to {high}" if high else f"from {low}"
        raise UsageError(f"{argument}={given!r}: expected a whole number {limits}")
    return given
