"""Links of a run's judges to the judges that they replace: made, stored beside the scores, and printed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from echat_eval.clients.chat import OPENAI
from echat_eval.errors import UsageError
from echat_eval.io.hashing import digest
from echat_eval.io.jsonl import write_rows
from echat_eval.io.schema import (
    ANYTHING,
    STRING,
    Rule,
    Schema,
    list_of,
    number,
    one_of,
    read_schema_rows,
    whole,
)
from echat_eval.scorers.judge_link import JudgeLink, SystemEstimate, link_judges
from echat_eval.scorers.judged import Judged
from echat_eval.scorers.link_settings import FEWEST
from echat_eval.stats import Estimate
from echat_eval.stats.linking import MIN_ANCHORS, MIN_CLUSTERS, TOLERANCE, SliceShift

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echat_eval.ports import Scorer
    from echat_eval.store.run_folder import RunFolder

__all__ = ["is_same_judge", "link_lines", "link_notes", "new_judges", "run_and_store_links", "stored_links"]

_FILE = "links.jsonl"


def is_same_judge(first: Judged, second: Judged) -> bool:
    """Return whether two scorers ask one model at one address with one rubric."""
    facts = [
        (judged.judge_client.client.model, judged.judge_client.client.base_url or OPENAI, judged.judge.name)
        for judged in (first, second)
    ]
    return facts[0] == facts[1]


def run_and_store_links(folder: RunFolder, scorers: Sequence[Scorer], old: Judged, *, anchors: int) -> None:
    """Link each judge of a command to an old one, and store the links in the folder.

    Raises:
        UsageError: the command has no other judge.
    """
    new = new_judges(scorers, old)
    links = [link_judges(folder, judged, old, anchors=anchors) for judged in new]
    old.close()
    earlier = [link for link in stored_links(folder) if link.metric not in {link.metric for link in links}]
    rows = ({**asdict(link), "basis": _basis(folder, link.metric)} for link in (*earlier, *links))
    write_rows(folder.path / _FILE, rows)


def new_judges(scorers: Sequence[Scorer], old: Judged) -> list[Judged]:
    """Return the judges whose scores a link puts on the scale of the old one.

    Raises:
        UsageError: there is none.
    """
    judges = [scorer for scorer in scorers if type(scorer) is Judged]
    found = [judged for judged in judges if not is_same_judge(judged, old)]
    if found:
        return found
    model = old.judge_client.client.model
    if not judges:
        raise UsageError(f"--link {model} without --judge; name the new judge with --judge MODEL")
    raise UsageError(
        f"--link {model}: that is the judge of this run itself; give the new judge as --judge, and as --link "
        "the one that it replaces"
    )


def stored_links(folder: RunFolder) -> list[JudgeLink]:
    """Return the links in a folder that still fit its scores.

    Raises:
        BadData: a row is no link; the message names file and line.
    """
    return [_link(row) for row in _rows(folder) if row["basis"] == _basis(folder, row["metric"])]


def link_notes(folder: RunFolder) -> list[str]:
    """Return the lines about the folder's links; an empty list if there are none."""
    lines = []
    for row in _rows(folder):
        if row["basis"] == _basis(folder, row["metric"]):
            lines += link_lines(_link(row))
        else:
            lines.append(
                f"The link of {row['new']} to {row['old']} was made for other scores and does not apply; "
                f"make it again with `echat-eval run {folder.path} --link {row['old']} --set link.url=URL` "
                "(without the URL for OpenAI)."
            )
    return lines


def link_lines(link: JudgeLink) -> list[str]:
    """Return the lines about a link: old-scale estimates, or why there are none."""
    count = f"{link.anchors} replies that both graded, in {link.clusters} clusters"
    unanswered = ""
    if link.unanswered:
        unanswered = f" {link.old} gave no verdict on {link.unanswered} of the anchors: {link.reason}."
    if link.state == "linked":
        return [
            f"Estimates on the scale of {link.old}, not scores and never ranked: {link.new} is linked to it "
            f"through {count} (95 % intervals).{unanswered}",
            *(_system_line(system, link.old) for system in link.systems),
            f"- the judges agree within {TOLERANCE:g} points in every tested slice: {_tested(link)}",
        ]
    nothing = f"No estimates on the scale of {link.old}: "
    if link.state == "too few":
        return [
            f"{nothing}{link.new} and {link.old} have {count}; {FEWEST} in {2 * MIN_CLUSTERS} clusters, and "
            f"a slice of {MIN_ANCHORS}, are needed.{unanswered} {_remedy(link)}"
        ]
    words = {"differs": "they differ", "open": "not shown to agree"}
    shown = [
        f"- {words[shift.state]} on {shift.kind} {shift.value}: {link.old} grades it "
        f"{shift.shift.value:+.1f}{_interval(shift.shift)} points beside the link "
        f"({shift.anchors} anchors)"
        for shift in link.slices
        if shift.state != "agrees"
    ]
    more = (
        "; more anchors may decide it: --set link.anchors=N"
        if link.state == "open"
        else "; its scores and those of the new judge are two scales"
    )
    return [
        f"{nothing}{link.new} and {link.old} are not shown to agree within {TOLERANCE:g} points in every "
        f"slice ({count}, 95 % intervals){more}.{unanswered}",
        *shown,
    ]


