"""Sentences by an OpenAI-compatible server: schema-bound answers, checked, cached and within a budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from echat_eval.clients.chat import ChatClient, size_of
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import RetryPolicy, Timed, call_with_retries
from echat_eval.cost.meter import Meter
from echat_eval.errors import BadData, UsageError
from echat_eval.io.display import counted
from echat_eval.io.hashing import digest
from echat_eval.io.jsonl import Appender, read_rows
from echat_eval.io.text import read_text
from echat_eval.languages import language_name
from echat_eval.testset.preflight import given_sentences
from echat_eval.testset.sentences import Dropped, Sentence
from echat_eval.testset.text_rules import (
    answer_schema,
    duplicate_fault,
    fault_of,
    quotation_fault,
    sentence_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.cost.budget import Budget
    from echat_eval.cost.prices import PriceTable
    from echat_eval.cost.tokens import MessageSize
    from echat_eval.testset.assign import Assignment
    from echat_eval.testset.plan import Plan

__all__ = ["TextServer", "cost_of_a_call", "estimate_texts", "prompt_for"]

_PLACEHOLDERS = ("domain", "topic", "voices", "max_words", "language", "form")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ask:
    """One request: the assignment, the prompt and the seed."""

    assignment: Assignment
    prompt: str
    seed: int

    def key(self, plan: Plan) -> str:
        texts = plan.texts
        return digest(
            "testset text",
            [texts.model, texts.url, texts.temperature, texts.max_tokens, self.prompt, self.seed],
        )


def template_for(plan: Plan, assignment: Assignment) -> str:
    """Return the prompt for one sentence without its values: the plan's Markdown file for its language.

    Raises:
        BadData: there is no file, or it lacks a placeholder.
    """
    folder = plan.path(plan.texts.prompts or "prompts")
    kind = "same" if assignment.expect == "same" else "contrast"
    names = [f"{tag}.{kind}.md" for tag in dict.fromkeys((assignment.language, "en"))]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise BadData(f"{folder}: no {names[-1]}; texts needs prompts: a folder with that file")
    template = read_text(path)
    if lacking := [name for name in _PLACEHOLDERS if f"{{{{{name}}}}}" not in template]:
        raise BadData(f"{path}: lacks {{{{{lacking[0]}}}}}; expected {', '.join(_PLACEHOLDERS)}")
    return template


def prompt_for(plan: Plan, assignment: Assignment) -> str:
    """Return the prompt for one sentence; raises as `template_for`."""
    template = template_for(plan, assignment)
    values = {
        "domain": plan.domain,
        "topic": assignment.topic or plan.domain,
        "voices": "\n".join(
            f"{number}. {', '.join(f'{cue}: {label}' for cue, label in voice.items())}"
            for number, voice in enumerate(assignment.voices, 1)
        ),
        "max_words": str(plan.texts.max_words),
        "language": language_name(assignment.language),
        "form": ", ".join(answer_schema(assignment)["required"]),
    }
    for name, value in values.items():
        template = template.replace(f"{{{{{name}}}}}", value)
    return template.strip()


def estimate_texts(plan: Plan, wanted: Sequence[Assignment], budget: Budget) -> str:
    """Return the number of calls and their estimated cost as one line; nothing is sent.

    Raises:
        BadData: the plan's sentences or prompts are missing or invalid.
    """
    from decimal import Decimal

    if plan.texts.file is not None:
        given = counted(len(given_sentences(plan)), "sentence")
        return f"{given} from {plan.path(plan.texts.file)}: no calls, no cost"
    price = budget.table.find(str(plan.texts.model), plan.texts.url)
    money, calls = Decimal(0), len(wanted)
    for assignment in wanted:
        size = _size(plan, assignment)
        cost = price.money(size.estimate(reply_tokens=150)) if price is not None else None
        money += cost if cost is not None else Decimal(0)
    known = f"about {money:.4f} {price.currency}" if price is not None else "no price known"
    most = f"at most {counted(calls * plan.texts.tries, 'call')}" if plan.texts.tries > 1 else "one call each"
    return f"{counted(calls, 'sentence')}, {most}; {known} if every first answer is usable"


def cost_of_a_call(plan: Plan, wanted: Sequence[Assignment], table: PriceTable) -> str:
    """Return the most that one call may cost, which a limit has to allow."""
    price = table.find(str(plan.texts.model), plan.texts.url)
    bounds = [_size(plan, assignment).upper_bound() for assignment in wanted]
    costs = [price.money(bound) for bound in bounds if bound is not None] if price is not None else []
    known = [cost for cost in costs if cost is not None]
    if price is None or not known:
        return "the cost of one call is not known"
    return f"one call may cost up to {max(known):f} {price.currency}"


def _size(plan: Plan, assignment: Assignment) -> MessageSize:
    return size_of(
        _messages(prompt_for(plan, assignment)),
        schema=answer_schema(assignment),
        max_tokens=plan.texts.max_tokens,
    )


def _messages(prompt: str) -> list[Mapping[str, Any]]:
    return [{"role": "user", "content": prompt}]


class TextServer:
    """Writes sentences with the server of a plan.

    Args:
        plan: names the model and its prompts.
        cache: JSON Lines of all answers so far, to which new ones are added; equal requests are asked once.
        budget: prices and limit; None: nothing is counted.
        on_progress: called with the number of sentences that are settled.
    """

    def __init__(
        self,
        plan: Plan,
        cache: Path,
        *,
        budget: Budget | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        if plan.texts.model is None:
            raise UsageError("texts: the plan names no model")
        self.plan, self.cache, self.on_progress = plan, cache, on_progress
        self.client = ChatClient(
            model=plan.texts.model, base_url=plan.texts.url, json_object=plan.texts.json_object
        )
        self._failures: dict[str, str] = {}
        self.meter: Meter | None = None
        if budget is not None:
            self.meter = Meter(budget.table, limit=budget.limit)
            self.meter.account("system", "texts", self.client)

    def write(self, wanted: Sequence[Assignment]) -> tuple[list[Sentence], list[Dropped]]:
        """Return a sentence for each assignment that got one, and every answer that was dropped.

        A sentence whose answer breaks a rule is asked for again, with another seed, as often as the plan's
        `tries` allow.

        Raises:
            UsageError: the server refuses the model, the key or a parameter.
        """
        answers = (
            {row["key"]: row["answer"] for _, row in read_rows(self.cache)} if self.cache.exists() else {}
        )
        found: dict[str, Sentence] = {}
        dropped: list[Dropped] = []
        try:
            with Appender(self.cache) as cache:
                for turn in range(self.plan.texts.tries):
                    missing = [(number, one) for number, one in enumerate(wanted) if one.id not in found]
                    asks = [self._ask(one, number, turn) for number, one in missing]
                    event_loop.run(self._answer(asks, answers, cache))
                    for ask in asks:
                        self._settle(ask, answers.get(ask.key(self.plan)), found, dropped)
                        self.on_progress(len(found))
        finally:
            self.client.close()
        return [found[one.id] for one in wanted if one.id in found], dropped

    def _ask(self, assignment: Assignment, number: int, turn: int) -> _Ask:
        seed = self.plan.texts.seed + number + 10_000 * turn
        return _Ask(assignment=assignment, prompt=prompt_for(self.plan, assignment), seed=seed)

    async def _answer(self, asks: Sequence[_Ask], answers: dict[str, str], cache: Appender) -> None:
        """Ask for what no earlier command asked; an answer is on disk before it is used."""

        async def one(ask: _Ask) -> None:
            key = ask.key(self.plan)
            if key in answers:
                return
            result = await call_with_retries(
                partial(self._send, ask), blame="instrument", retry_policy=RetryPolicy()
            )
            if result.value is None:
                self._failures[key] = result.reason or result.state
            else:
                cache.append({"key": key, "id": ask.assignment.id, "answer": result.value})
                answers[key] = result.value

        await asyncio.gather(*(one(ask) for ask in asks))

    async def _send(self, ask: _Ask) -> Timed[str]:
        texts, started = self.plan.texts, time.monotonic()
        answer = await self.client.ask(
            _messages(ask.prompt),
            schema=answer_schema(ask.assignment),
            max_tokens=texts.max_tokens,
            seed=ask.seed,
            temperature=texts.temperature,
        )
        return Timed(value=answer.text, seconds=time.monotonic() - started)

    def _settle(
        self, ask: _Ask, answer: str | None, found: dict[str, Sentence], dropped: list[Dropped]
    ) -> None:
        assignment = ask.assignment

        def drop(reason: str, detail: str) -> None:
            dropped.append(Dropped(stage="texts", id=assignment.id, reason=reason, detail=detail))

        if answer is None:
            return drop("no-answer", self._failures.get(ask.key(self.plan), "not asked"))
        sentence = sentence_of(answer, assignment)
        if isinstance(sentence, tuple):
            return drop(*sentence)
        if (fault := fault_of(sentence, self.plan.texts.max_words, self.plan.texts.allow)) is not None:
            return drop(*fault)
        quoted = quotation_fault(sentence, template_for(self.plan, assignment))
        if quoted is not None and quoted[0] not in self.plan.texts.allow:
            return drop(*quoted)
        repeated = duplicate_fault(sentence, list(found.values()))
        if repeated is not None and "duplicate" not in self.plan.texts.allow:
            return drop(*repeated)
        found[assignment.id] = sentence
        return None
