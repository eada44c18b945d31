"""What a command takes from other runs, and what it may spend: `--no-cache`, `--estimate`, `--max-cost`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import click

from echat_eval.errors import UsageError

if TYPE_CHECKING:
    from echat_eval.cli.options import Instruments
    from echat_eval.cost.meter import Meter
    from echat_eval.cost.prices import PriceTable
    from echat_eval.ports import Oracle, Scorer, System
    from echat_eval.records import Sample
    from echat_eval.runner.estimate import Estimated
    from echat_eval.store.cache import Cache
    from echat_eval.store.run_folder import RunFolder

__all__ = ["Plan", "cached", "print_estimate", "print_spent", "read_budget", "spending"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a command is about to ask, and what it may cost.

    Attributes:
        controls: replies that are judged again.
        limit: US dollars; None: no limit.
        tries: how often a call is made at most.
    """

    systems: Sequence[System | Oracle]
    samples: Sequence[Sample]
    scorers: Sequence[Scorer]
    controls: int
    table: PriceTable
    limit: Decimal | None
    tries: int


def read_budget(chosen: Instruments) -> tuple[PriceTable, Decimal | None]:
    """Return the prices and the limit; what is wrong with them is told before anything is loaded.

    Raises:
        UsageError, BadData: not an amount, or not a price table.
    """
    from echat_eval.cost.prices import read_prices

    limit = None
    if chosen.max_cost is not None:
        try:
            limit = Decimal(chosen.max_cost.strip().removeprefix("$"))
        except InvalidOperation:
            limit = Decimal(-1)
        if not limit.is_finite() or limit <= 0:
            raise UsageError(
                f"--max-cost {chosen.max_cost!r}: expected US dollars above 0, such as 5 or 0.50"
            )
    return read_prices(chosen.prices), limit


@contextmanager
def cached(no_cache: bool, scorers: Sequence[Scorer] = ()) -> Iterator[Cache | None]:
    """Open the user's cache and show it to the judges; in the end it is brought back to its size."""
    if no_cache:
        yield None
        return
    from echat_eval.cli.cache import opened_cache
    from echat_eval.store.cache_prune import DEFAULT_LIMIT, prune

    with opened_cache() as cache:
        for scorer in scorers:
            if (jury := getattr(scorer, "jury", None)) is not None:
                jury.cache = cache
        yield cache
        if cache.grew:
            prune(cache, limit=DEFAULT_LIMIT, compact=False)


@contextmanager
def spending(folder: RunFolder, plan: Plan, cache: Cache | None) -> Iterator[Meter]:
    """Say what is still to be asked, then meter what is asked within this block."""
    from echat_eval.runner.spending import billed_clients_of, metered

    payers = billed_clients_of(plan.systems, plan.scorers)
    with metered(folder, payers, plan.table, limit=plan.limit) as meter:
        print_estimate(folder, plan, cache)
        yield meter


def print_estimate(folder: RunFolder, plan: Plan, cache: Cache | None, *, whole: bool = False) -> None:
    """Print what is still to be asked and what it may cost, before anything is sent.

    Args:
        whole: to the screen, and also what costs nothing.
    """
    from echat_eval.runner.spending import billed_clients_of

    if billed_clients_of(plan.systems, plan.scorers):
        from echat_eval.cost.tokens import PROXY
        from echat_eval.runner.estimate import estimate
        from echat_eval.store.reuse import ReuseIndex

        found = estimate(
            folder,
            systems=plan.systems,
            samples=plan.samples,
            scorers=plan.scorers,
            recall=ReuseIndex(cache=cache, run=folder),
            table=plan.table,
            tries=plan.tries,
        )
        lines = [_in_words(line) for line in found if line.calls or whole]
        if any(line.calls for line in found):
            lines.append(PROXY)
        if plan.controls and any(line.role == "judge" for line in found):
            lines.append(f"--controls asks up to {4 * plan.controls:,} questions more")
        for line in lines:
            click.echo(f"estimate: {line}", err=not whole)
    if whole:
        others = [system.name for system in plan.systems if getattr(system, "billed_client", None) is None]
        if others:
            click.echo(f"estimate: not priced, as they tell no tokens: {', '.join(others)}")


def _in_words(line: Estimated) -> str:
    from echat_eval.cost.prices import OPENAI_HOST
    from echat_eval.runner.estimate import tokens_in_words

    asks = "questions" if line.role == "judge" else "calls"
    if not line.calls:
        return f"{line.role} {line.name}: nothing left to ask"
    text = f"{line.role} {line.name}: {line.calls:,} {asks}, about {tokens_in_words(line.about)}"
    if line.money is None:
        place = line.billed_client.base_url or OPENAI_HOST
        return f"{text}; money unknown: no price for '{line.billed_client.model}' at {place} (see --prices)"
    most = (
        f"at most {_amount(line.most)}" if line.most is not None else "no upper bound (it sets no max_tokens)"
    )
    return f"{text}; about {_amount(line.money)} {line.currency}, {most}"


def _amount(money: Decimal) -> str:
    return f"{money:,.2f}" if money >= 1 else f"{money:.4f}"


def print_spent(meter: Meter) -> None:
    """Print what this command spent, and whether it was stopped by its limit."""
    if line := meter.line():
        click.echo(f"spent: {line}")
    if meter.withheld:
        click.echo(
            f"note: what could have gone beyond --max-cost {meter.limit:f} was not asked; "
            "the same command with a higher limit goes on",
            err=True,
        )
