"""What a run has spent: a row per paid call, summed up in the manifest over all its commands.

spending.jsonl                     a row per call that was paid, or that broke off and may have been
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from echat_eval.cost.meter import Meter, totals
from echat_eval.io.jsonl import Appender, read_rows

if TYPE_CHECKING:
    from decimal import Decimal

    from echat_eval.cost.meter import BilledClient, BilledRole
    from echat_eval.cost.prices import PriceTable
    from echat_eval.ports import Oracle, Scorer, System
    from echat_eval.store.run_folder import RunFolder

__all__ = ["billed_clients_of", "metered"]

_FILE = "spending.jsonl"


def billed_clients_of(
    systems: Sequence[System | Oracle], scorers: Sequence[Scorer]
) -> list[tuple[BilledRole, str, BilledClient]]:
    """Return (role, name, billed client) of every system and judge whose calls may cost money."""
    found: list[tuple[BilledRole, str, BilledClient]] = [
        ("system", system.name, billed_client)
        for system in systems
        if (billed_client := getattr(system, "billed_client", None)) is not None
    ]
    for scorer in scorers:
        billed_client = getattr(scorer, "billed_client", None)
        if billed_client is not None and all(billed_client is not known for _, _, known in found):
            found.append(("judge", billed_client.model, billed_client))
    return found


@contextmanager
def metered(
    run: RunFolder,
    payers: Sequence[tuple[BilledRole, str, BilledClient]],
    table: PriceTable,
    *,
    limit: Decimal | None = None,
) -> Iterator[Meter]:
    """Meter what is asked within this block; the run must be held for writing.

    However the block ends, what was spent is in the manifest afterwards, with the prices it was counted by.

    Raises:
        UsageError: there is a limit, and somebody without a price to hold against it.
    """
    opened: list[Appender] = []

    def log(row: Mapping[str, Any]) -> None:
        if not opened:
            opened.append(Appender(run.path / _FILE))
        opened[0].append(row)

    meter = Meter(table, limit=limit, log=log)
    accounts = [meter.account(role, name, billed_client) for role, name, billed_client in payers]
    try:
        yield meter
    finally:
        for _, _, billed_client in payers:
            billed_client.account = None
        for appender in opened:
            appender.close()
        if (run.path / _FILE).exists():
            manifest = run.manifest()
            used = {a.model: a.price.as_json() for a in accounts if a.price is not None}
            known = manifest.get("cost", {}).get("prices", {})
            manifest["cost"] = {
                **totals(row for _, row in read_rows(run.path / _FILE)),
                "prices": {**known, **used},
                "table": {"name": table.name, "sha256": table.sha256},
            }
            run.write_manifest(manifest)
