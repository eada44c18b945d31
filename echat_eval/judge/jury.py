"""Asks a judge, and keeps every verdict under a key of all that made it, the served model among it."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import Unavailable
from echat_eval.jsonl import Appender, read_rows
from echat_eval.judge.question import Prompt, Question, render
from echat_eval.judge.served import Served, Tenure
from echat_eval.judge.verdict import Verdict, parse_verdict
from echat_eval.keys import digest

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.chat_client import ChatClient
    from echat_eval.judge.rubric import Judge

__all__ = ["Jury", "Ruling"]

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


class Jury:
    """One judge behind one server.

    The same question is asked once per process, so equal questions have equal answers even where
    the model is not deterministic. With a store they outlive the process, for as long as the server
    names the same model and fingerprint: which ones it names now is asked once per process.

    Args:
        holds_schema: ask the server to hold the answer to a JSON schema; otherwise the answer is
            prose around exactly one verdict that carries the question's ticket.
        temperature: 0 for the likeliest answer; repeats still turn the order of the dimensions.
        store: JSONL file of verdicts; None: kept in memory only.

    Attributes:
        silence: why the server did not say who it serves; None: it did, or was not asked.
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
        self.silence: str | None = None
        self._rubric = judge.fingerprint()
        self._lock = threading.Lock()
        self._greeting = threading.Lock()
        self._asked: dict[str, Ruling] = {}
        self._stored: dict[str, Ruling] | None = None
        self._tenure = Tenure(store, digest("judge's server", [client.model, client.base_url]))
        self._claimed: Served | None = None

    def served(self) -> Served | None:
        """Return who judges; scores carry it in their keys. Asked once per process, for one token.

        Where the server does not answer, it is whoever gave the kept verdicts (None: there are none),
        and `silence` says why: what is scored already stays as it is.

        Raises:
            UsageError: the server refuses the key, or does not know the model.
        """
        with self._greeting:
            if self._claimed is None and self.silence is None:
                if self._tenure.first is None:
                    self._greet()
                self._claimed = self._tenure.first or next(iter(self._tenure.remembered()), None)
            return self._claimed

    def _greet(self) -> None:
        try:
            answer = self.client.ask([{"role": "user", "content": GREETING}], max_tokens=1)
        except Unavailable as error:
            self.silence = str(error)
            return
        with self._lock:
            self._tenure.meet(Served(model=answer.model, server=answer.server))

    def rule(self, question: Question, *, repeat: int = 0) -> Ruling:
        """Return the ruling on one question, asked or remembered.

        Raises:
            NotApplicable: the rubric has no prompt in the question's language.
            Unavailable: no answer, or (JudgeFailure) one that is not a verdict, or another model's than
                the process began with; none is kept.
        """
        prompt = render(self.judge, question, turn=repeat, ticket=not self.holds_schema)
        heard = question.heard is not None
        asked = self.question_key(question, prompt, repeat)
        if self.store is not None and self.store.exists():
            self.served()  # or no kept verdict could be known for the present judge's
        with self._lock:
            if asked in self._asked:
                return self._asked[asked]
            if (known := self._known(asked)) is not None:
                self._tenure.keep()
                self._asked[asked] = known
                return known
        answer = self.client.ask(
            [{"role": "user", "content": prompt.text}],
            schema=self.judge.schema(heard=heard) if self.holds_schema else None,
            max_tokens=MAX_TOKENS,
            seed=repeat,
            temperature=self.temperature,
        )
        with self._lock:
            self._meet(Served(model=answer.model, server=answer.server))
        ruling = Ruling(
            key=_verdict_key(asked, answer.model, answer.server),
            verdict=parse_verdict(answer.text, self.judge, heard=heard, ticket=prompt.ticket),
            prompt_sha256=digest("prompt", prompt.text),
            model=answer.model,
            server=answer.server,
            tokens=(answer.prompt_tokens, answer.completion_tokens),
        )
        with self._lock:
            # Two threads may have asked the same at once: the first answer stays.
            kept = self._asked.setdefault(asked, ruling)
            if kept is ruling:
                self._tenure.keep()
                self._keep(ruling)
        return kept

    def question_key(self, question: Question, prompt: Prompt, repeat: int) -> str:
        """Return the hash of all that is asked and how: rubric, model, address and every word shown."""
        return digest(
            "question",
            [self.client.model, self.client.base_url, self._rubric, prompt.text,
             self.holds_schema, self.temperature, repeat],
        )  # fmt: skip

    def _meet(self, served: Served) -> None:
        self._tenure.meet(served)
        # Keys were made while the server was silent, in the name of whoever was remembered.
        if self._claimed is not None and self._claimed not in self._tenure.identities:
            raise Unavailable(
                f"the judge's server was silent and is back as another one ('{served.model}', fingerprint "
                f"{served.server}); run the same command again"
            )

    def _known(self, asked: str) -> Ruling | None:
        if self._stored is None:
            self._stored = {}
            if self.store is not None and self.store.exists():
                self._stored = {row["key"]: _ruling(row) for _, row in read_rows(self.store)}
        keys = (_verdict_key(asked, who.model, who.server) for who in self._tenure.identities)
        return next((self._stored[key] for key in keys if key in self._stored), None)

    def _keep(self, ruling: Ruling) -> None:
        if self.store is not None:
            with Appender(self.store) as appender:
                appender.append(asdict(ruling))

    def close(self) -> None:
        """Close connections."""
        self.client.close()


def _verdict_key(asked: str, model: str, server: str | None) -> str:
    return digest("verdict", [asked, model, server])


def _ruling(row: dict[str, Any]) -> Ruling:
    return Ruling(**{**row, "verdict": Verdict(**row["verdict"]), "tokens": tuple(row["tokens"])})
