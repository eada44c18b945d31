"""A cascade of recogniser, language model and voice. It loses every cue but the words, by design."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.clients.chat import ChatClient
from echat_eval.clients.keys import checked_key
from echat_eval.clients.network import check_url
from echat_eval.concurrency import event_loop
from echat_eval.errors import NotApplicable, SystemFailure, UnknownName, UsageError, scrub
from echat_eval.io.hashing import fingerprint_of
from echat_eval.labels import split_tags
from echat_eval.languages import supports
from echat_eval.ports import Closable, Destination, Loadable, language_fault
from echat_eval.records import Reply
from echat_eval.systems.llama_server import EMBEDDED, LlamaServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.clients.chat import ChatAnswer
    from echat_eval.records import AudioRef, Request

__all__ = ["PROMPT", "PROMPT_VERSION", "RECOGNISERS", "VOICES", "Cascade", "load_part"]

#: Name -> "module:Class" of a recogniser: an annotator whose values hold "hypothesis".
RECOGNISERS: Mapping[str, str] = MappingProxyType({"whisper": "echat_eval.annotators.whisper:Whisper"})
#: Name -> "module:Class" of a voice: `say(text) -> Waveform`, `fingerprint()`, `load()`, `close()`.
VOICES: Mapping[str, str] = MappingProxyType({"hibari": "echat_eval.systems.hibari_voice:HibariVoice"})

PROMPT_VERSION = "cascade-1"
PROMPT = (
    "You are a warm, caring friend in a spoken conversation. "
    "Answer what the user says in one or two short sentences of plain words."
)
#: Maximum number of earlier turns in the language model's input.
MAX_TURNS = 8


@dataclass(slots=True, kw_only=True)
class Cascade:
    """Recogniser, language model and text to speech; every part can be replaced.

    Attributes:
        asr: a name in `RECOGNISERS`, or "module:Class" of an annotator.
        llm_url: base URL of an OpenAI-compatible server, ending in /v1; None starts the embedded server.
        llm_model: model on that server, or path of a GGUF file; None for the embedded model.
        llm_key: API key of that server; never part of settings, fingerprints or logs.
        tts: a name in `VOICES`, "module:Class", or "" for a text-only cascade.
        languages: languages that all parts support.
        max_tokens: limit of the reply; None for the server's default.
        temperature, seed: of the language model; None leaves the parameter out.
        token_parameter: the server's name of the limit.
        reasoning_effort: such as "low"; None leaves the parameter out.
        calls_at_once: maximum number of concurrent requests. With more than one, recognition and generation
            overlap, and the seconds of a reply include waiting for other requests.
    """

    name: str = "cascade"
    asr: str = "whisper"
    llm_url: str | None = None
    llm_model: str | None = None
    llm_key: str | None = field(default=None, repr=False)
    tts: str = "hibari"
    languages: tuple[str, ...] | str = ("en",)
    max_tokens: int | None = 40
    seed: int | None = 0
    threads: int = 1
    timeout_seconds: float = 60.0
    calls_at_once: int = 1
    temperature: float | None = 0.0
    token_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    reasoning_effort: str | None = None
    _recogniser: Any = field(default=None, init=False, repr=False)
    _voice: Any = field(default=None, init=False, repr=False)
    _server: LlamaServer | None = field(default=None, init=False, repr=False)
    _client: ChatClient | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.languages, str):
            self.languages = tuple(part.strip() for part in self.languages.split(","))
        if self.llm_url is not None and not self.llm_model:
            raise UsageError(f"cascade: llm_url is {self.llm_url}; set llm_model to the model it serves")
        if self.llm_url is not None:
            check_url(self.llm_url, "llm_url")
        if self.llm_model and self.llm_url is None and not Path(self.llm_model).is_file():
            raise UsageError(
                f"cascade: llm_model '{self.llm_model}' is not a GGUF file; give its path, or set llm_url"
            )
        self._recogniser = load_part("recogniser", self.asr, RECOGNISERS)
        self._voice = load_part("voice", self.tts, VOICES) if self.tts else None
        if self.llm_url is None:
            model = Path(self.llm_model) if self.llm_model else None
            self._server = LlamaServer(model=model, threads=self.threads)

    def respond(self, request: Request) -> Reply:
        """Return the language model's text and its speech.

        Raises:
            NotApplicable: the language is not one of `languages`.
            SystemFailure: no words were recognised, or the language model returned no text.
            Unavailable: the language model's server did not answer.
            UsageError: it refuses the key, the model or a parameter.
        """
        if not supports(self.languages, request.language):
            raise NotApplicable(f"{self.name} supports {', '.join(self.languages)}, not '{request.language}'")
        hypothesis = self._transcribe(request.audio, request.language)
        if not hypothesis:
            raise SystemFailure(f"{self.asr} recognised no words in the query")
        messages = [{"role": "system", "content": request.instruction or PROMPT}]
        for turn in request.history[-MAX_TURNS:]:
            text = turn.text or (self._transcribe(turn.audio, request.language) if turn.audio else "")
            if text:
                messages.append({"role": turn.role, "content": text})
        answer = self._complete([*messages, {"role": "user", "content": hypothesis}])
        text = _one_line(answer.text, cut=answer.finish_reason == "length")
        if not text:
            raise SystemFailure(f"the language model returned no text for {hypothesis!r}")
        return Reply(
            text=text,
            # An answer to a question about the recording is read, not listened to.
            audio=self._voice.say(text) if self._voice is not None and request.instruction is None else None,
            finish_reason=answer.finish_reason,
            usage=_usage(answer),
        )

    def load(self) -> None:
        """Load every part, so that the first reply is not slower than the others."""
        self._llm()
        for part in (self._recogniser, self._voice):
            if isinstance(part, Loadable):
                part.load()

    def close(self) -> None:
        """Stop the server and free every model."""
        if self._client is not None:
            self._client.close()
            self._client = None
        parts: tuple[Any, ...] = (self._recogniser, self._voice, self._server)
        for part in parts:
            if isinstance(part, Closable):
                part.close()

    def fingerprint(self) -> str | None:
        """Return the hash of weights, versions and prompt; None if the server is not the embedded one."""
        if self._server is None:
            return None
        parts = {
            "ear": self._recogniser.fingerprint(),
            "llm": self._server.fingerprint(),
            "voice": self._voice.fingerprint() if self._voice is not None else None,
            "prompt": [PROMPT_VERSION, PROMPT, MAX_TURNS],
        }
        return fingerprint_of(parts)

    def settings(self) -> Mapping[str, Any]:
        """Return all settings, without the key."""
        # Left out at their defaults, so that replies of earlier versions stay valid.
        later = {
            "token_parameter": (self.token_parameter, "max_tokens"),
            "reasoning_effort": (self.reasoning_effort, None),
        }
        return {
            "asr": self.asr,
            "llm_url": self.llm_url and scrub(self.llm_url),
            "llm_model": self.llm_model or EMBEDDED,
            "tts": self.tts,
            "languages": list(self.languages),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            "threads": self.threads,
            "prompt": PROMPT_VERSION,
            **{name: value for name, (value, default) in later.items() if value != default},
        }

    def destinations(self) -> Sequence[Destination]:
        """Return the language model's server; none for the embedded one."""
        contents = ("words recognised in query audio", "earlier turns")
        return [] if self.llm_url is None else [Destination(url=self.llm_url, contents=contents)]

    def _transcribe(self, audio: AudioRef, language: str) -> str:
        if fault := language_fault(self._recogniser, language):
            raise NotApplicable(fault)
        return split_tags(str(self._recogniser.annotate(audio, language=language)["hypothesis"]))[0].strip()

    def _llm(self) -> ChatClient:
        if self._client is None:
            key = checked_key(self.llm_key, "llm_key")
            self._client = ChatClient(
                model=EMBEDDED if self._server is not None else self.llm_model or "",
                base_url=self._server.url if self._server is not None else self.llm_url,
                timeout=self.timeout_seconds,
                calls_at_once=self.calls_at_once,
                token_parameter=self.token_parameter,
                reasoning_effort=self.reasoning_effort,
                party="system",
                key=lambda: key,
            )
        return self._client

    def _complete(self, messages: list[dict[str, str]]) -> ChatAnswer:
        return event_loop.run(
            self._llm().ask(
                messages, max_tokens=self.max_tokens, seed=self.seed, temperature=self.temperature
            )
        )


def load_part(kind: str, spec: str, table: Mapping[str, str]) -> Any:
    """Return a recogniser or a voice.

    Raises:
        UnknownName: `spec` is neither in `table` nor "module:Class".
        UsageError: the class cannot be imported.
    """
    path = table.get(spec, spec)
    module, colon, attribute = path.partition(":")
    if not colon:
        raise UnknownName(kind, spec, table)
    try:
        return getattr(import_module(module), attribute)()
    except (ModuleNotFoundError, AttributeError) as error:
        raise UsageError(f"cascade: {kind} '{spec}' cannot be loaded: {error}") from error


def _one_line(text: str, *, cut: bool) -> str:
    """Return the text on one line; if the token limit cut it, up to the end of its last whole sentence."""
    plain = " ".join(text.split())
    if cut:
        end = max(plain.rfind(sign) for sign in ".!?")
        plain = plain[: end + 1] if end > 0 else plain
    return plain


def _usage(answer: ChatAnswer) -> dict[str, float]:
    counts = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
    return {name: float(count) for name, count in counts.items() if count}
