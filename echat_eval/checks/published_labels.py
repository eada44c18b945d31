"""Judges beside people on public data: the human labels of VStyle (opinion scores) and TRACE (pairs).

VStyle      a folder of one `<annotator>.jsonl` per person, rows of id, instruct_id, ability and mos
            (1 to 5), and a judge's rows of id, instruct_id and gemini_score or score
TRACE       a JSON list of pairs with instruction_id and label, each of its dimensions one of "1", "2",
            "both_good" and "both_bad"; a judge's rows have the same form, or `dimension_ratings` and
            `fused_rating` as TRACE prints them, with the pair's index

Sources: github.com/alibaba/vstyle (human_align), github.com/arjunchandra2/TRACE (data).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.errors import BadData
from echat_eval.importers.draft import read_objects
from echat_eval.io.display import printable
from echat_eval.report.rating.agreement import Agreement, jackknifed
from echat_eval.report.rating.judge_agreement import JudgeAgreement, agreements_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["PairAgreement", "compare_opinions", "compare_pairs", "is_pairs"]

#: Range of VStyle's opinion scores.
LOWEST, HIGHEST = 1.0, 5.0
DIMENSIONS = ("content", "voice_quality", "paralinguistics", "overall")
WINNERS = ("1", "2")
ANSWERS = (*WINNERS, "both_good", "both_bad")
#: Key of the overall verdict in TRACE's printed result.
FUSED = "fused_rating"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAgreement:
    """Agreement of a judge with people's labels of pairs, in one dimension.

    Attributes:
        same: share of all pairs with the same one of four answers, in percent.
        winner: share of the pairs that people decided in which the judge names the same winner; a tie of the
            judge counts half. No value if people decided none.
        unjudged: labelled pairs without an answer of the judge, which are in no number.
    """

    dimension: str
    same: Agreement
    winner: Agreement
    unjudged: int


def is_pairs(path: Path) -> bool:
    """Return whether labels are TRACE's pairs (a file) and not VStyle's opinion scores (a folder)."""
    return not path.is_dir()


def compare_opinions(folder: Path, scores: Path) -> list[JudgeAgreement]:
    """Return the agreement of a judge with VStyle's annotators, over all abilities and in each.

    Args:
        folder: one .jsonl per annotator.
        scores: the judge's rows.

    Raises:
        BadData: not of VStyle's form, or no reply that both graded.
    """
    people: dict[tuple[str, str], dict[str, float]] = {}
    abilities: dict[tuple[str, str], str] = {}
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise BadData(f"{folder}: no .jsonl; expected one file per annotator, as VStyle's human_eval_res/en")
    for path in files:
        for location, row in _rows(path):
            ident = _reply(location, row)
            if path.stem in people.setdefault(ident, {}):
                raise BadData(f"{location}: reply {ident[0]} is rated twice by '{path.stem}'; keep one row")
            people[ident][path.stem] = _opinion(location, row, "mos")
            abilities[ident] = str(row.get("ability") or "").partition("/")[0]
    judged: dict[tuple[str, str], float] = {}
    for location, row in _rows(scores):
        name = "score" if "score" in row else "gemini_score"
        if _is_number(row.get(name)):  # a judge's error message stands in the place of its score
            judged[_reply(location, row)] = _opinion(location, row, name)
    shared = [ident for ident in people if ident in judged]
    if not shared:
        raise BadData(f"{scores}: no reply that the annotators of {folder} rated; take rows of one language")
    groups = {"all": list(people)} | {
        ability: [ident for ident in people if abilities[ident] == ability]
        for ability in sorted(set(abilities.values()) - {""})
    }
    return [
        agreements_of(
            "mos",
            name,
            [people[ident] for ident in members if ident in judged],
            [judged[ident] for ident in members if ident in judged],
            [ident[1] for ident in members if ident in judged],
            unjudged=sum(ident not in judged for ident in members),
        )
        for name, members in groups.items()
        if any(ident in judged for ident in members)
    ]


def compare_pairs(labels: Path, scores: Path) -> list[PairAgreement]:
    """Return the agreement of a judge with TRACE's labels of pairs, per dimension; clusters are instructions.

    Raises:
        BadData: not of TRACE's form, no pair that both answered, or nothing but ties.
    """
    people = {index: (location, row) for location, row, index in _pairs(labels)}
    judged = {index: _answers(location, row) for location, row, index in _pairs(scores)}
    found = []
    for dimension in DIMENSIONS:
        labelled = {
            index: answers[dimension]
            for index, (location, row) in people.items()
            if dimension in (answers := _answers(location, row))
        }
        shared = [index for index in labelled if dimension in judged.get(index, {})]
        if not shared:
            continue
        clusters = [str(people[index][1].get("instruction_id", index)) for index in shared]
        own = [labelled[index] for index in shared]
        other = [judged[index][dimension] for index in shared]
        found.append(
            PairAgreement(
                dimension=dimension,
                same=_share([100.0 * (a == b) for a, b in zip(own, other, strict=True)], clusters),
                winner=_share(
                    [_right(a, b) for a, b in zip(own, other, strict=True) if a in WINNERS],
                    [c for c, a in zip(clusters, own, strict=True) if a in WINNERS],
                ),
                unjudged=len(labelled) - len(shared),
            )
        )
    if not found:
        raise BadData(f"{scores}: no pair that {labels} labels; expected rows with its indices")
    if all(agreement.winner.value is None for agreement in found):
        raise BadData(f"{labels}: every label is a tie, so no winner can be compared")
    return found


def _right(people: str, judge: str) -> float:
    return 50.0 if judge not in WINNERS else 100.0 * (people == judge)


def _share(values: Sequence[float], clusters: Sequence[str]) -> Agreement:
    if not values:
        return Agreement(value=None, low=None, high=None, n=0, clusters=0)
    x = np.asarray(values)

    def mean(rows: NDArray[np.int64]) -> float | None:
        return float(x[rows].mean()) if len(rows) else None

    return jackknifed(mean, clusters, bounds=(0.0, 100.0))


def _rows(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Return (location, row) of a file of rows; every row is an object."""
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


