"""Asks a judge, and keeps every verdict under a key of all that made it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from echat_eval import loop
from echat_eval.jsonl import Appender, read_rows
from echat_eval.judge.question import Question, render
from echat_eval.judge.verdict import Verdict, parse_verdict
from echat_eval.keys import digest

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.chat_client import ChatClient
    from echat_eval.judge.question import Prompt
    from echat_eval.judge.rubric import Judge

__all__ = ["Jury", "Ruling"]

#: Tokens of an answer: a verdict with one or two sentences of reason.
MAX_TOKENS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A verdict and where it came from.

    Attributes:
        key: hash of model, server, base URL, rubric, everything shown and the repeat's number.
        model, server: as the server named itself in its answer.
        tokens: prompt and completion.
    """

    key: str
    verdict: Verdict
    prompt_sha256: str
    model: str
    server: str | None
    tokens: tuple[int, int]


class Jury:
    """One judge behind one server.

    The same question is asked once per process, also if it comes again while it is being asked, so
    equal questions have equal answers even where the model is not deterministic. With a store they
    outlive the process, for as long as the server names the same model and fingerprint: which ones,
    the first answer of each process tells.

    Args:
        holds_schema: ask the server to hold the answer to a JSON schema; otherwise the answer is
            prose around exactly one verdict that carries the question's ticket.
        temperature: 0 for the likeliest answer; repeats still turn the order of the dimensions.
        store: JSONL file of verdicts; None: kept in memory only.
    """

    def __init__(
        self,
        judge: Judge,
        client: ChatClient,
        *,
        holds_schema: bool = True,
        temperature: float = 0.0,
        store: Path | None = None,
    ) -> None:
        self.judge = judge
        self.client = client
        self.holds_schema = holds_schema
        self.temperature = temperature
        self.store = store
        self._rubric = judge.fingerprint()
        self._asked: dict[str, Ruling] = {}
        self._asking: dict[str, asyncio.Task[Ruling]] = {}
        self._stored: dict[str, Ruling] | None = None
        self._served: tuple[str, str | None] | None = None
        self._log: Appender | None = None

    def rule(self, question: Question, *, repeat: int = 0) -> Ruling:
        """Return the ruling on one question, as `ruling`, to a caller that is not on the event loop."""
        return loop.run(self.ruling(question, repeat=repeat))

    async def ruling(self, question: Question, *, repeat: int = 0) -> Ruling:
        """Return the ruling on one question, asked or remembered.

        Raises:
            NotApplicable: the rubric has no prompt in the question's language.
            Unavailable: no answer, or (JudgeFailure) one that is not a verdict; neither is kept.
        """
        prompt = render(self.judge, question, turn=repeat, ticket=not self.holds_schema)
        asked = digest(
            "question",
            [self.client.model, self.client.base_url, self._rubric, prompt.text,
             self.holds_schema, self.temperature, repeat],
        )  # fmt: skip
        if asked in self._asked:
            return self._asked[asked]
        if self._served is not None and (known := self._known(asked)) is not None:
            self._asked[asked] = known
            return known
        if asked not in self._asking:
            self._asking[asked] = asyncio.ensure_future(
                self._ask(asked, prompt, heard=question.heard is not None, repeat=repeat)
            )
            self._asking[asked].add_done_callback(lambda _: self._asking.pop(asked))
        return await asyncio.shield(self._asking[asked])

    async def _ask(self, asked: str, prompt: Prompt, *, heard: bool, repeat: int) -> Ruling:
        answer = await self.client.ask(
            [{"role": "user", "content": prompt.text}],
            schema=self.judge.schema(heard=heard) if self.holds_schema else None,
            max_tokens=MAX_TOKENS,
            seed=repeat,
            temperature=self.temperature,
        )
        self._served = self._served or (answer.model, answer.server)
        ruling = Ruling(
            key=digest("verdict", [asked, answer.model, answer.server]),
            verdict=parse_verdict(answer.text, self.judge, heard=heard, ticket=prompt.ticket),
            prompt_sha256=digest("prompt", prompt.text),
            model=answer.model,
            server=answer.server,
            tokens=(answer.prompt_tokens, answer.completion_tokens),
        )
        self._asked[asked] = ruling
        self._keep(ruling)
        return ruling

    def _known(self, asked: str) -> Ruling | None:
        assert self._served is not None
        if self._stored is None:
            self._stored = {}
            if self.store is not None and self.store.exists():
                self._stored = {row["key"]: _ruling(row) for _, row in read_rows(self.store)}
        return self._stored.get(digest("verdict", [asked, *self._served]))

    def _keep(self, ruling: Ruling) -> None:
        if self.store is not None:
            self._log = self._log or Appender(self.store)
            self._log.append(asdict(ruling))

    def close(self) -> None:
        """Close connections, and force what was kept to the disk."""
        self.client.close()
        if self._log is not None:
            self._log.close()
            self._log = None


def _ruling(row: dict[str, Any]) -> Ruling:
    return Ruling(**{**row, "verdict": Verdict(**row["verdict"]), "tokens": tuple(row["tokens"])})
