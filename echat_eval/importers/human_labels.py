"""Files of people's labels: opinion scores of replies (VStyle), and pairs of replies (TRACE).

VStyle      a folder of one `<annotator>.jsonl` per person, rows of id, instruct_id, ability and mos (1 to 5)
TRACE       a JSON list of pairs with index, instruction_id and label, each of its dimensions one of "1", "2",
            "both_good" and "both_bad"; a judge's rows have the same form, or `dimension_ratings` and
            `fused_rating` as TRACE prints them

Sources: github.com/alibaba/vstyle (human_align) at 70fa91a, github.com/arjunchandra2/TRACE (data) at 9cb2a59.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.importers.draft import read_objects
from echat_eval.io.display import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "DIMENSIONS",
    "HIGHEST",
    "LOWEST",
    "WINNERS",
    "is_number",
    "label_rows",
    "opinion",
    "opinions_of",
    "pair_answers",
    "pair_rows",
    "reply_of",
]

#: Range of VStyle's opinion scores.
LOWEST, HIGHEST = 1.0, 5.0
DIMENSIONS = ("content", "voice_quality", "paralinguistics", "overall")
WINNERS = ("1", "2")
_ANSWERS = (*WINNERS, "both_good", "both_bad")
#: Key of the overall verdict in TRACE's printed result.
_FUSED = "fused_rating"

#: Id and instruct_id of a reply.
ReplyId = tuple[str, str]


def opinions_of(folder: Path) -> tuple[dict[ReplyId, dict[str, float]], dict[ReplyId, str]]:
    """Return the opinion scores of each reply, annotator -> score, and the ability that it shows.

    Raises:
        BadData: not a folder of annotators of VStyle's form.
    """
    people: dict[ReplyId, dict[str, float]] = {}
    abilities: dict[ReplyId, str] = {}
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise BadData(f"{folder}: no .jsonl; expected one file per annotator, as VStyle's human_eval_res/en")
    for path in files:
        for location, row in label_rows(path):
            ident = reply_of(location, row)
            if path.stem in people.setdefault(ident, {}):
                raise BadData(f"{location}: reply {ident[0]} is rated twice by '{path.stem}'; keep one row")
            people[ident][path.stem] = opinion(location, row, "mos")
            abilities[ident] = str(row.get("ability") or "")
    return people, abilities


def pair_rows(path: Path) -> list[tuple[str, Mapping[str, Any], str]]:
    """Return (location, row, index) of every pair of a file of TRACE's form.

    Raises:
        BadData: a row without an index, or two of one index.
    """
    found = []
    seen: set[str] = set()
    for location, row in label_rows(path):
        if not isinstance(row.get("index"), int | str) or isinstance(row["index"], bool):
            raise BadData(f"{location}: has no 'index', the number of the pair in TRACE's list")
        index = str(row["index"])
        if index in seen:
            raise BadData(f"{location}: a second row for pair {printable(index)[:60]}; keep one of them")
        seen.add(index)
        found.append((location, row, index))
    return found


def pair_answers(location: str, row: Mapping[str, Any]) -> dict[str, str]:
    """Return dimension -> answer of a row, of labels or as TRACE prints its verdict.

    Raises:
        BadData: it has neither, or an answer is none of the four.
    """
    stated = row.get("label", row.get("dimension_ratings"))
    if not isinstance(stated, dict):
        raise BadData(f"{location}: has no 'label' and no 'dimension_ratings'; expected one of them")
    if _FUSED in row:
        stated = {**stated, "overall": row[_FUSED]}
    answers = {name: str(stated[name]) for name in DIMENSIONS if stated.get(name) is not None}
    for name, answer in answers.items():
        if answer not in _ANSWERS:
            raise BadData(
                f"{location}: {name} is {printable(answer)[:40]!r}, expected {', '.join(_ANSWERS[:-1])} or "
                f"{_ANSWERS[-1]}"
            )
    return answers


def label_rows(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Return (location, row) of a file of rows; every row is an object.

    Raises:
        BadData: it is empty, or a row is no object.
    """
    found: list[tuple[str, Mapping[str, Any]]] = []
    for location, row in read_objects(path):
        if not isinstance(row, dict):
            raise BadData(
                f"{path.parent / location}: is {printable(str(row))[:60]!r}, expected a JSON object"
            )
        found.append((str(path.parent / location), row))
    if not found:
        raise BadData(f"{path}: empty; expected rows of labels or of a judge")
    return found


def reply_of(location: str, row: Mapping[str, Any]) -> ReplyId:
    """Return id and instruct_id of a reply; raise BadData if the row lacks one."""
    if row.get("id") is None or row.get("instruct_id") is None:
        raise BadData(f"{location}: has no 'id' or no 'instruct_id'; expected rows of VStyle's form")
    return str(row["id"]), str(row["instruct_id"])


def opinion(location: str, row: Mapping[str, Any], name: str) -> float:
    """Return an opinion score; raise BadData unless it is a number from 1 to 5."""
    value = row.get(name)
    if not is_number(value) or not LOWEST <= float(value) <= HIGHEST:  # type: ignore[arg-type]
        raise BadData(f"{location}: {name} is {printable(str(value))[:40]!r}, expected a number from 1 to 5")
    return float(value)  # type: ignore[arg-type]


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number, or text that states one."""
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
