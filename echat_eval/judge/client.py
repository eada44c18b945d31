"""Client of a judge; stores each verdict under a hash of its inputs and of the server that gave it."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.clients.chat import size_of
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import with_second_look
from echat_eval.errors import JudgeFailure, Unavailable, Withheld
from echat_eval.io.display import one_line
from echat_eval.io.hashing import digest
from echat_eval.io.jsonl import Appender, mend, read_rows
from echat_eval.judge.question import Prompt, Question, render
from echat_eval.judge.server_identity import ServerIdentity, ServerIdentityLog
from echat_eval.judge.verdict import Verdict, parse_verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from echat_eval.clients.chat import ChatAnswer, ChatClient
    from echat_eval.cost.tokens import MessageSize
    from echat_eval.judge.rubric import Judge
    from echat_eval.store.cache import Cache

__all__ = ["JudgeClient", "JudgeParameters", "Ruling"]

#: Any one-token answer carries the served model and the server's fingerprint.
IDENTITY_PROMPT = "Say yes."


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeParameters:
    """Parameters of the requests to a judge's server; None leaves a parameter out.

    Attributes:
        temperature: 0 for the likeliest answer; repeats still rotate the order of the dimensions.
        seed: of the first repeat; each further one adds 1.
        max_tokens: limit on an answer: a verdict with one or two sentences of reason.
        token_parameter: the server's name of that limit.
        schema: "json_schema" constrains the answer; "json_object" asks for any JSON object; None: the
            answer is prose around exactly one verdict that carries the question's ticket.
        reasoning_effort: such as "low".
    """

    temperature: float | None = 0.0
    seed: int | None = 0
    max_tokens: int | None = 400
    token_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    schema: Literal["json_schema", "json_object"] | None = "json_schema"
    reasoning_effort: str | None = None

    def changed(self) -> dict[str, Any]:
        """Return the parameters that are not at their default, except temperature and prose.

        Keys of verdicts and scores hold these two anyway, and the others only if they are changed, so that
        verdicts of earlier versions stay valid.
        """
        values, defaults = asdict(self), asdict(JudgeParameters())
        kept = {k: v for k, v in values.items() if v != defaults[k] and k != "temperature"}
        if self.schema is None:
            del kept["schema"]
        return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A verdict and its provenance.

    Attributes:
        key: hash of model, server, base URL, rubric, everything shown and the repeat's number.
        model, server: as the server reported itself in its answer.
        tokens: prompt and completion.
    """

    key: str
    verdict: Verdict
    prompt_sha256: str
    model: str
    server: str | None
    tokens: tuple[int, int]


