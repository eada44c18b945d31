"""The scores of a run as a long table, which `compare` and `gate` read without the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.analysis.run_tables import long_table, scores_table
from echat_eval.errors import BadData
from echat_eval.io.csv_cells import table_csv
from echat_eval.io.jsonl import rows_text
from echat_eval.store.ledger import require_whole

if TYPE_CHECKING:
    from echat_eval.store.run_folder import RunFolder

__all__ = ["scores_text"]


def scores_text(run: RunFolder, *, csv: bool) -> str:
    """Return the scores of a run as CSV or JSON Lines.

    Args:
        run: a run folder, or one system of it.
        csv: with cells that no spreadsheet takes for a formula.

    Raises:
        BadData: the run has no scores, or was interrupted: a table does not state which rows it lacks.
    """
    require_whole(run)
    frame = long_table(scores_table(run))
    if frame.empty:
        raise BadData(f"{run.path}: no scores yet; make them with `echat-eval run {run.path}`")
    frame = frame.dropna(axis="columns", how="all")
    rows = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    if csv:
        return table_csv(list(frame.columns), [{str(k): v for k, v in row.items()} for row in rows])
    return rows_text({str(k): v for k, v in row.items() if v is not None} for row in rows)
