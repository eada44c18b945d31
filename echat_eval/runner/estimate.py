"""What a command will ask of servers, and what that may cost, before anything is sent."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.cost.meter import BilledClient, BilledRole
from echat_eval.cost.prices import TOKEN_KINDS, Tokens
from echat_eval.cost.tokens import TYPICAL_WORDS, MessageSize
from echat_eval.errors import NotApplicable, Unavailable
from echat_eval.judge import Ruling, Verdict
from echat_eval.ports import Case
from echat_eval.records import Reply, Response
from echat_eval.runner.respond import PendingRequest, ResponseStage
from echat_eval.runner.score import scope_of
from echat_eval.store.cases import cases_of

if TYPE_CHECKING:
    from decimal import Decimal

    from echat_eval.cost.prices import PriceTable
    from echat_eval.judge import JudgeClient, Question
    from echat_eval.ports import Oracle, Scorer, System
    from echat_eval.records import Sample
    from echat_eval.store.reuse import ReuseIndex
    from echat_eval.store.run_folder import RunFolder

__all__ = ["Estimated", "estimate"]

#: Characters of a reply that is not there yet, unless the run holds others to go by.
TYPICAL_REPLY = 150
#: Tokens of a verdict that is not there yet, unless the run holds others to go by.
TYPICAL_VERDICT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """What one judge or system will be asked.

    Attributes:
        calls: without tries that fail.
        about: tokens, roughly; see `message_size.PROXY`.
        money: what those cost; None where there is no price.
        most: what the calls can cost at most, tries that fail included; None where there is no price, or
            no bound.
    """

    role: BilledRole
    name: str
    billed_client: BilledClient
    calls: int
    about: Tokens
    money: Decimal | None
    most: Decimal | None
    currency: str | None


def estimate(
    run: RunFolder,
    *,
    systems: Sequence[System | Oracle],
    samples: Sequence[Sample],
    scorers: Sequence[Scorer],
    recall: ReuseIndex,
    table: PriceTable,
    tries: int = 1,
) -> list[Estimated]:
    """Return what is still to be asked, for everybody whose calls may cost money.

    A reply that is not there yet is taken to be as long as those that are, or as is typical; every reply
    is taken to differ from every other, which makes the judge's questions as many as they can be.

    Args:
        tries: how often a call is made at most.
    """
    questions = {system.name: _to_ask(system, samples, run, recall) for system in systems}
    known = run.responses()
    made = []
    for system in systems:
        if (billed_client := getattr(system, "billed_client", None)) is not None and questions[system.name]:
            own = [r for r in known.values() if r.system == system.name and r.reply is not None]
            said = _mean([r.reply.usage.get("completion_tokens", 0) for r in own if r.reply], TYPICAL_WORDS)
            sizes = [_size_of(system, q.asked) for q in questions[system.name]]
            made.append(
                _summed("system", system.name, billed_client, [s for s in sizes if s], said, table, tries)
            )
    juries: dict[int, _Counting] = {}
    cases = list(_cases(run, questions, samples))
    for scorer in scorers:
        if (jury := getattr(scorer, "jury", None)) is not None:
            counting = juries.setdefault(id(jury), _Counting(jury))
            asked_again = {(s, q.blank.task, q.blank.sample_id) for s, qs in questions.items() for q in qs}
            _ask(scorer, counting, _unscored(run, scorer, cases, asked_again))
    for counting in juries.values():
        said = _mean([ruling.tokens[1] for ruling in counting.jury.stored()], TYPICAL_VERDICT)
        billed_client = counting.client
        made.append(
            _summed(
                "judge", billed_client.model, billed_client, list(counting.sizes.values()), said, table, tries
            )
        )
    return made


def _to_ask(
    system: Any, samples: Sequence[Sample], run: RunFolder, recall: ReuseIndex
) -> list[PendingRequest]:
    asking = ResponseStage(system, run=run, retry_policy=RetryPolicy(), told=lambda response: None)
    questions = [row for row in asking.questions(samples, run.responses()) if isinstance(row, PendingRequest)]
    return [question for question in questions if not (question.kept and recall.knows(question.blank))]


def _size_of(system: Any, asked: Any) -> MessageSize | None:
    try:
        found: MessageSize = system.size_of(asked)
    except NotApplicable:
        return None
    return found


def _mean(values: Iterable[float], otherwise: int) -> int:
    known = [value for value in values if value]
    return round(fmean(known)) if known else otherwise


def _summed(
    role: BilledRole,
    name: str,
    billed_client: BilledClient,
    sizes: Sequence[MessageSize],
    said: int,
    table: PriceTable,
    tries: int,
) -> Estimated:
    about, most, bounded = Tokens(), Tokens(), True
    for size in sizes:
        about += size.about(said)
        bound = size.most()
        most, bounded = most + (bound or Tokens()), bounded and bound is not None
    price = table.find(billed_client.model, billed_client.base_url)
    money, worst = (price.money(about), price.money(most)) if price is not None else (None, None)
    return Estimated(
        role=role,
        name=name,
        billed_client=billed_client,
        calls=len(sizes),
        about=about,
        money=money,
        most=tries * worst if worst is not None and bounded else None,
        currency=price.currency if price is not None else None,
    )


# -- the judge's questions ----------------------------------------------------


class _Counting:
    """A jury that asks nobody: it notes what it would have asked, and gives every reply the lowest grades."""

    def __init__(self, jury: JudgeClient) -> None:
        self.jury, self.judge, self.client = jury, jury.judge, jury.client
        self.sizes: dict[str, MessageSize] = {}
        self._seen: set[tuple[Any, ...]] = set()

    async def ruling(self, question: Question, *, repeat: int = 0) -> Ruling:
        heard = question.heard is not None
        facts = (
            question.task,
            question.language,
            question.transcript,
            tuple(sorted(question.cues.items())),
            question.reply,
            question.heard,
            repeat,
        )
        if facts not in self._seen:
            self._seen.add(facts)
            prompt, asked = self.jury.prompt_of(question, repeat)
            if not self.jury.remembers(asked):
                self.sizes[asked] = self.jury.size_of(prompt, heard=heard)
        lowest = dict.fromkeys(self.judge.dimensions, 0)
        verdict = Verdict(grades=lowest, reason="", voice=0 if heard else None)
        return Ruling(key="", verdict=verdict, prompt_sha256="", model="", server=None, tokens=(0, 0))


def _ask(scorer: Any, counting: _Counting, scopes: Iterable[list[Case]]) -> None:
    asking = copy.copy(scorer)
    asking.jury = counting

    async def all_of_them() -> None:
        for scope in scopes:
            try:
                await asking.score(scope)
            except (NotApplicable, Unavailable):
                continue  # nothing is asked about what has no words

    event_loop.run(all_of_them())


def _cases(
    run: RunFolder, questions: Mapping[str, Sequence[PendingRequest]], samples: Sequence[Sample]
) -> Iterator[Case]:
    """Yield every case there will be, replies that are not there yet made up."""
    by_ident = {(sample.task, sample.id): sample for sample in samples}
    asked = {(name, q.blank.task, q.blank.sample_id) for name, its in questions.items() for q in its}
    there = [] if not run.path.exists() else cases_of(run)
    lengths = [len(c.response.reply.text) for c in there if c.response.reply and c.response.reply.text]
    length = _mean(lengths, TYPICAL_REPLY)
    for case in there:
        ident = (case.response.system, case.sample.task, case.sample.id)
        if ident not in asked and case.response.state != "missing":
            yield case
    for name, task, sample_id in sorted(asked):
        words = f"{name} {task} {sample_id} ".ljust(length, "x")
        response = Response(
            key="", system=name, task=task, sample_id=sample_id, state="value", reply=Reply(text=words)
        )
        yield Case(sample=by_ident[task, sample_id], response=response, annotations={})


def _unscored(
    run: RunFolder, scorer: Any, cases: Sequence[Case], asked_again: set[tuple[str, str, str]]
) -> Iterator[list[Case]]:
    """Yield the scopes of which a score is not there yet, or was made by another form of the scorer."""
    jury = getattr(scorer, "jury", None)
    with jury.unasked() if jury is not None else nullcontext():
        described = {
            "version": scorer.version,
            "settings": dict(scorer.settings()),
            "fingerprint": scorer.fingerprint(),
        }
    known = run.manifest().get("scorers", {}).get(scorer.name, {})
    same = all(known.get(name) == value for name, value in described.items())
    scores = run.scores() if same else {}
    scopes: dict[Any, list[Case]] = {}
    for case in cases:
        ident = (case.response.system, case.sample.task, case.sample.id)
        scopes.setdefault(scope_of(ident, case.sample, scorer.scope), []).append(case)
    for scope in scopes.values():
        for case in scope:
            ident = (case.response.system, case.sample.task, case.sample.id)
            rows = [scores.get((*ident, metric.name)) for metric in scorer.metrics]
            if ident in asked_again or any(row is None or row.state == "missing" for row in rows):
                yield scope
                break


def tokens_in_words(tokens: Tokens) -> str:
    """Return counts for people to read.

    >>> tokens_in_words(Tokens(text_in=12_345, text_out=60))
    '12,345 text in, 60 text out'
    """
    counts = [(kind.replace("_", " "), getattr(tokens, kind)) for kind in TOKEN_KINDS]
    return ", ".join(f"{count:,} {kind}" for kind, count in counts if count) or "none"
