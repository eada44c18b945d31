"""Facts beside a table of ratings: sheet, analysis plan, raters, and the replies that were rated."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.jsonl import loads
from echat_eval.report.rating.replies import reply_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from echat_eval.records import Response
    from echat_eval.report.rating.collect import Collected

__all__ = ["RatingFacts", "facts_json", "facts_path", "read_facts", "require_same_replies"]

#: System, task and sample id.
ReplyId = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingFacts:
    """Facts of a table of ratings.

    Attributes:
        sheet: id of the rating sheet.
        plan_sha256: hash of the analysis plan that was written with the sheet.
        plan_kept: whether the plan was still the same when the key was opened.
        replies: reply -> hash of its words and voice.
        assigned: raters that the sheet was made for; None: for anyone.
    """

    sheet: str
    plan_sha256: str | None
    plan_kept: bool
    replies: Mapping[ReplyId, str | None] = field(default_factory=dict)
    assigned: int | None = None

    def line(self) -> str:
        """Return the facts as one line."""
        if self.plan_sha256 is None:
            return "Analysis plan: none was written with the sheet."
        kept = "unchanged when the key was opened" if self.plan_kept else "CHANGED before the key was opened"
        return f"Analysis plan: sha256 {self.plan_sha256[:12]}…, {kept}."


def facts_path(ratings: Path) -> Path:
    """Return the path of the facts of a table of ratings, beside it."""
    return ratings.with_suffix(".facts.json")


def facts_json(collected: Collected) -> str:
    """Return the facts of collected ratings as JSON; of raters' own facts, counts only."""
    key = collected.key
    counts = {
        name: dict(Counter(person.demographics.get(name, "not stated") for person in collected.raters))
        for name in key.get("demographics", ())
    }
    replies = [
        [system, answer["task"], answer["sample_id"], sha256]
        for answer in key["items"].values()
        if "repeats" not in answer
        for system, sha256 in zip(answer["systems"], answer.get("replies", ()), strict=False)
    ]
    found = {
        "sheet": key["sheet"],
        "plan": (key.get("plan") or {}).get("sha256"),
        "plan_kept": collected.plan_kept,
        "assigned": len(key["raters"]) if "raters" in key else None,
        "raters": {
            person.rater: {
                "answered": person.answered,
                "questions": person.questions,
                "checks": person.checks,
                "failed": person.failed,
                "repeats": person.repeats,
                "differed": person.differed,
                "left_out": person.left_out,
            }
            for person in collected.raters
        },
        "demographics": counts,
        "pay": key.get("pay"),
        "consent": key.get("consent"),
        "replies": replies,
    }
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def read_facts(ratings: Path) -> RatingFacts | None:
    """Return the facts beside a table of ratings; None if there are none.

    Raises:
        BadData: the file is malformed.
    """
    path = facts_path(ratings)
    if not path.is_file():
        return None
    try:
        found: Any = loads(path.read_bytes())
        return RatingFacts(
            sheet=str(found["sheet"]),
            plan_sha256=None if found["plan"] is None else str(found["plan"]),
            plan_kept=found["plan_kept"] is True,
            assigned=None if found.get("assigned") is None else int(found["assigned"]),
            replies={(str(a), str(b), str(c)): sha256 for a, b, c, sha256 in found["replies"]},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(f"{path}: not the facts that `rate import` writes; restore the file") from error


def require_same_replies(ratings: Path, responses: Mapping[ReplyId, Response]) -> RatingFacts | None:
    """Return the facts of a table of ratings, if people rated the replies of these runs.

    Args:
        ratings: the table.
        responses: (system, task, sample id) -> response of the runs.

    Raises:
        BadData: a rated reply is another one than that of the runs, or none of the rated ones is in them.
    """
    facts = read_facts(ratings)
    if facts is None or not facts.replies:
        return facts
    shared = [ident for ident in facts.replies if ident in responses]
    if not shared:
        system, task, sample = next(iter(facts.replies))
        raise BadData(
            f"{ratings}: ratings of another run: none of its replies, such as that of '{system}' to sample "
            f"'{sample}' of task '{task}', is in these runs; name the run that the sheet was made of"
        )
    for ident in shared:
        expected = facts.replies[ident]
        if expected is not None and reply_sha256(responses[ident]) != expected:
            raise BadData(
                f"{ratings}: ratings of another run: the reply of '{ident[0]}' to sample '{ident[2]}' of "
                f"task '{ident[1]}' is not the one that was rated; name the run that the sheet was made of"
            )
    return facts
