"""Cache and cost of a command: `--no-cache`, `--estimate`, `--max-cost`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import click

from echat_eval.errors import UsageError

if TYPE_CHECKING:
    from echat_eval.cli.options import RunOptions
    from echat_eval.cost.meter import Meter
    from echat_eval.cost.prices import PriceTable
    from echat_eval.ports import Oracle, Scorer, System
    from echat_eval.records import Sample
    from echat_eval.runner.estimate import CostEstimate
    from echat_eval.store.cache import Cache
    from echat_eval.store.run_folder import RunFolder

__all__ = ["Plan", "cached", "print_estimate", "print_spent", "read_budget", "spending"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Calls that a command will make, and their cost limit.

    Attributes:
        controls: number of replies that are judged again.
        limit: US dollars; None: no limit.
        tries: maximum number of tries per call.
    """

    systems: Sequence[System | Oracle]
    samples: Sequence[Sample]
    scorers: Sequence[Scorer]
    controls: int
    table: PriceTable
    limit: Decimal | None
    tries: int


def read_budget(options: RunOptions) -> tuple[PriceTable, Decimal | None]:
    """Return the price table and the limit in US dollars (None: no limit).

    Call this before models are loaded, so that a bad value is reported at once.

    Raises:
        UsageError: `--max-cost` is not an amount above 0.
        BadData: not a price table.
    """
    from echat_eval.cost.prices import read_prices

    limit = None
    if options.max_cost is not None:
        try:
            limit = Decimal(options.max_cost.strip().removeprefix("$"))
        except InvalidOperation:
            limit = Decimal(-1)
        if not limit.is_finite() or limit <= 0:
            raise UsageError(
                f"--max-cost {options.max_cost!r}: expected US dollars above 0, such as 5 or 0.50"
            )
    return read_prices(options.prices), limit


@contextmanager
def cached(no_cache: bool, scorers: Sequence[Scorer] = ()) -> Iterator[Cache | None]:
    """Open the user's cache, attach it to the judges, and prune it to its default size at the end."""
    if no_cache:
        yield None
        return
    from echat_eval.cli.cache import opened_cache
    from echat_eval.store.cache_prune import DEFAULT_LIMIT, prune

    with opened_cache() as cache:
        for scorer in scorers:
            if (judge_client := getattr(scorer, "judge_client", None)) is not None:
                judge_client.cache = cache
        yield cache
        if cache.changed:
            prune(cache, limit=DEFAULT_LIMIT, compact=False)


@contextmanager
def spending(folder: RunFolder, plan: Plan, cache: Cache | None) -> Iterator[Meter]:
    """Print the remaining calls and their cost, then meter the calls made in this block."""
    from echat_eval.runner.spending import billed_clients_of, metered

    billed_clients = billed_clients_of(plan.systems, plan.scorers)
    with metered(folder, billed_clients, plan.table, limit=plan.limit) as meter:
        print_estimate(folder, plan, cache)
        yield meter


def print_estimate(folder: RunFolder, plan: Plan, cache: Cache | None, *, whole: bool = False) -> None:
    """Print the remaining calls and what they may cost, before anything is sent.

    Args:
        whole: print to standard output, including systems and judges without calls left.
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
            reuse=ReuseIndex(cache=cache, run=folder),
            table=plan.table,
            tries=plan.tries,
        )
        lines = [_estimate_line(line) for line in found if line.calls or whole]
        if any(line.calls for line in found):
            lines.append(PROXY)
        if plan.controls and any(line.role == "judge" for line in found):
            lines.append(f"--controls adds up to {4 * plan.controls:,} questions")
        for line in lines:
            click.echo(f"estimate: {line}", err=not whole)
    if whole:
        unpriced = [system.name for system in plan.systems if getattr(system, "billed_client", None) is None]
        if unpriced:
            click.echo(f"estimate: not priced, no token counts: {', '.join(unpriced)}")


def _estimate_line(line: CostEstimate) -> str:
    from echat_eval.cost.prices import OPENAI_HOST
    from echat_eval.runner.estimate import tokens_in_words

    unit = "questions" if line.role == "judge" else "calls"
    if not line.calls:
        return f"{line.role} {line.name}: nothing left to ask"
    text = f"{line.role} {line.name}: {line.calls:,} {unit}, about {tokens_in_words(line.tokens)}"
    if line.money is None:
        host = line.billed_client.base_url or OPENAI_HOST
        return f"{text}; money unknown: no price for '{line.billed_client.model}' at {host} (see --prices)"
    if line.upper_bound is None:
        bound = "no upper bound (max_tokens is not set)"
    else:
        bound = f"at most {_amount(line.upper_bound)}"
    return f"{text}; about {_amount(line.money)} {line.currency}, {bound}"


def _amount(money: Decimal) -> str:
    return f"{money:,.2f}" if money >= 1 else f"{money:.4f}"


def print_spent(meter: Meter) -> None:
    """Print the cost of this command, and a note if `--max-cost` stopped calls."""
    if line := meter.line():
        click.echo(f"spent: {line}")
    if meter.withheld:
        click.echo(
            f"note: calls that could have exceeded --max-cost {meter.limit:f} were not made; "
            "run the same command with a higher limit to continue",
            err=True,
        )
