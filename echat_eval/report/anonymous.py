"""The page for a blind review: systems by letter, samples by number, and no words that lead to their authors.

Numbers and notes are computed under the letters, as under any chosen name, so that no key or label of the
page is searched or replaced. Only texts that others wrote are: replies, verdicts, transcripts, titles, values
in notes. They cannot be made anonymous for certain: a reply may still state who made its system.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from echat_eval.records import JudgeEvidence
from echat_eval.report.name_search import NameSearch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from echat_eval.leaderboard.build import Leaderboard
    from echat_eval.records import Annotation, Metric, Reply, Response, Sample, Score, Turn
    from echat_eval.report.runs import MergedRuns

__all__ = ["Disguise"]

#: Lists of the board with words of notes, in which names of judges and reasons stand.
_PROSE = ("notes", "people", "shares", "gaps", "gap_notes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disguise:
    """Other names for what runs hold.

    Attributes:
        names: system -> its letter; bundled floors and ceilings keep their names.
        order: the shown names, in the order of letters, then bundled floors and ceilings.
        judges: model of a judge that only its users know -> its letter.
        metrics: metric of such a judge -> its name with the letter.
        search: finds what texts may not hold.
        notes: what was not searched for.
    """

    names: Mapping[str, str]
    order: tuple[str, ...]
    judges: Mapping[str, str]
    metrics: Mapping[str, str]
    search: NameSearch
    notes: tuple[str, ...] = ()

    def text(self, text: str) -> str:
        """Return a text without names and places."""
        return self.judges.get(text) or self.search.text(text)

    def value(self, value: Any) -> Any:
        """Return JSON data whose texts have neither names nor places; keys stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        return value

    def board(self, board: Mapping[str, Any]) -> dict[str, Any]:
        """Return the page's leaderboard without names and places in the values of its notes."""
        times = [
            {**t, "rows": self._said(t["rows"]), "notes": self._said(t["notes"])} for t in board["times"]
        ]
        return {**board, **{key: self._said(board[key]) for key in _PROSE}, "times": times}

    def _said(self, value: Any) -> Any:
        """Return phrases with their templates, and without names and places in what fills them."""
        if isinstance(value, Mapping) and set(value) == {"say", "with"}:
            return {"say": value["say"], "with": self._said(value["with"])}
        if isinstance(value, Mapping):
            return {key: self._said(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._said(inner) for inner in value]
        return self.value(value)

    def disguised(self, runs: MergedRuns) -> MergedRuns:
        """Return merged runs with samples and speakers by number, and without citations, keys and reasons.

        Keys are hashes of settings, and reasons hold words of servers; both can be traced.
        """
        numbers = _numbers(runs.samples.values())
        known = {old: new for (kind, _, old), new in numbers.items() if kind == "sample"}

        def moved(row: Any) -> Any:
            return numbers["sample", row.task, row.sample_id]

        def bare(row: Response | Annotation | Score) -> Any:
            return replace(row, sample_id=moved(row), key="", reason=None)

        return self._in_order(
            replace(
                runs,
                tasks={
                    name: replace(
                        facts,
                        citation=None,
                        title=self.value(facts.title),
                        licence=facts.licence and self.text(facts.licence),
                        voices=facts.voices and self.text(facts.voices),
                    )
                    for name, facts in runs.tasks.items()
                },
                samples={
                    (task, numbers["sample", task, name]): replace(
                        self._sample(sample),
                        id=numbers["sample", task, name],
                        speaker=_of(numbers, "speaker", task, sample.speaker),
                        contrast_group=_of(numbers, "group", task, sample.contrast_group),
                    )
                    for (task, name), sample in runs.samples.items()
                },
                responses={
                    (s, row.task, moved(row)): self._response(bare(row))
                    for (s, *_), row in runs.responses.items()
                },
                annotations={
                    (s, task, numbers["sample", task, name]): [
                        replace(bare(row), values=self.value(row.values)) for row in rows
                    ]
                    for (s, task, name), rows in runs.annotations.items()
                },
                scores={
                    (s, task, numbers["sample", task, name]): {
                        (shown := self.metrics.get(metric, metric)): replace(
                            bare(row), metric=shown, evidence=self._evidence(row, known)
                        )
                        for metric, row in rows.items()
                    }
                    for (s, task, name), rows in runs.scores.items()
                },
            )
        )

    def _sample(self, sample: Sample) -> Sample:
        def turns(found: Sequence[Turn]) -> tuple[Turn, ...]:
            return tuple(replace(turn, text=turn.text and self.text(turn.text)) for turn in found)

        return replace(
            sample,
            transcript=self.text(sample.transcript),
            references=tuple(map(self.text, sample.references)),
            history=turns(sample.history),
            turns=None if sample.turns is None else turns(sample.turns),
        )

    def _reply(self, reply: Reply) -> Reply:
        return replace(
            reply,
            text=reply.text and self.text(reply.text),
            think=reply.think and self.text(reply.think),
            perceived=self.value(reply.perceived),
            finish_reason=reply.finish_reason and self.text(reply.finish_reason),
        )

    def _response(self, row: Response) -> Response:
        return replace(
            row,
            reply=None if row.reply is None else self._reply(row.reply),
            turns=None if row.turns is None else tuple(map(self._reply, row.turns)),
        )

    def _evidence(self, row: Score, known: Mapping[str, str]) -> Mapping[str, Any] | JudgeEvidence:
        """Return evidence with the numbers of samples; of verdicts without servers and hashes."""
        found = row.evidence
        if isinstance(found, JudgeEvidence):
            return replace(
                found,
                reasons=tuple(map(self.text, found.reasons)),
                models=tuple(map(self.text, found.models)),
                opinions=self.value(found.opinions),
                servers=(),
                verdicts=(),
                prompt_sha256=(),
            )
        numbered: Mapping[str, Any] = self.value(_numbered(found, known))
        return numbered

    def _in_order(self, runs: MergedRuns) -> MergedRuns:
        """Return merged runs whose lists of systems are in the order of letters, not of names."""
        roles = {name: runs.roles[name] for name in self.order if name in runs.roles}
        return replace(runs, roles=roles, board=None if runs.board is None else self._board(runs.board))

    def _board(self, board: Leaderboard) -> Leaderboard:
        place = {name: number for number, name in enumerate(self.order)}
        ranking = board.ranking
        if (same := ranking.equivalence) is not None:
            pairs = sorted(
                ((min(a, b, key=place.__getitem__), max(a, b, key=place.__getitem__)) for a, b in same.pairs),
                key=lambda pair: (place[pair[0]], place[pair[1]]),
            )
            ranking = replace(ranking, equivalence=replace(same, pairs=tuple(pairs)))
        return replace(
            self._metrics(board),
            roles={name: board.roles[name] for name in self.order if name in board.roles},
            gaps=tuple(sorted(board.gaps, key=lambda gap: place[gap.system])),
            times=tuple(sorted(board.times, key=lambda times: place[times.system])),
            ranking=ranking,
        )

    def _metrics(self, board: Leaderboard) -> Leaderboard:
        """Return the leaderboard with the metrics of judges by letter."""

        def shown(metric: Metric) -> Metric:
            if metric.name not in self.metrics:
                return metric
            title = NameSearch(self.judges).text(metric.title).replace("Judge Judge ", "Judge ")
            return replace(metric, name=self.metrics[metric.name], title=title)

        def named(name: str) -> str:
            return self.metrics.get(name, name)

        return replace(
            board,
            metrics=tuple(map(shown, board.metrics)),
            headline=shown(board.headline),
            summaries={
                (s, task, named(m)): replace(row, metric=named(m))
                for (s, task, m), row in board.summaries.items()
            },
            caps={named(m): value for m, value in board.caps.items()},
            tasks_only=frozenset(map(named, board.tasks_only)),
            dashes={named(m): value for m, value in board.dashes.items()},
            shares={named(m): value for m, value in board.shares.items()},
            people={named(m): value for m, value in board.people.items()},
            unproven={named(m): value for m, value in board.unproven.items()},
        )


def _numbers(samples: Iterable[Sample]) -> dict[tuple[str, str, str], str]:
    """Return kind, task and name of samples, speakers and groups -> number; a speaker is of no task."""
    found: dict[tuple[str, str, str], str] = {}
    counts: dict[tuple[str, str], int] = {}
    for sample in samples:
        for kind, task, name in (
            ("sample", sample.task, sample.id),
            ("speaker", "", sample.speaker),
            ("group", sample.task, sample.contrast_group),
        ):
            if name is not None and (kind, task, name) not in found:
                counts[kind, task] = counts.get((kind, task), 0) + 1
                found[kind, task, name] = f"{kind[0]}{counts[kind, task]}"
    return found


def _of(numbers: Mapping[tuple[str, str, str], str], kind: str, task: str, name: str | None) -> str | None:
    return None if name is None else numbers[kind, "" if kind == "speaker" else task, name]


def _numbered(value: Any, known: Mapping[str, str]) -> Any:
    """Return evidence with the numbers of samples in place of their ids."""
    if isinstance(value, str):
        return known.get(value, value)
    if isinstance(value, Mapping):
        return {known.get(str(key), str(key)): _numbered(inner, known) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_numbered(inner, known) for inner in value]
    return value
