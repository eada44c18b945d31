"""The cost of a run: `spending.jsonl` has one row per paid call; the manifest holds the sums of all commands.

A call that broke off has a row too, because it may have been billed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from echat_eval.cost.meter import Meter, billed_client_of
from echat_eval.cost.totals import TableFacts, json_of_spending, spending_from, totals
from echat_eval.io.jsonl import Appender, read_rows

if TYPE_CHECKING:
    from decimal import Decimal

    from echat_eval.cost.meter import BilledClient, BilledRole, SpendingRow
    from echat_eval.cost.prices import PriceTable
    from echat_eval.ports import Oracle, Scorer, System
    from echat_eval.store.run_folder import RunFolder

__all__ = ["billed_clients_of", "metered"]

_FILE = "spending.jsonl"


def billed_clients_of(
    systems: Sequence[System | Oracle], scorers: Sequence[Scorer]
) -> list[tuple[BilledRole, str, BilledClient]]:
    """Return (role, name, billed client) of every system and judge whose calls may cost money."""
    clients: list[tuple[BilledRole, str, BilledClient]] = [
        ("system", system.name, billed_client)
        for system in systems
        if (billed_client := billed_client_of(system)) is not None
    ]
    for scorer in scorers:
        billed_client = billed_client_of(scorer)
        if billed_client is not None and all(billed_client is not known for _, _, known in clients):
            clients.append(("judge", billed_client.model, billed_client))
    return clients


@contextmanager
def metered(
    run: RunFolder,
    billed_clients: Sequence[tuple[BilledRole, str, BilledClient]],
    table: PriceTable,
    *,
    limit: Decimal | None = None,
) -> Iterator[Meter]:
    """Meter the calls within this block; the run must be open for writing.

    When the block ends, with or without an error, the manifest holds the sums and the prices used.

    Raises:
        UsageError: there is a limit, but a client has no price.
    """
    appenders: list[Appender] = []  # opened with the first row

    def log(row: SpendingRow) -> None:
        if not appenders:
            appenders.append(Appender(run.path / _FILE))
        appenders[0].append(json_of_spending(row))

    meter = Meter(table, limit=limit, log=log)
    accounts = [meter.account(role, name, billed_client) for role, name, billed_client in billed_clients]
    try:
        yield meter
    finally:
        for _, _, billed_client in billed_clients:
            billed_client.attach_account(None)
        try:
            meter.write_log()
        finally:
            for appender in appenders:
                appender.close()
        file = run.path / _FILE
        if file.exists():
            manifest = run.manifest()
            known = manifest.cost.prices if manifest.cost is not None else {}
            used = {a.model: a.price for a in accounts if a.price is not None}
            costs = replace(
                totals(spending_from(row, f"{file}:{line}") for line, row in read_rows(file)),
                prices={**known, **used},
                table=TableFacts(name=table.name, sha256=table.sha256),
            )
            run.write_manifest(replace(manifest, cost=costs))
