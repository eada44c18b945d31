"""Estimates the calls, tokens and cost of a command before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import TYPE_CHECKING

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.cost.meter import BilledClient, BilledRole, MeteredSystem
from echat_eval.cost.prices import Tokens
from echat_eval.cost.tokens import TYPICAL_SECONDS, TYPICAL_TEXT_TOKENS, MessageSize
from echat_eval.errors import NotApplicable
from echat_eval.io.hashing import sha256_of
from echat_eval.judge.scorer import JudgingScorer, judge_clients_of
from echat_eval.ports import Case
from echat_eval.records import AudioRef, Reply, Response
from echat_eval.runner.respond import PendingRequest, ResponseStage
from echat_eval.runner.score import scope_of
from echat_eval.store.cases import cases_of
from echat_eval.store.manifest import ScorerFacts
from echat_eval.store.repeats import repeated
from echat_eval.store.turns import turn_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from echat_eval.cost.prices import PriceTable
    from echat_eval.judge import JudgeClient, Question
    from echat_eval.ports import Oracle, Scorer, System
    from echat_eval.records import Request, Sample
    from echat_eval.store.reuse import ReuseIndex
    from echat_eval.store.run_folder import ResponseId, RunFolder

__all__ = ["TYPICAL_VERDICT", "CostEstimate", "estimate", "tokens_in_words", "total_of_calls"]

#: Assumed characters of a reply, if the run holds no replies to average.
TYPICAL_REPLY = 150
#: Assumed tokens of a verdict, if the run holds no verdicts to average.
TYPICAL_VERDICT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """The expected calls to one judge or system.

    Attributes:
        calls: without failed tries.
        tokens: approximate; see `cost.tokens.PROXY`.
        money: expected cost of the calls; None without a price.
        upper_bound: highest possible cost of the calls, failed tries included; None without a price or
            without a bound.
        anchored: a judge that grades anchors between its questions.
    """

    role: BilledRole
    name: str
    billed_client: BilledClient
    calls: int
    tokens: Tokens
    money: Decimal | None
    upper_bound: Decimal | None
    currency: str | None
    anchored: bool = False


def estimate(
    run: RunFolder,
    *,
    systems: Sequence[System | Oracle],
    samples: Sequence[Sample],
    scorers: Sequence[Scorer],
    reuse: ReuseIndex,
    table: PriceTable,
    tries: int = 1,
    failed_again: bool = False,
    repeats: Mapping[str, int] = MappingProxyType({}),
) -> list[CostEstimate]:
    """Return an estimate for every judge and system whose calls may cost money.

    A reply that does not exist yet is assumed to be as long as the existing ones, or of typical length.
    All such replies are assumed to differ, which gives the largest possible number of judge calls.

    Args:
        tries: maximum number of tries of each call.
        failed_again: call again for rows that failed.
        repeats: name of a system -> number of its replies to each sample; 1 by default.
    """
    most = max([1, *repeats.values()])
    passes = [[repeated(sample, number) for sample in samples] for number in range(1, most + 1)]
    requests = {
        system.name: [
            request
            for own in passes[: repeats.get(system.name, 1)]
            for request in _pending_requests(system, own, run, reuse, failed_again)
        ]
        for system in systems
    }
    responses = run.every_response()
    estimates = []
    for system in systems:
        if not isinstance(system, MeteredSystem) or (billed_client := system.billed_client) is None:
            continue
        if requests[system.name]:
            replies = [r.reply for r in responses.values() if r.system == system.name and r.reply is not None]
            reply_tokens = _mean([r.usage.get("completion_tokens", 0) for r in replies], TYPICAL_TEXT_TOKENS)
            sizes = [size for item in requests[system.name] for size in _sizes_of(system, item.request)]
            estimates.append(
                total_of_calls(
                    "system",
                    system.name,
                    billed_client,
                    sizes,
                    reply_tokens,
                    table,
                    tries,
                )
            )
    pending = {
        (name, item.pending.task, item.pending.sample_id)
        for name, items in requests.items()
        for item in items
    }
    cases = list(_cases(run, pending, [sample for own in passes for sample in own]))
    for judge_client in judge_clients_of(scorers):
        calls = _JudgeCalls(judge_client)
        for scorer in scorers:
            if isinstance(scorer, JudgingScorer) and scorer.judge_client is judge_client:
                for scope in _unscored(run, scorer, judge_client, cases, pending):
                    calls.add(scorer.questions(scope), scorer.repeats)
        rulings = judge_client.stored_rulings()
        verdict_tokens = _mean([ruling.tokens[1] for ruling in rulings], TYPICAL_VERDICT)
        client = judge_client.client
        sizes_of_calls = list(calls.sizes.values())
        total = total_of_calls("judge", client.model, client, sizes_of_calls, verdict_tokens, table, tries)
        estimates.append(replace(total, anchored=not judge_client.judge.listens))
    return estimates


def _pending_requests(
    system: System | Oracle,
    samples: Sequence[Sample],
    run: RunFolder,
    reuse: ReuseIndex,
    failed_again: bool,
) -> list[PendingRequest]:
    policy = RetryPolicy(failed_again=failed_again)
    stage = ResponseStage(system, run=run, retry_policy=policy, on_result=lambda response: None)
    requests = [
        item
        for item in stage.responses_and_requests(samples, run.every_response())
        if isinstance(item, PendingRequest)
    ]
    return [item for item in requests if not (item.cacheable and reuse.contains(item.pending))]


def _sizes_of(system: MeteredSystem, request: Request | Sample) -> list[MessageSize]:
    """Return the size of the call for a request, or of the calls for every turn of a live dialogue.

    Replies to earlier turns are assumed to be of typical length, so that later calls have no upper bound.
    """
    try:
        if not request.turns:
            return [system.size_of(request)]
        replies = [Reply(text="x" * TYPICAL_REPLY)] * len(request.turns)
        turns = [turn_of(request, replies[:number]) for number in range(len(replies) + 1)]
        first, *later = [system.size_of(turn) for turn in turns]
    except NotApplicable:
        return []
    return [first, *(replace(size, max_tokens=None) for size in later)]


def _mean(values: Iterable[float], default: int) -> int:
    known = [value for value in values if value]
    return round(fmean(known)) if known else default


def total_of_calls(
    role: BilledRole,
    name: str,
    billed_client: BilledClient,
    sizes: Sequence[MessageSize],
    answer_tokens: int,
    table: PriceTable,
    tries: int,
) -> CostEstimate:
    """Return the expected cost of calls with these sizes; `answer_tokens` is that of one answer."""
    tokens, bound, bounded = Tokens(), Tokens(), True
    for size in sizes:
        tokens += size.estimate(answer_tokens)
        size_bound = size.upper_bound()
        bound, bounded = bound + (size_bound or Tokens()), bounded and size_bound is not None
    price = table.find(billed_client.model, billed_client.base_url)
    money, upper_bound = (price.money(tokens), price.money(bound)) if price is not None else (None, None)
    return CostEstimate(
        role=role,
        name=name,
        billed_client=billed_client,
        calls=len(sizes),
        tokens=tokens,
        money=money,
        upper_bound=tries * upper_bound if upper_bound is not None and bounded else None,
        currency=price.currency if price is not None else None,
    )


# -- calls to the judge --------------------------------------------------------


class _JudgeCalls:
    """The calls to a judge that its scorers' questions need: each question once, none with a stored verdict.

    Attributes:
        sizes: question key -> size of the request.
    """

    def __init__(self, judge_client: JudgeClient) -> None:
        self._judge_client = judge_client
        self.sizes: dict[str, MessageSize] = {}
        self._seen: set[tuple[object, ...]] = set()

    def add(self, questions: Iterable[Question], repeats: int) -> None:
        """Count the calls for some questions, each asked `repeats` times."""
        for question in questions:
            facts = (
                question.task,
                question.language,
                question.transcript,
                tuple(sorted(question.cues.items())),
                question.reply,
                question.voice_emotion,
                question.rubric.name if question.rubric is not None else None,
                tuple((recording.name, recording.audio.sha256) for recording in question.recordings or ()),
            )
            for repeat in range(repeats):
                if (*facts, repeat) not in self._seen:
                    self._seen.add((*facts, repeat))
                    self._add_call(question, repeat)

    def _add_call(self, question: Question, repeat: int) -> None:
        try:
            prompt, key = self._judge_client.prompt_of(question, repeat)
        except NotApplicable:
            return  # the rubric has no prompt in the question's language
        if not self._judge_client.has_ruling(key):
            self.sizes[key] = self._judge_client.size_of(prompt, question)


def _cases(run: RunFolder, pending: Set[ResponseId], samples: Sequence[Sample]) -> Iterator[Case]:
    """Yield every case of the finished run, with placeholders for replies that do not exist yet."""
    by_ident = {(sample.task, sample.id): sample for sample in samples}
    existing = [] if not run.path.exists() else cases_of(run, every_repeat=True)
    lengths = [len(c.response.reply.text) for c in existing if c.response.reply and c.response.reply.text]
    length = _mean(lengths, TYPICAL_REPLY)
    sounds = [c.response.reply.audio for c in existing if c.response.reply]
    seconds = float(_mean([s.seconds for s in sounds if isinstance(s, AudioRef)], round(TYPICAL_SECONDS)))
    for case in existing:
        ident = (case.response.system, case.sample.task, case.sample.id)
        if ident not in pending and case.response.state != "missing":
            yield case
    for name, task, sample_id in sorted(pending):
        words = f"{name} {task} {sample_id} ".ljust(length, "x")
        # For a system that turns out to have no voice, the estimate of a judge that listens is too high.
        audio = AudioRef(path=Path("pending.wav"), sha256=sha256_of(words), seconds=seconds)
        response = Response(
            key="",
            system=name,
            task=task,
            sample_id=sample_id,
            state="value",
            reply=Reply(text=words, audio=audio),
        )
        yield Case(sample=by_ident[task, sample_id], response=response, annotations={})


def _unscored(
    run: RunFolder,
    scorer: Scorer,
    judge_client: JudgeClient,
    cases: Sequence[Case],
    pending: Set[ResponseId],
) -> Iterator[list[Case]]:
    """Yield the scopes with a score that does not exist yet, or that a scorer with other settings made."""
    with judge_client.offline():
        facts = ScorerFacts.of(scorer)
    known = run.manifest().scorers.get(scorer.name)
    same = known is not None and (known.version, known.settings, known.fingerprint) == (
        facts.version,
        facts.settings,
        facts.fingerprint,
    )
    scores = run.every_score() if same else {}
    scopes: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        ident = (case.response.system, case.sample.task, case.sample.id)
        scopes.setdefault(scope_of(ident, case.sample, scorer.scope), []).append(case)
    for scope in scopes.values():
        for case in scope:
            ident = (case.response.system, case.sample.task, case.sample.id)
            rows = [scores.get((*ident, metric.name)) for metric in scorer.metrics]
            if ident in pending or any(row is None or row.state == "missing" for row in rows):
                yield scope
                break


def tokens_in_words(tokens: Tokens) -> str:
    """Return token counts as text.

    >>> tokens_in_words(Tokens(text_in=12_345, text_out=60))
    '12,345 text in, 60 text out'
    """
    counts = tokens.by_kind().items()
    return ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in counts if count) or "none"
