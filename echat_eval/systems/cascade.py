"""The cascade: a recogniser, a language model, a voice. It hears words only; that is its point here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from echat_eval.errors import NotApplicable, SystemFailure, Unavailable, UnknownName, UsageError
from echat_eval.io.bundled_models import installed_version
from echat_eval.io.jsonl import dumps
from echat_eval.records import Reply
from echat_eval.systems.llama_server import EMBEDDED, LlamaServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.records import AudioRef, Request

__all__ = ["EARS", "PROMPT", "PROMPT_VERSION", "VOICES", "Cascade"]

#: Name -> "module:Class" of what hears: an annotator whose values hold "hypothesis".
EARS: Mapping[str, str] = MappingProxyType({"whisper": "echat_eval.annotators.whisper:Whisper"})
#: Name -> "module:Class" of what speaks: `say(text) -> Waveform`, `fingerprint()`, `load()`, `close()`.
VOICES: Mapping[str, str] = MappingProxyType({"hibari": "echat_eval.systems.hibari_voice:HibariVoice"})

PROMPT_VERSION = "cascade-1"
PROMPT = (
    "You are a warm, caring friend in a spoken conversation. "
    "Answer what the user says in one or two short sentences of plain words."
)
#: Earlier turns shown to the language model.
MAX_TURNS = 8


@dataclass(slots=True, kw_only=True)
class Cascade:
    """Recogniser, language model, text to speech; every part can be replaced.

    Attributes:
        asr: a name of `EARS` or "module:Class" of an annotator.
        llm_url: base URL of an OpenAI-compatible server, ending in /v1; None starts the embedded one.
        llm_model: the model to ask that server for; None is the embedded one.
        llm_key: of that server; never in settings, fingerprints or logs.
        tts: a name of `VOICES`, "module:Class", or "" for a text-only cascade.
        languages: to which languages the parts are fit.
        calls_at_once: requests answered side by side; more than one overlaps hearing and writing, and
            the seconds of a reply then hold its waiting for the other's.
    """

    name: str = "cascade"
    asr: str = "whisper"
    llm_url: str | None = None
    llm_model: str | None = None
    llm_key: str | None = field(default=None, repr=False)
    tts: str = "hibari"
    languages: tuple[str, ...] | str = ("en",)
    max_tokens: int = 40
    seed: int = 0
    threads: int = 1
    timeout_seconds: float = 60.0
    calls_at_once: int = 1
    _ear: Any = field(default=None, init=False, repr=False)
    _voice: Any = field(default=None, init=False, repr=False)
    _server: LlamaServer | None = field(default=None, init=False, repr=False)
    _client: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.languages, str):
            self.languages = tuple(part.strip() for part in self.languages.split(","))
        if self.llm_url is not None and not self.llm_model:
            raise UsageError(f"cascade: llm_url is {self.llm_url}; set llm_model to the model it serves")
        if self.llm_model and self.llm_url is None and not Path(self.llm_model).is_file():
            raise UsageError(
                f"cascade: llm_model '{self.llm_model}' is no GGUF file; give one, or set llm_url as well"
            )
        self._ear = _made("recogniser", self.asr, EARS)
        self._voice = _made("voice", self.tts, VOICES) if self.tts else None
        if self.llm_url is None:
            model = Path(self.llm_model) if self.llm_model else None
            self._server = LlamaServer(model=model, threads=self.threads)

    def respond(self, request: Request) -> Reply:
        """Return the language model's words and their sound.

        Raises:
            NotApplicable: the language is not one of `languages`.
            SystemFailure: nothing was recognised, or the language model said nothing.
            Unavailable: its server did not answer.
        """
        if request.language not in self.languages:
            raise NotApplicable(f"{self.name} knows {', '.join(self.languages)}, not '{request.language}'")
        heard = self._hear(request.audio, request.language)
        if not heard:
            raise SystemFailure(f"{self.asr} heard no words in the query")
        messages = [{"role": "system", "content": request.instruction or PROMPT}]
        for turn in request.history[-MAX_TURNS:]:
            text = turn.text or (self._hear(turn.audio, request.language) if turn.audio else "")
            if text:
                messages.append({"role": turn.role, "content": text})
        answer = self._ask([*messages, {"role": "user", "content": heard}])
        choice = answer.choices[0]
        text = _spoken(choice.message.content or "", cut=choice.finish_reason == "length")
        if not text:
            raise SystemFailure(f"the language model said nothing to {heard!r}")
        return Reply(
            text=text,
            audio=self._voice.say(text) if self._voice is not None else None,
            finish_reason=choice.finish_reason,
            usage=_counted(answer.usage),
        )

    def load(self) -> None:
        """Load every part, so that the first reply is not slower than the others."""
        self._llm()
        for part in (self._ear, self._voice):
            if hasattr(part, "load"):
                part.load()

    def close(self) -> None:
        """Stop the server and let every model go."""
        if self._client is not None:
            self._client.close()
            self._client = None
        parts: tuple[Any, ...] = (self._ear, self._voice, self._server)
        for part in parts:
            if hasattr(part, "close"):
                part.close()

    def fingerprint(self) -> str | None:
        """Hash of all weights, versions and the prompt; None if the server is not ours to look into."""
        if self._server is None:
            return None
        parts = {
            "ear": self._ear.fingerprint(),
            "llm": self._server.fingerprint(),
            "voice": self._voice.fingerprint() if self._voice is not None else None,
            "prompt": [PROMPT_VERSION, PROMPT, MAX_TURNS],
            "openai": installed_version("openai").split(".")[0],
        }
        return hashlib.sha256(dumps(parts).encode()).hexdigest()

    def settings(self) -> Mapping[str, Any]:
        """Everything that was set, without the key."""
        return {
            "asr": self.asr,
            "llm_url": self.llm_url,
            "llm_model": self.llm_model or EMBEDDED,
            "tts": self.tts,
            "languages": list(self.languages),
            "max_tokens": self.max_tokens,
            "temperature": 0.0,
            "seed": self.seed,
            "threads": self.threads,
            "prompt": PROMPT_VERSION,
        }

    def _hear(self, audio: AudioRef, language: str) -> str:
        return str(self._ear.annotate(audio, language=language)["hypothesis"]).strip()

    def _llm(self) -> Any:
        if self._client is None:
            import openai

            url = self._server.url if self._server is not None else self.llm_url
            self._client = openai.OpenAI(
                base_url=url,
                api_key=self.llm_key or "none",
                timeout=self.timeout_seconds,
                max_retries=0,  # the runner tries again, and counts
            )
        return self._client

    def _ask(self, messages: list[dict[str, str]]) -> Any:
        import openai

        try:
            return self._llm().chat.completions.create(
                model=self.llm_model if self._server is None else EMBEDDED,
                messages=messages,
                max_tokens=self.max_tokens,
                temperature=0.0,
                seed=self.seed,
            )
        except openai.APIError as error:
            reason = " ".join(str(error).split())[:300]
            raise Unavailable(f"the language model at {self.llm_url or 'loopback'}: {reason}") from error


def _made(kind: str, spec: str, table: Mapping[str, str]) -> Any:
    path = table.get(spec, spec)
    module, colon, attribute = path.partition(":")
    if not colon:
        raise UnknownName(kind, spec, table)
    try:
        return getattr(import_module(module), attribute)()
    except (ModuleNotFoundError, AttributeError) as error:
        raise UsageError(f"cascade: {kind} '{spec}' cannot be loaded: {error}") from error


def _spoken(text: str, *, cut: bool) -> str:
    """Return the text on one line; if the token limit cut it, up to its last whole sentence."""
    plain = " ".join(text.split())
    if cut:
        end = max(plain.rfind(sign) for sign in ".!?")
        plain = plain[: end + 1] if end > 0 else plain
    return plain


def _counted(usage: Any) -> dict[str, float]:
    names = ("prompt_tokens", "completion_tokens")
    return {name: float(getattr(usage, name)) for name in names if getattr(usage, name, None) is not None}