def _pairs(path: Path) -> list[tuple[str, Mapping[str, Any], str]]:
    found = []
    seen: set[str] = set()
    for location, row in _rows(path):
        if not isinstance(row.get("index"), int | str) or isinstance(row["index"], bool):
            raise BadData(f"{location}: has no 'index', the number of the pair in TRACE's list")
        index = str(row["index"])
        if index in seen:
            raise BadData(f"{location}: a second row for pair {printable(index)[:60]}; keep one of them")
        seen.add(index)
        found.append((location, row, index))
    return found


def _answers(location: str, row: Mapping[str, Any]) -> dict[str, str]:
    """Return dimension -> answer of a row, of labels or as TRACE prints its verdict."""
    stated = row.get("label", row.get("dimension_ratings"))
    if not isinstance(stated, dict):
        raise BadData(f"{location}: has no 'label' and no 'dimension_ratings'; expected one of them")
    if FUSED in row:
        stated = {**stated, "overall": row[FUSED]}
    answers = {name: str(stated[name]) for name in DIMENSIONS if stated.get(name) is not None}
    for name, answer in answers.items():
        if answer not in ANSWERS:
            raise BadData(
                f"{location}: {name} is {printable(answer)[:40]!r}, expected {', '.join(ANSWERS[:-1])} or "
                f"{ANSWERS[-1]}"
            )
    return answers


def _reply(location: str, row: Mapping[str, Any]) -> tuple[str, str]:
    """Return id and instruct_id of a reply."""
    if row.get("id") is None or row.get("instruct_id") is None:
        raise BadData(f"{location}: has no 'id' or no 'instruct_id'; expected rows of VStyle's form")
    return str(row["id"]), str(row["instruct_id"])


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _opinion(location: str, row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    if not _is_number(value) or not LOWEST <= float(value) <= HIGHEST:  # type: ignore[arg-type]
        raise BadData(f"{location}: {name} is {printable(str(value))[:40]!r}, expected a number from 1 to 5")
    return float(value)  # type: ignore[arg-type]