class JudgeClient:
    """Client of one judge on one server.

    Each question is sent once per process; equal questions that arrive while it is in flight share its
    answer. Equal questions therefore get equal verdicts even if the model is not deterministic. With a
    store, verdicts outlive the process for as long as the server reports the same model and fingerprint;
    the client requests these once per process. With a cache, other runs use them too if the server
    reports a fingerprint: without one, the weights behind a model's name may have changed.

    Args:
        use_schema: constrain the answer to a JSON schema; otherwise the answer is prose around exactly
            one verdict that carries the question's ticket.
        temperature: in place of that of `parameters`.
        parameters: of the requests.
        store: JSONL file of verdicts; None: memory only.
        tries: maximum number of calls per question, over all callers; calls that the server refused do
            not count. None: no limit.
        cache: verdicts shared between runs; None: no cache.

    Attributes:
        identity_error: why the server did not report its identity; None: it did, or was not asked.
    """

    def __init__(
        self,
        judge: Judge,
        client: ChatClient,
        *,
        use_schema: bool = True,
        temperature: float | None = None,
        parameters: JudgeParameters | None = None,
        store: Path | None = None,
        tries: int | None = None,
        cache: Cache | None = None,
    ) -> None:
        self.judge = judge
        self.client = client
        parameters = parameters or JudgeParameters()
        if temperature is not None:
            parameters = replace(parameters, temperature=temperature)
        self.parameters = parameters
        self.use_schema = use_schema and parameters.schema is not None
        self.temperature = parameters.temperature
        self.store = store
        self.identity_error: str | None = None
        self._cache = cache
        self._rubric = judge.fingerprint()
        self._rulings: dict[str, Ruling] = {}  # by question key
        self._in_flight: dict[str, asyncio.Task[Ruling]] = {}  # by question key
        self._failed_calls = _FailedCalls(tries)
        self._stored: dict[str, Ruling] | None = None  # by verdict key
        self._stored_servers: set[tuple[str, str | None]] | None = None
        self._identification: asyncio.Task[None] | None = None
        self._offline = False
        self._appender: Appender | None = None
        self._identity_log = ServerIdentityLog(
            store, digest("judge's server", [client.model, client.base_url])
        )
        self._identity: ServerIdentity | None = None

    def server_identity(self) -> ServerIdentity | None:
        """Return the identity that score keys carry; costs one token, once per process.

        If the server does not answer, return the identity that gave the stored verdicts (None: there are
        none) and set `identity_error`, so that finished scores stay valid. Call off the event loop.

        Raises:
            UsageError: the server refuses the key, or does not have the model.
        """
        if self._identity is None and self._offline:
            return self._last_identity()
        return self._identity or event_loop.run(self._resolve_identity())

    @contextmanager
    def offline(self) -> Iterator[None]:
        """Use the last recorded server identity within this block; send nothing."""
        self._offline = True
        try:
            yield
        finally:
            self._offline = False

    def _last_identity(self) -> ServerIdentity | None:
        return self._identity_log.first or next(iter(self._identity_log.stored()), None)

    async def _resolve_identity(self) -> ServerIdentity | None:
        if self._identity is None and self.identity_error is None:
            if self._identity_log.first is None:
                # Concurrent callers wait for the same request.
                self._identification = self._identification or asyncio.ensure_future(self._identify())
                await asyncio.shield(self._identification)
            self._identity = self._last_identity()
        return self._identity

    async def _identify(self) -> None:
        parameters = self.parameters
        # A reasoning model refuses a limit that leaves no room for its thought.
        limit = 1 if parameters.token_parameter == "max_tokens" else parameters.max_tokens
        try:
            answer = await with_second_look(
                lambda: self.client.ask(
                    [{"role": "user", "content": IDENTITY_PROMPT}],
                    max_tokens=None if parameters.max_tokens is None else limit,
                    seed=parameters.seed,
                    temperature=parameters.temperature,
                )
            )
        except Unavailable as error:
            self.identity_error = str(error)
        else:
            self._identity_log.record(ServerIdentity(model=answer.model, server=answer.server))

    def rule(self, question: Question, *, repeat: int = 0) -> Ruling:
        """Return the ruling on one question, as `ruling`; call off the event loop."""
        return event_loop.run(self.ruling(question, repeat=repeat))

    async def ruling(self, question: Question, *, repeat: int = 0) -> Ruling:
        """Return the ruling on one question, reused or newly requested.

        Raises:
            NotApplicable: the rubric has no prompt in the question's language.
            Unavailable: no answer, an answer that is not a verdict (JudgeFailure), or an answer of another
                model than the first one in this process. None of these is stored.
        """
        prompt, question_key = self.prompt_of(question, repeat)
        if self._cache is not None or (self.store is not None and self.store.exists()):
            await self._resolve_identity()  # stored verdicts count only for the server that gave them
        if question_key in self._rulings:
            return self._rulings[question_key]
        if (ruling := self._find_ruling(question_key)) is not None:
            self._identity_log.save()
            self._rulings[question_key] = ruling
            return ruling
        if question_key not in self._in_flight:
            self._failed_calls.check(question_key)
            self._in_flight[question_key] = asyncio.ensure_future(
                self._request(
                    question_key, prompt, with_voice=question.voice_emotion is not None, repeat=repeat
                )
            )
            self._in_flight[question_key].add_done_callback(lambda task: self._finish(question_key, task))
        return await asyncio.shield(self._in_flight[question_key])

    def _finish(self, question_key: str, task: asyncio.Task[Ruling]) -> None:
        del self._in_flight[question_key]
        # Waiting callers get the error. Retrieve it here too: asyncio warns if no caller is left to do so.
        self._failed_calls.record(question_key, None if task.cancelled() else task.exception())

    def prompt_of(self, question: Question, repeat: int) -> tuple[Prompt, str]:
        """Return the prompt of a question and its question key.

        Raises:
            NotApplicable: the rubric has no prompt in the question's language.
        """
        prompt = render(self.judge, question, turn=repeat, ticket=not self.use_schema)
        return prompt, self.question_key(question, prompt, repeat)

    def size_of(self, prompt: Prompt, *, with_voice: bool) -> MessageSize:
        """Return the size of a question as sent to the server."""
        schema = self.judge.schema(with_voice=with_voice) if self.use_schema else None
        return size_of([{"content": prompt.text}], schema=schema, max_tokens=self.parameters.max_tokens)

    def stored_rulings(self) -> list[Ruling]:
        """Return the rulings in the store."""
        return list(self._load_store().values())

    def has_ruling(self, question_key: str) -> bool:
        """Return whether the store holds a ruling on a question, from any server."""
        if self._stored_servers is None:
            self._stored_servers = {(ruling.model, ruling.server) for ruling in self.stored_rulings()}
        return any(
            _verdict_key(question_key, *server) in self._load_store() for server in self._stored_servers
        )

    async def _request(self, question_key: str, prompt: Prompt, *, with_voice: bool, repeat: int) -> Ruling:
        answer = await self.client.ask(
            [{"role": "user", "content": prompt.text}],
            schema=self.judge.schema(with_voice=with_voice) if self.use_schema else None,
            max_tokens=self.parameters.max_tokens,
            seed=None if self.parameters.seed is None else self.parameters.seed + repeat,
            temperature=self.temperature,
        )
        self._record_identity(ServerIdentity(model=answer.model, server=answer.server))
        ruling = Ruling(
            key=_verdict_key(question_key, answer.model, answer.server),
            verdict=self._verdict_of(answer, with_voice=with_voice, ticket=prompt.ticket),
            prompt_sha256=digest("prompt", prompt.text),
            model=answer.model,
            server=answer.server,
            tokens=(answer.prompt_tokens, answer.completion_tokens),
        )
        self._rulings[question_key] = ruling
        self._identity_log.save()
        self._append(ruling)
        if self._cache is not None and ruling.server is not None:
            self._cache.put("verdict", ruling.key, asdict(ruling), owner=self.client.model)
        return ruling

    def _verdict_of(self, answer: ChatAnswer, *, with_voice: bool, ticket: str | None) -> Verdict:
        """Return the verdict in an answer.

        Raises:
            JudgeFailure: it holds none; the message names what was received instead.
        """
        try:
            return parse_verdict(answer.text, self.judge, with_voice=with_voice, ticket=ticket)
        except JudgeFailure as error:
            if cause := _cause(answer, self.parameters.max_tokens):
                raise JudgeFailure(f"{cause}: {error}") from error
            raise

    def question_key(self, question: Question, prompt: Prompt, repeat: int) -> str:
        """Return the hash of the rubric, the model, the address, the sampling and the whole prompt."""
        changed = self.parameters.changed()
        return digest(
            "question",
            [
                self.client.model,
                self.client.base_url,
                self._rubric,
                prompt.text,
                self.use_schema,
                self.temperature,
                repeat,
                *([changed] if changed else []),
            ],
        )

    def _record_identity(self, identity: ServerIdentity) -> None:
        self._identity_log.record(identity)
        # While the server did not answer, score keys were made with the stored identity.
        if self._identity is not None and self._identity not in self._identity_log.identities:
            raise Unavailable(
                f"the judge's server did not answer at first and came back as another one "
                f"('{identity.model}', fingerprint {identity.server}); run the same command again"
            )

    def _find_ruling(self, question_key: str) -> Ruling | None:
        for identity in self._identity_log.identities:
            key = _verdict_key(question_key, identity.model, identity.server)
            if (ruling := self._load_store().get(key) or self._from_cache(key)) is not None:
                return ruling
        return None

    def _from_cache(self, key: str) -> Ruling | None:
        row = self._cache.get("verdict", key, owner=self.client.model) if self._cache is not None else None
        if row is None:
            return None
        ruling = _ruling(row)
        self._append(ruling)
        return ruling

    def _load_store(self) -> dict[str, Ruling]:
        if self._stored is None:
            rulings = {}
            if self.store is not None and self.store.exists():
                mend(self.store)
                rulings = {row["key"]: _ruling(row) for _, row in read_rows(self.store)}
            self._stored = rulings
        return self._stored

    def _append(self, ruling: Ruling) -> None:
        if self.store is not None:
            self._appender = self._appender or Appender(self.store)
            self._appender.append(asdict(ruling))

    def close(self) -> None:
        """Cancel calls in flight, close connections and flush the store to disk."""
        event_loop.run(self._cancel())
        self.client.close()
        if self._appender is not None:
            self._appender.close()
            self._appender = None

    async def _cancel(self) -> None:
        for task in list(self._in_flight.values()):
            task.cancel()


