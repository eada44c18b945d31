"""Judges beside people on public data: a judge's rows, and the human labels of VStyle and TRACE.

`echat_eval.importers.human_labels` has the forms. A judge's rows on VStyle have id, instruct_id and
gemini_score or score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.errors import BadData
from echat_eval.importers.human_labels import (
    DIMENSIONS,
    WINNERS,
    is_number,
    label_rows,
    opinion,
    opinions_of,
    pair_answers,
    pair_rows,
    reply_of,
)
from echat_eval.report.rating.judge_agreement import JudgeAgreement, agreements_of
from echat_eval.report.rating.pair_agreement import PairAgreement, require_decided, share, winner_points

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["compare_opinions", "compare_pairs", "is_pairs"]


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
    people, named = opinions_of(folder)
    abilities = {ident: ability.partition("/")[0] for ident, ability in named.items()}
    judged: dict[tuple[str, str], float] = {}
    for location, row in label_rows(scores):
        name = "score" if "score" in row else "gemini_score"
        if is_number(row.get(name)):  # a judge's error message stands in the place of its score
            judged[reply_of(location, row)] = opinion(location, row, name)
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
    people = {index: (location, row) for location, row, index in pair_rows(labels)}
    judged = {index: pair_answers(location, row) for location, row, index in pair_rows(scores)}
    found = []
    for dimension in DIMENSIONS:
        labelled = {
            index: answers[dimension]
            for index, (location, row) in people.items()
            if dimension in (answers := pair_answers(location, row))
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
                same=share([100.0 * (a == b) for a, b in zip(own, other, strict=True)], clusters),
                winner=share(
                    [
                        winner_points(_side(b), _side(a))
                        for a, b in zip(own, other, strict=True)
                        if a in WINNERS
                    ],
                    [c for c, a in zip(clusters, own, strict=True) if a in WINNERS],
                ),
                pairs=len(shared),
                unjudged=len(labelled) - len(shared),
            )
        )
    if not found:
        raise BadData(f"{scores}: no pair that {labels} labels; expected rows with its indices")
    require_decided(labels, found)
    return found


def _side(answer: str) -> float:
    """Return 1 for the first reply, -1 for the second, 0 for both."""
    return {"1": 1.0, "2": -1.0}.get(answer, 0.0)
