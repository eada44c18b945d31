"""Client of a judge; stores each verdict under a hash of its inputs and of the server that gave it."""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

from echat_eval.clients.chat import size_of
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import with_second_look
from echat_eval.errors import JudgeFailure, NotApplicable, Unavailable, UsageError, scrub
from echat_eval.io.hashing import digest
from echat_eval.judge.failed_calls import FailedCalls, missing_cause
from echat_eval.judge.parameters import JudgeParameters
from echat_eval.judge.question import Prompt, Question, grades_voice, render
from echat_eval.judge.recordings import PROBE_SECONDS, content_with, identity_content, seconds_of
from echat_eval.judge.server_identity import ServerIdentity, ServerIdentityLog
from echat_eval.judge.ticket import TICKET, make_ticket
from echat_eval.judge.verdict import NoTicket, Verdict, parse_verdict, text_score
from echat_eval.judge.verdict_store import Ruling, VerdictStore
from echat_eval.systems.settings_files import is_day

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from echat_eval.clients.chat import ChatAnswer, ChatClient
    from echat_eval.cost.tokens import MessageSize
    from echat_eval.judge.rubric import Judge
    from echat_eval.judge.sentinel import Sentinel
    from echat_eval.store.cache import Cache

__all__ = ["JudgeClient"]

#: Any one-token answer carries the served model and the server's fingerprint.
IDENTITY_PROMPT = "Say yes."
#: Verdicts without a ticket, and none with one, after which a server is taken to ignore schemas.
MAX_WITHOUT_TICKET = 3
#: Words of servers that refuse a message for its audio.
_NO_AUDIO = re.compile(r"audio|multi-?modal|mmproj|content (?:type|part)", re.IGNORECASE)