class _FailedCalls:
    """Number of calls per question that gave no verdict but were, or may have been, billed.

    Args:
        limit: failed calls after which a question is not sent again; None: no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._failed: dict[str, tuple[int, Unavailable]] = {}

    def record(self, question_key: str, error: BaseException | None) -> None:
        """Count a failed call, unless the server refused it or it was withheld."""
        if isinstance(error, Unavailable) and not error.refused and not isinstance(error, Withheld):
            count, _ = self._failed.get(question_key, (0, error))
            self._failed[question_key] = count + 1, type(error)(str(error))

    def check(self, question_key: str) -> None:
        """Raise the last error of a question that has reached the limit."""
        if self.limit is not None and question_key in self._failed:
            count, error = self._failed[question_key]
            if count >= self.limit:
                raise type(error)(str(error))


def _cause(answer: ChatAnswer, max_tokens: int | None) -> str | None:
    """Return why an answer holds no verdict, as far as the server reports it."""
    if answer.finish_reason == "content_filter":
        return "a content filter stopped the judge's answer (finish_reason content_filter)"
    if answer.refusal:
        return f"the judge refused to answer: {one_line(answer.refusal, 120)!r}"
    if answer.finish_reason in ("length", "max_tokens"):
        limit = f"{max_tokens} tokens" if max_tokens is not None else "the server's limit"
        thought = f", after {len(answer.think):,} characters of thought" if answer.think else ""
        return (
            f"the judge's answer was cut at {limit}{thought} (finish_reason {answer.finish_reason}); "
            "raise it with --judge-set max_tokens=N"
        )
    if answer.think and not answer.text.strip():
        return f"the judge gave a thought of {len(answer.think):,} characters and no answer"
    if answer.finish_reason not in (None, "stop") and not answer.text.strip():
        return f"the judge gave no text (finish_reason {one_line(answer.finish_reason, 40)})"
    return None


def _verdict_key(question_key: str, model: str, server: str | None) -> str:
    return digest("verdict", [question_key, model, server])


def _ruling(row: dict[str, Any]) -> Ruling:
    return Ruling(**{**row, "verdict": Verdict(**row["verdict"]), "tokens": tuple(row["tokens"])})