def _remedy(link: JudgeLink) -> str:
    """Return how to get the anchors that a link lacks."""
    if link.unanswered:
        return (
            f"The scores of {link.new} stand; to link them, run the same command while {link.old} answers, "
            "or use a run folder whose replies it graded."
        )
    if not link.anchors:
        return (
            f"No reply has a score of {link.new} and words that {link.old} can grade; make the missing "
            "scores first."
        )
    return (
        f"The scores of {link.new} stand; to link them, grade more samples with both (a run with a larger "
        f"--limit or more tasks, and --set link.anchors above {link.anchors} if that is what limits it)."
    )


def _system_line(system: SystemEstimate, old: str) -> str:
    found = system.estimate
    if found is None or found.low is None:
        return (
            f"- {system.system}: no estimate, {system.anchors} anchors; {MIN_ANCHORS} in {MIN_CLUSTERS} "
            "clusters are needed"
        )
    return f"- {system.system}: about {found.value:.1f}{_interval(found)} by {old} (estimate)"


def _interval(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return f" [{found.no_interval}]"
    return f" [{found.low:.1f}, {found.high:.1f}]"


def _tested(link: JudgeLink) -> str:
    kinds = dict.fromkeys(shift.kind for shift in link.slices)
    counts = {kind: sum(shift.kind == kind for shift in link.slices) for kind in kinds}
    return ", ".join(f"{kind} ({count})" for kind, count in counts.items())


# -- the file ----------------------------------------------------------------------

_ESTIMATE = Schema(
    {
        "value": number(),
        **dict.fromkeys(("low", "high", "se", "df", "se_low", "se_high"), number().optional()),
        **dict.fromkeys(("n", "clusters"), whole(0)),
        "level": number(0, 1),
    }
)
_ESTIMATED = Rule(_ESTIMATE.holds, "an estimate")
_SYSTEM = Schema({"system": STRING, "estimate": _ESTIMATED.optional(), "anchors": whole(0)})
_SLICE = Schema(
    {
        "kind": STRING,
        "value": STRING,
        "shift": _ESTIMATED,
        "state": one_of(("agrees", "differs", "open")),
        "anchors": whole(0),
    }
)
_ROW = Schema(
    {
        **dict.fromkeys(("new", "old", "metric", "basis", "reason"), STRING),
        "state": one_of(("linked", "disagree", "open", "too few")),
        **dict.fromkeys(("anchors", "clusters", "unanswered"), whole(0)),
        "slices": list_of(Rule(_SLICE.holds, "a slice"), "a list of slices"),
        "systems": list_of(Rule(_SYSTEM.holds, "a system"), "a list of systems"),
        "pairs": ANYTHING,
    }
)


def _rows(folder: RunFolder) -> Iterator[dict[str, Any]]:
    path = folder.path / _FILE
    if path.exists():
        for _, row in read_schema_rows(path, _ROW):
            yield row


def _link(row: dict[str, Any]) -> JudgeLink:
    facts = {name: value for name, value in row.items() if name != "basis"}
    slices = tuple(SliceShift(**{**found, "shift": _estimate(found["shift"])}) for found in row["slices"])
    systems = tuple(
        SystemEstimate(**{**found, "estimate": found.get("estimate") and _estimate(found["estimate"])})
        for found in row["systems"]
    )
    return JudgeLink(
        **{**facts, "slices": slices, "systems": systems, "pairs": tuple(map(tuple, row["pairs"]))}
    )


def _estimate(row: dict[str, Any]) -> Estimate:
    unknown = dict.fromkeys(("low", "high", "se", "df", "se_low", "se_high"))
    return Estimate(**{**unknown, **row})


def _basis(folder: RunFolder, metric: str) -> str:
    """Return the hash of the scores that a link was made for."""
    rows = [
        [*ident, score.key, score.state] for ident, score in folder.scores().items() if ident[3] == metric
    ]
    return digest("link", json.dumps(sorted(rows), ensure_ascii=False))
