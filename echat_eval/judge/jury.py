"""Asks a judge, and keeps every verdict under a key of all that made it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from echat_eval import loop
from echat_eval.chat_client import size_of
from echat_eval.jsonl import Appender, read_rows
from echat_eval.judge.question import Question, render
from echat_eval.judge.verdict import Verdict, parse_verdict
from echat_eval.keys import digest

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.cache import Cache
    from echat_eval.chat_client import ChatClient
    from echat_eval.judge.question import Prompt
    from echat_eval.judge.rubric import Judge
    from echat_eval.message_size import MessageSize

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
    the first answer of each process tells. With a cache they serve other runs too, where the server
    gives a fingerprint: without one, other weights may be served under the same name.

    Args:
        holds_schema: ask the server to hold the answer to a JSON schema; otherwise the answer is
            prose around exactly one verdict that carries the question's ticket.
        temperature: 0 for the likeliest answer; repeats still turn the order of the dimensions.
        store: JSONL file of verdicts; None: kept in memory only.

    Attributes:
        cache: where verdicts are found and kept across runs; None: nowhere.
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
        self._servers: set[tuple[str, str | None]] | None = None
        self._served: tuple[str, str | None] | None = None
        self._log: Appender | None = None
        self._first: asyncio.Task[Ruling] | None = None
        self.cache: Cache | None = None

    def rule(self, question: Question, *, repeat: int = 0) -> Ruling:
        """Return the ruling on one question, as `ruling`, to a caller that is not on the event loop."""
        return loop.run(self.ruling(question, repeat=repeat))

    async def ruling(self, question: Question, *, repeat: int = 0) -> Ruling:
        """Return the ruling on one question, asked or remembered.

        Raises:
            NotApplicable: the rubric has no prompt in the question's language.
            Unavailable: no answer, or (JudgeFailure) one that is not a verdict; neither is kept.
        """
        prompt, asked = self.prompt_of(question, repeat)
        if self._served is None and self._first is not None and not self._first.done():
            # Its answer tells whose verdicts may be remembered; until then, all would be asked again.
            await asyncio.wait([self._first])
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
            if self._first is None and (self.cache is not None or self._rulings()):
                self._first = self._asking[asked]
        return await asyncio.shield(self._asking[asked])

    def prompt_of(self, question: Question, repeat: int) -> tuple[Prompt, str]:
        """Return the prompt of a question, and the hash of all that decides what is asked.

        Raises:
            NotApplicable: the rubric has no prompt in the question's language.
        """
        prompt = render(self.judge, question, turn=repeat, ticket=not self.holds_schema)
        facts = [self.client.model, self.client.base_url, self._rubric, prompt.text,
                 self.holds_schema, self.temperature, repeat]  # fmt: skip
        return prompt, digest("question", facts)

    def size_of(self, prompt: Prompt, *, heard: bool) -> MessageSize:
        """Return how large a question is to the server."""
        schema = self.judge.schema(heard=heard) if self.holds_schema else None
        return size_of([{"content": prompt.text}], schema=schema, max_tokens=MAX_TOKENS)

    def stored(self) -> list[Ruling]:
        """Return the rulings of earlier commands."""
        return list(self._rulings().values())

    def remembers(self, asked: str) -> bool:
        """Return whether a question was answered in an earlier command, by whichever server."""
        if self._servers is None:
            self._servers = {(ruling.model, ruling.server) for ruling in self.stored()}
        return any(digest("verdict", [asked, *server]) in self._rulings() for server in self._servers)

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
        if self.cache is not None and ruling.server is not None:
            self.cache.put("verdict", ruling.key, asdict(ruling), of=self.client.model)
        return ruling

    def _known(self, asked: str) -> Ruling | None:
        assert self._served is not None
        key = digest("verdict", [asked, *self._served])
        if (known := self._rulings().get(key)) is not None:
            return known
        if self.cache is None or self._served[1] is None:
            return None
        row = self.cache.get("verdict", key, of=self.client.model)
        if row is None:
            return None
        known = _ruling(row)
        self._keep(known)
        return known

    def _rulings(self) -> dict[str, Ruling]:
        if self._stored is None:
            self._stored = {}
            if self.store is not None and self.store.exists():
                self._stored = {row["key"]: _ruling(row) for _, row in read_rows(self.store)}
        return self._stored

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
