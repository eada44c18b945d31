"""The body of a chat request: every parameter has a rule, and none that changes a reply is ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import did_you_mean
from echat_eval.io.jsonl import loads
from echat_eval.io.schema import ANYTHING, STRING, Rule, is_number, is_whole, shorten, whole
from echat_eval.records import Request, Turn
from echat_eval.serve.answerer import Question
from echat_eval.serve.api_error import ApiError
from echat_eval.serve.sound import FORMATS, STREAM_FORMATS
from echat_eval.serve.uploads import base64_bytes

if TYPE_CHECKING:
    from echat_eval.records import AudioRef
    from echat_eval.serve.answerer import ModelFacts
    from echat_eval.serve.uploads import Uploads

__all__ = ["ChatRequest", "check_model", "check_voice", "max_tokens_rule", "read_body", "read_chat"]

_BOOLEAN = Rule(lambda v: isinstance(v, bool), "true or false")
_EMPTY = Rule(lambda v: v in ([], {}), "nothing: this model has no such ability")
_ZERO = Rule(lambda v: is_number(v, low=0, high=0), "0, which changes nothing")
_ONE = Rule(lambda v: is_number(v, low=1, high=1), "1")
#: The largest seed of the usual generators.
_MAX_SEED = 2**63 - 1
#: Characters of an instruction or of an earlier turn.
_MAX_TEXT = 20_000
_MAX_MESSAGES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """The request of a client.

    Attributes:
        question: for the model.
        stream: send the reply in pieces.
        stream_usage: send the token counts at the end of a stream.
        form: of the audio, a key of `sound.FORMATS`; None for a reply in text.
    """

    question: Question
    stream: bool
    stream_usage: bool
    form: str | None


def max_tokens_rule(facts: ModelFacts) -> Rule:
    """Return the rule for the limit on a reply."""
    return whole(1, facts.max_tokens)


def _rules(facts: ModelFacts) -> Mapping[str, Rule]:
    limit = max_tokens_rule(facts)
    return {
        "model": STRING,
        "messages": Rule(lambda v: isinstance(v, list) and 0 < len(v) <= _MAX_MESSAGES, "a list of messages"),
        "modalities": Rule(
            lambda v: isinstance(v, list) and "text" in v and set(v) <= {"text", "audio"},
            '["text"] or ["text", "audio"]',
        ),
        "audio": Rule(lambda v: isinstance(v, dict), "an object with voice and format"),
        "stream": _BOOLEAN,
        "stream_options": Rule(lambda v: isinstance(v, dict), "an object"),
        "max_tokens": limit,
        "max_completion_tokens": limit,
        "seed": Rule(lambda v: is_whole(v, low=-_MAX_SEED, high=_MAX_SEED), "a whole number of 64 bits"),
        "temperature": Rule(
            lambda v: is_number(v, low=0, high=0),
            "0 for the most likely reply, or no temperature for the sampling that the mode was made for",
        ),
        "n": _ONE,
        "top_p": _ONE,
        "frequency_penalty": _ZERO,
        "presence_penalty": _ZERO,
        "logprobs": Rule(lambda v: v is False, "false"),
        "logit_bias": _EMPTY,
        "stop": _EMPTY,
        "tools": _EMPTY,
        "functions": _EMPTY,
        "response_format": Rule(lambda v: v == {"type": "text"}, '{"type": "text"}'),
        "store": Rule(lambda v: v is False, "false: nothing is stored"),
        # They change no reply.
        "metadata": ANYTHING,
        "user": STRING,
        "service_tier": STRING,
        "safety_identifier": STRING,
    }


def read_body(content: bytes) -> Mapping[str, Any]:
    """Return the object of a body.

    Raises:
        ApiError: it is none.
    """
    try:
        value = loads(content)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ApiError(400, f"the body is not strict JSON: {reason}"[:300], code="invalid_json") from error
    if not isinstance(value, dict):
        raise ApiError(400, f"the body is a {type(value).__name__}; expected an object", code="invalid_json")
    return value


def read_chat(body: Mapping[str, Any], facts: ModelFacts, uploads: Uploads, name: str) -> ChatRequest:
    """Return what a body asks for, with its audio stored.

    Args:
        name: of the request.

    Raises:
        ApiError: a parameter is unknown or not supported, or the audio is unusable.
    """
    _check_parameters(body, _rules(facts))
    check_model(body.get("model"), facts)
    stream, form = bool(body.get("stream")), _form(body, facts)
    options = body.get("stream_options") or {}
    limits = [n for n in (body.get("max_completion_tokens"), body.get("max_tokens")) if n is not None]
    question = Question(
        request=_request(body["messages"], uploads, name),
        spoken=form is not None,
        streamed=stream,
        max_tokens=min(limits, default=None),
        seed=body.get("seed"),
        greedy=None if body.get("temperature") is None else True,
    )
    return ChatRequest(
        question=question, stream=stream, stream_usage=options.get("include_usage") is True, form=form
    )


def _check_parameters(body: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    for name, value in body.items():
        rule = rules.get(name)
        if rule is None:
            hint = did_you_mean(name, rules)
            raise ApiError(
                400, f"unknown parameter {shorten(name)}.{hint}", param=name[:64], code="unknown_parameter"
            )
        if value is not None and not rule.holds(value):
            message = f"'{name}' is {shorten(value)}; expected {rule.expected}"
            raise ApiError(400, message, param=name, code="unsupported_value")
    for name in ("model", "messages"):
        if body.get(name) is None:
            raise ApiError(400, f"'{name}' is missing", param=name, code="missing_required_parameter")


def check_model(model: object, facts: ModelFacts) -> None:
    """Raise ApiError unless the model is served."""
    if model != facts.name:
        raise ApiError(
            404,
            f"the model {shorten(model)} does not exist here; this server has {facts.name!r}",
            param="model",
            code="model_not_found",
        )


def check_voice(voice: object, facts: ModelFacts, param: str) -> None:
    """Raise ApiError unless the voice is served, or none is named."""
    if facts.voice is None:
        raise ApiError(
            400,
            "this server has no voice: ask for text, or start it with --token2wav and --voice",
            param=param,
            code="unsupported_value",
        )
    if voice not in (None, facts.voice):
        raise ApiError(
            400,
            f"'voice' is {shorten(voice)}; this server has {facts.voice!r}",
            param=param,
            code="unsupported_value",
        )


def _form(body: Mapping[str, Any], facts: ModelFacts) -> str | None:
    if "audio" not in (body.get("modalities") or ["text"]):
        return None
    options = body.get("audio") or {}
    check_voice(options.get("voice"), facts, "audio.voice")
    form, forms = options.get("format", "wav"), STREAM_FORMATS if body.get("stream") else tuple(FORMATS)
    if form not in forms:
        location = "in a stream " if body.get("stream") else ""
        message = f"'audio.format' is {shorten(form)}; {location}expected {', '.join(forms)}"
        raise ApiError(400, message, param="audio.format", code="unsupported_value")
    return str(form)


def _request(messages: Sequence[Any], uploads: Uploads, name: str) -> Request:
    instructions: list[str] = []
    turns: list[Turn] = []
    for number, message in enumerate(messages):
        param = f"messages[{number}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("system", "developer", "user", "assistant"):
            raise ApiError(400, "a message needs a role: system, developer, user or assistant", param=param)
        text, audio = _parts(message, param, uploads)
        if role in ("system", "developer"):
            if audio is not None:
                raise ApiError(400, "an instruction has no audio", param=f"{param}.content")
            instructions.append(text or "")
        else:
            turns.append(Turn(role="user" if role == "user" else "assistant", text=text, audio=audio))
    last = turns.pop() if turns else None
    if last is None or last.role != "user" or last.audio is None:
        raise ApiError(
            400,
            "the last message must be the user's, with one input_audio or audio_url part",
            param=f"messages[{len(messages) - 1}].content",
        )
    instruction = "\n\n".join(filter(None, [*instructions, last.text]))
    return Request(
        id=name, audio=last.audio, language="und", history=tuple(turns), instruction=instruction or None
    )


def _parts(message: Mapping[str, Any], param: str, uploads: Uploads) -> tuple[str | None, AudioRef | None]:
    """Return the text and the recording of a message."""
    content = message.get("content")
    if message["role"] == "assistant" and isinstance(message.get("audio"), dict):
        raise ApiError(
            400,
            "this server keeps no audio of earlier replies: send the transcript as content",
            param=f"{param}.audio",
        )
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list) or not parts:
        raise ApiError(
            400, "the content is empty; expected text or a list of parts", param=f"{param}.content"
        )
    texts: list[str] = []
    audio: AudioRef | None = None
    for number, part in enumerate(parts):
        place = f"{param}.content[{number}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str) and len(part["text"]) <= _MAX_TEXT:
            texts.append(part["text"])
        elif kind in ("input_audio", "audio_url") and message["role"] == "user":
            if audio is not None:
                raise ApiError(400, "a message holds one recording; send turns as messages", param=place)
            audio = _audio(part, kind, place, uploads)
        else:
            raise ApiError(
                400, f"a part of kind {shorten(kind)}; expected text, input_audio or audio_url", param=place
            )
    return "\n\n".join(filter(None, texts)) or None, audio


def _audio(part: Mapping[str, Any], kind: str, place: str, uploads: Uploads) -> AudioRef:
    held = part.get(kind)
    held = held if isinstance(held, dict) else {}
    if kind == "audio_url":
        if not isinstance(url := held.get("url"), str):
            raise ApiError(400, "audio_url needs a url", param=place)
        return uploads.linked(url, f"{place}.audio_url.url")
    form = held.get("format")
    if form not in ("wav", "mp3"):
        message = f"'format' is {shorten(form)}; expected wav or mp3 (audio_url takes other files)"
        raise ApiError(400, message, param=f"{place}.input_audio.format", code="unsupported_value")
    if not isinstance(data := held.get("data"), str):
        raise ApiError(400, "input_audio needs data in base64", param=f"{place}.input_audio.data")
    content = base64_bytes(data, f"{place}.input_audio.data")
    return uploads.recording(content, f"{place}.input_audio.data", kind=str(form))
