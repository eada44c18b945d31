"""Asks a judge, and keeps every verdict under a key of all that made it, the served model among it."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.clients.chat import size_of
from echat_eval.concurrency import event_loop
from echat_eval.errors import Unavailable
from echat_eval.io.hashing import digest
from echat_eval.io.jsonl import Appender, mend, read_rows
from echat_eval.judge.question import Prompt, Question, render
from echat_eval.judge.server_identity import ServerIdentity, ServerIdentityLog
from echat_eval.judge.tries import Tries
from echat_eval.judge.verdict import Verdict, parse_verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from echat_eval.clients.chat import ChatClient
    from echat_eval.cost.tokens import MessageSize
    from echat_eval.judge.question import Prompt
    from echat_eval.judge.rubric import Judge
    from echat_eval.store.cache import Cache

__all__ = ["JudgeClient", "Ruling"]

#: Tokens of an answer: a verdict with one or two sentences of reason.
MAX_TOKENS = 400
#: One token of an answer to anything tells who is served.
GREETING = "Say yes."


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


class JudgeClient:
    """One judge behind one server.

    The same question is asked once per process, also if it comes again while it is being asked, so
    equal questions have equal answers even where the model is not deterministic. With a store they
    outlive the process, for as long as the server names the same model and fingerprint: which ones it
    names now is asked once per process. With a cache they serve other runs too, where the server gives
    a fingerprint: without one, other weights may be served under the same name.

    Args:
        holds_schema: ask the server to hold the answer to a JSON schema; otherwise the answer is
            prose around exactly one verdict that carries the question's ticket.
        temperature: 0 for the likeliest answer; repeats still turn the order of the dimensions.
        store: JSONL file of verdicts; None: kept in memory only.
        tries: how often a question is asked at most, whoever wants its verdict; a call that the server
            refused does not count. None: as often as it is wanted.

    Attributes:
        silence: why the server did not say who it serves; None: it did, or was not asked.
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
        tries: int | None = None,
    ) -> None:
        self.judge = judge
        self.client = client
        self.holds_schema = holds_schema
        self.temperature = temperature
        self.store = store
        self.silence: str | None = None
        self._rubric = judge.fingerprint()
        self._asked: dict[str, Ruling] = {}
        self._asking: dict[str, asyncio.Task[Ruling]] = {}
        self._tries = Tries(tries)
        self._stored: dict[str, Ruling] | None = None
        self._servers: set[tuple[str, str | None]] | None = None
        self._greeting: asyncio.Task[None] | None = None
        self._quiet = False
        self._log: Appender | None = None
        self._tenure = ServerIdentityLog(store, digest("judge's server", [client.model, client.base_url]))
        self._claimed: ServerIdentity | None = None
        self.cache: Cache | None = None

    def served(self) -> ServerIdentity | None:
        """Return who judges; scores carry it in their keys. Asked once per process, for one token.

        Where the server does not answer, it is whoever gave the kept verdicts (None: there are none),
        and `silence` says why: what is scored already stays as it is. Called off the event loop.

        Raises:
            UsageError: the server refuses the key, or does not know the model.
        """
        if self._claimed is None and self._quiet:
            return self._last()
        return self._claimed or event_loop.run(self._claim())

    @contextmanager
    def unasked(self) -> Iterator[None]:
        """Take whoever judged last for the present judge, within this block: nothing is sent."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _last(self) -> ServerIdentity | None:
        return self._tenure.first or next(iter(self._tenure.remembered()), None)

    async def _claim(self) -> ServerIdentity | None:
        if self._claimed is None and self.silence is None:
            if self._tenure.first is None:
                # Whoever comes meanwhile waits for the same greeting.
                self._greeting = self._greeting or asyncio.ensure_future(self._greet())
                await asyncio.shield(self._greeting)
            self._claimed = self._last()
        return self._claimed

    async def _greet(self) -> None:
        try:
            answer = await self.client.ask([{"role": "user", "content": GREETING}], max_tokens=1)
        except Unavailable as error:
            self.silence = str(error)
        else:
            self._tenure.meet(ServerIdentity(model=answer.model, server=answer.server))

    def rule(self, question: Question, *, repeat: int = 0) -> Ruling:
        """Return the ruling on one question, as `ruling`, to a caller that is not on the event loop."""
        return event_loop.run(self.ruling(question, repeat=repeat))

    async def ruling(self, question: Question, *, repeat: int = 0) -> Ruling:
        """Return the ruling on one question, asked or remembered.

        Raises:
            NotApplicable: the rubric has no prompt in the question's language.
            Unavailable: no answer, or (JudgeFailure) one that is not a verdict, or another model's than
                the process began with; none is kept.
        """
        prompt, asked = self.prompt_of(question, repeat)
        if self.cache is not None or (self.store is not None and self.store.exists()):
            await self._claim()  # or no kept verdict could be known for the present judge's
        if asked in self._asked:
            return self._asked[asked]
        if (known := self._known(asked)) is not None:
            self._tenure.keep()
            self._asked[asked] = known
            return known
        if asked not in self._asking:
            self._tries.check(asked)
            self._asking[asked] = asyncio.ensure_future(
                self._ask(asked, prompt, heard=question.heard is not None, repeat=repeat)
            )
            self._asking[asked].add_done_callback(lambda task: self._answered(asked, task))
        return await asyncio.shield(self._asking[asked])

    def _answered(self, asked: str, task: asyncio.Task[Ruling]) -> None:
        del self._asking[asked]
        # Whoever waited has the error; if nobody does any more, asyncio must not complain of it.
        self._tries.note(asked, None if task.cancelled() else task.exception())

    def prompt_of(self, question: Question, repeat: int) -> tuple[Prompt, str]:
        """Return the prompt of a question, and the hash of all that decides what is asked.

        Raises:
            NotApplicable: the rubric has no prompt in the question's language.
        """
        prompt = render(self.judge, question, turn=repeat, ticket=not self.holds_schema)
        return prompt, self.question_key(question, prompt, repeat)

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
        return any(_verdict_key(asked, *server) in self._rulings() for server in self._servers)

    async def _ask(self, asked: str, prompt: Prompt, *, heard: bool, repeat: int) -> Ruling:
        answer = await self.client.ask(
            [{"role": "user", "content": prompt.text}],
            schema=self.judge.schema(heard=heard) if self.holds_schema else None,
            max_tokens=MAX_TOKENS,
            seed=repeat,
            temperature=self.temperature,
        )
        self._meet(ServerIdentity(model=answer.model, server=answer.server))
        ruling = Ruling(
            key=_verdict_key(asked, answer.model, answer.server),
            verdict=parse_verdict(answer.text, self.judge, heard=heard, ticket=prompt.ticket),
            prompt_sha256=digest("prompt", prompt.text),
            model=answer.model,
            server=answer.server,
            tokens=(answer.prompt_tokens, answer.completion_tokens),
        )
        self._asked[asked] = ruling
        self._tenure.keep()
        self._keep(ruling)
        if self.cache is not None and ruling.server is not None:
            self.cache.put("verdict", ruling.key, asdict(ruling), of=self.client.model)
        return ruling

    def question_key(self, question: Question, prompt: Prompt, repeat: int) -> str:
        """Return the hash of all that is asked and how: rubric, model, address and every word shown."""
        return digest(
            "question",
            [
                self.client.model,
                self.client.base_url,
                self._rubric,
                prompt.text,
                self.holds_schema,
                self.temperature,
                repeat,
            ],
        )

    def _meet(self, served: ServerIdentity) -> None:
        self._tenure.meet(served)
        # Keys were made while the server was silent, in the name of whoever was remembered.
        if self._claimed is not None and self._claimed not in self._tenure.identities:
            raise Unavailable(
                f"the judge's server was silent and is back as another one ('{served.model}', fingerprint "
                f"{served.server}); run the same command again"
            )

    def _known(self, asked: str) -> Ruling | None:
        for who in self._tenure.identities:
            key = _verdict_key(asked, who.model, who.server)
            if (known := self._rulings().get(key) or self._cached(key)) is not None:
                return known
        return None

    def _cached(self, key: str) -> Ruling | None:
        row = self.cache.get("verdict", key, of=self.client.model) if self.cache is not None else None
        if row is None:
            return None
        known = _ruling(row)
        self._keep(known)
        return known

    def _rulings(self) -> dict[str, Ruling]:
        if self._stored is None:
            found = {}
            if self.store is not None and self.store.exists():
                mend(self.store)
                found = {row["key"]: _ruling(row) for _, row in read_rows(self.store)}
            self._stored = found
        return self._stored

    def _keep(self, ruling: Ruling) -> None:
        if self.store is not None:
            self._log = self._log or Appender(self.store)
            self._log.append(asdict(ruling))

    def close(self) -> None:
        """Give up what is being asked, close connections, and force what was kept to the disk."""
        event_loop.run(self._give_up())
        self.client.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    async def _give_up(self) -> None:
        for task in list(self._asking.values()):
            task.cancel()


def _verdict_key(asked: str, model: str, server: str | None) -> str:
    return digest("verdict", [asked, model, server])


def _ruling(row: dict[str, Any]) -> Ruling:
    return Ruling(**{**row, "verdict": Verdict(**row["verdict"]), "tokens": tuple(row["tokens"])})
