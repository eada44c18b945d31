"""The pairs of the listening check for people: recordings, and a blind sheet to fill in."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.checks.listening import PairAnswers
from echat_eval.errors import BadData
from echat_eval.io.csv_cells import table_csv
from echat_eval.io.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.checks.listening import VoicePair

__all__ = ["SHEET", "read_people", "write_sheet"]

#: Name of the sheet, and its columns. `answer` is 1, 2, or 0 for no difference.
SHEET = "pairs.csv"
COLUMNS = ("pair", "recording_1", "recording_2", "label", "words", "rater", "answer")


def write_sheet(folder: Path, pairs: Sequence[VoicePair]) -> Path:
    """Write the sheet beside the recordings and return its path; it does not tell the kinds of pairs."""
    rows = []
    for pair in sorted(pairs, key=lambda p: p.id):
        first, second = _shown(pair)
        rows.append(
            {
                "pair": pair.id,
                "recording_1": first,
                "recording_2": second,
                "label": pair.label,
                "words": pair.words,
                "rater": "",
                "answer": "",
            }
        )
    path = folder / SHEET
    write_atomically(path, table_csv(COLUMNS, rows))
    return path


def _shown(pair: VoicePair) -> tuple[str, str]:
    """Return the files in the order that people hear them, which the pair's id decides."""
    files = pair.right.path.name, pair.other.path.name
    return files if _right_is_first(pair) else (files[1], files[0])


def _right_is_first(pair: VoicePair) -> bool:
    return int(pair.id[0], 16) % 2 == 0


def read_people(path: Path, pairs: Sequence[VoicePair]) -> list[PairAnswers]:
    """Return the answers of people in a sheet, one row per rater and pair; empty answers are left out.

    Raises:
        BadData: the file cannot be read, lacks a column, names another pair, or holds another answer.
    """
    known = {pair.id: pair for pair in pairs}
    found: list[PairAnswers] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{path}: cannot be read: {error}") from error
    if not rows or not {"pair", "answer"} <= set(rows[0]):
        raise BadData(f"{path}: no rows with the columns pair and answer; fill in the {SHEET} of --stimuli")
    for line, row in enumerate(rows, 2):
        answer = (row["answer"] or "").strip()
        if not answer:
            continue
        if row["pair"] not in known:
            raise BadData(
                f"{path}:{line}: pair {row['pair']!r} is not one of this check's; use its own sheet"
            )
        if answer not in {"0", "1", "2"}:
            raise BadData(f"{path}:{line}: answer {answer!r}; expected 1, 2, or 0 for no difference")
        pair = known[row["pair"]]
        named = {"0": 0, "1": 1, "2": -1}[answer]
        value = named if _right_is_first(pair) else -named
        found.append(PairAnswers(pair=pair, answers=(value,)))
    if not found:
        raise BadData(f"{path}: no answer is filled in; write 1, 2 or 0 into the column answer")
    return found