class JudgeClient:
    """Client of one judge on one server.

    Each question is sent once per process; equal questions that arrive while it is in flight share its
    answer. Equal questions therefore get equal verdicts even if the model is not deterministic. A verdict
    must carry its question's ticket, so that answers that a server exchanges do not count. With a
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
        shutdown: the model's last day by the server's list of models; None: none is stated.
        sentinel: anchors to grade between the questions; None: no anchors.
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
        self.shutdown: date | None = None
        self.sentinel: Sentinel | None = None
        self._fingerprints: dict[int, str] = {}  # by identity of the rubric
        self._secret = secrets.token_bytes(32)  # of the tickets of this process
        self._without_ticket: int | None = 0  # None once a verdict carried its ticket
        self._rulings: dict[str, Ruling] = {}  # by question key
        self._in_flight: dict[str, asyncio.Task[Ruling]] = {}  # by question key
        self._failed_calls = FailedCalls(tries)
        self._verdicts = VerdictStore(store, cache, owner=client.model)
        self._stored_servers: set[tuple[str, str | None]] | None = None
        self._identification: asyncio.Task[None] | None = None
        self._offline = False
        self._identity_log = ServerIdentityLog(store, digest("judge's server", [client.model, self._address]))
        self._identity: ServerIdentity | None = None

    @property
    def _address(self) -> str | None:
        """The base URL without its secrets: a renewed key in a query changes no verdict."""
        return self.client.base_url and scrub(self.client.base_url)

    def share_identities(self, other: JudgeClient) -> None:
        """Keep one list of identities with another judge on the same server and model.

        With two lists, a server that answers from several machines would look new to one judge whenever the
        other had met another machine first.
        """
        if self._identity_log.is_of(other._identity_log):
            self._identity_log = other._identity_log

    @property
    def identities(self) -> tuple[ServerIdentity, ...]:
        """Return the identities that the server has reported since the judge last changed."""
        return self._identity_log.identities

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
        listens = self.judge.listens
        content = identity_content(IDENTITY_PROMPT, parameters.audio_in) if listens else IDENTITY_PROMPT
        try:
            answer = await with_second_look(
                lambda: self.client.ask(
                    [{"role": "user", "content": content}],
                    max_tokens=None if parameters.max_tokens is None else limit,
                    seed=parameters.seed,
                    temperature=parameters.temperature,
                    audio_seconds=PROBE_SECONDS if listens else 0.0,
                )
            )
        except Unavailable as error:
            if listens and error.refused and _NO_AUDIO.search(str(error)):
                raise UsageError(
                    f"judge {self.client.model} takes no audio in this form: {error}; name another model, "
                    "or another form with audio_in (input_audio, audio_url)"
                ) from error
            self.identity_error = str(error)
        else:
            self._identity_log.record(ServerIdentity(model=answer.model, server=answer.server))
            entry = await self.client.listed_model() or {}
            day = entry.get("shutdown_date")
            self.shutdown = date.fromisoformat(day) if isinstance(day, str) and is_day(day) else None

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
        if self._verdicts.has_earlier:
            await self._resolve_identity()  # stored verdicts count only for the server that gave them
        if question_key in self._rulings:
            self._verdicts.write()
            return self._rulings[question_key]
        if (ruling := self._find_ruling(question_key)) is not None:
            self._identity_log.save()
            self._rulings[question_key] = ruling
            return ruling
        if question_key not in self._in_flight:
            self._failed_calls.check(question_key)
            self._in_flight[question_key] = asyncio.ensure_future(
                self._request(question_key, prompt, question, repeat)
            )
            self._in_flight[question_key].add_done_callback(lambda task: self._finish(question_key, task))
        return await asyncio.shield(self._in_flight[question_key])

    def _finish(self, question_key: str, task: asyncio.Task[Ruling]) -> None:
        del self._in_flight[question_key]
        # Waiting callers get the error. Retrieve it here too: asyncio warns if no caller is left to do so.
        self._failed_calls.record(question_key, None if task.cancelled() else task.exception())

    def prompt_of(self, question: Question, repeat: int) -> tuple[Prompt, str]:
        """Return the prompt of a question without its ticket, and its question key.

        Raises:
            NotApplicable: the rubric has no prompt in the question's language.
        """
        prompt = render(self._rubric(question), question, turn=repeat)
        return prompt, self.question_key(question, prompt, repeat)

    def question_key(self, question: Question, prompt: Prompt, repeat: int) -> str:
        """Return the hash of the rubric, model, address, sampling, the whole prompt and its audio."""
        changed = self.parameters.changed()
        return digest(
            "question",
            [
                self.client.model,
                self._address,
                self._fingerprint(question),
                prompt.text,
                self.use_schema,
                self.temperature,
                repeat,
                *([changed] if changed else []),
                *([self._audio_facts(prompt)] if prompt.recordings else []),
            ],
        )

    def _audio_facts(self, prompt: Prompt) -> list[object]:
        """Return the form of a prompt's recordings, and the hash of each."""
        return [self.parameters.audio_in, [[r.name, r.audio.sha256] for r in prompt.recordings]]

    def _rubric(self, question: Question) -> Judge:
        return question.rubric or self.judge

    def _fingerprint(self, question: Question) -> str:
        rubric = self._rubric(question)
        return self._fingerprints.setdefault(id(rubric), rubric.fingerprint())

    def size_of(self, prompt: Prompt, question: Question) -> MessageSize:
        """Return the size of a question as sent to the server."""
        ticket = make_ticket(b"", "")  # all are of one length
        schema = self._schema(question, ticket=ticket)
        texts = [{"content": prompt.text if self._ticket_in_schema else f"{prompt.text}{TICKET}, {ticket}"}]
        return size_of(
            texts,
            schema=schema,
            max_tokens=self.parameters.max_tokens,
            audio_seconds=seconds_of(prompt.recordings),
        )

    @property
    def _ticket_in_schema(self) -> bool:
        return self.use_schema and self.parameters.schema == "json_schema"

    def _schema(self, question: Question, *, ticket: str) -> dict[str, Any] | None:
        if not self.use_schema:
            return None
        rubric = self._rubric(question)
        return rubric.schema(
            with_voice=grades_voice(rubric, question), ticket=ticket if self._ticket_in_schema else None
        )

    def stored_rulings(self) -> list[Ruling]:
        """Return the rulings in the store."""
        return list(self._verdicts.rulings().values())

    def has_ruling(self, question_key: str) -> bool:
        """Return whether the store holds a ruling on a question, from any server."""
        if self._stored_servers is None:
            self._stored_servers = {(ruling.model, ruling.server) for ruling in self.stored_rulings()}
        return any(
            _verdict_key(question_key, *server) in self._verdicts.rulings() for server in self._stored_servers
        )

    async def _request(self, question_key: str, prompt: Prompt, question: Question, repeat: int) -> Ruling:
        ruling = await self._ask(question_key, prompt, question, repeat)
        # It is paid for: whatever fails from here on, the next try or command finds it.
        try:
            self._verdicts.add(ruling)
        finally:
            self._record_identity(ServerIdentity(model=ruling.model, server=ruling.server))
        self._rulings[question_key] = ruling
        self._identity_log.save()
        await self._grade_anchor()
        return ruling

    async def _grade_anchor(self) -> None:
        """Grade the anchor that is due; one without a verdict is left out."""
        if self.sentinel is None or (due := self.sentinel.next_anchor()) is None:
            return
        try:
            prompt, question_key = self.prompt_of(due.question, 0)
            ruling = await self._ask(question_key, prompt, due.question, 0)
        except (Unavailable, NotApplicable):
            return
        if self.sentinel is not None:  # the run may have ended meanwhile
            points = text_score(self.judge, ruling.verdict.grades, due.question.task)
            self.sentinel.record(due, points, model=ruling.model)

    async def _ask(self, question_key: str, prompt: Prompt, question: Question, repeat: int) -> Ruling:
        """Return a new ruling, which is not stored."""
        ticket = make_ticket(self._secret, question_key)
        prompt_sha256 = digest("prompt", prompt.text)
        if not self._ticket_in_schema:
            prompt = render(self._rubric(question), question, turn=repeat, ticket=ticket)
        content = content_with(prompt.text, prompt.recordings, self.parameters.audio_in)
        answer = await self.client.ask(
            [{"role": "user", "content": content}],
            schema=self._schema(question, ticket=ticket),
            max_tokens=self.parameters.max_tokens,
            seed=None if self.parameters.seed is None else self.parameters.seed + repeat,
            temperature=self.temperature,
            audio_seconds=seconds_of(prompt.recordings),
        )
        return Ruling(
            key=_verdict_key(question_key, answer.model, answer.server),
            verdict=self._verdict_of(answer, question, ticket=ticket),
            prompt_sha256=prompt_sha256,
            model=answer.model,
            server=answer.server,
            tokens=(answer.prompt_tokens, answer.completion_tokens),
        )

    def _verdict_of(self, answer: ChatAnswer, question: Question, *, ticket: str) -> Verdict:
        """Return the verdict in an answer.

        Raises:
            JudgeFailure: it holds none; the message names what was received instead.
            UsageError: the server ignores schemas.
        """
        try:
            verdict = parse_verdict(
                answer.text,
                self._rubric(question),
                with_voice=grades_voice(self._rubric(question), question),
                ticket=ticket,
                whole=self.use_schema,
            )
        except NoTicket as error:
            self._count_without_ticket(error)
            raise
        except JudgeFailure as error:
            if cause := missing_cause(answer, self.parameters.max_tokens):
                raise JudgeFailure(f"{cause}: {error}") from error
            raise
        self._without_ticket = None
        return verdict

    def _count_without_ticket(self, error: NoTicket) -> None:
        if self._without_ticket is None or not self.use_schema:
            return
        self._without_ticket += 1
        if self._without_ticket >= MAX_WITHOUT_TICKET:
            option = (
                "schema=null" if self.parameters.schema == "json_object" else "schema=json_object or null"
            )
            raise UsageError(f"{error}; set --judge-set {option}, so that the prompt asks for it") from error

    def _record_identity(self, identity: ServerIdentity) -> None:
        self._identity_log.record(identity)
        # While the server did not answer, score keys were made with the stored identity.
        if self._identity is not None and self._identity not in self._identity_log.identities:
            raise Unavailable(
                f"the judge's server did not answer at first and came back as another one "
                f"('{identity.model}', fingerprint {identity.server}); run the same command again"
            )

    def _find_ruling(self, question_key: str) -> Ruling | None:
        identities: Sequence[ServerIdentity] = self._identity_log.identities
        if not identities and self.identity_error is not None:
            identities = self._identity_log.stored()  # as for the keys of scores while the server is away
        return self._verdicts.find(_verdict_key(question_key, i.model, i.server) for i in identities)

    def close(self) -> None:
        """Cancel calls in flight, close connections and flush the store to disk."""
        event_loop.run(self._cancel())
        self.client.close()
        self._verdicts.close()

    async def _cancel(self) -> None:
        for task in list(self._in_flight.values()):
            task.cancel()


def _verdict_key(question_key: str, model: str, server: str | None) -> str:
    return digest("verdict", [question_key, model, server])
