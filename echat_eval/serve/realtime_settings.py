"""The settings of a live session: what a client may change, and what this server has."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from echat_eval.errors import did_you_mean
from echat_eval.io.schema import ANYTHING, STRING, Rule, is_number, is_whole, shorten
from echat_eval.serve.api_error import ApiError
from echat_eval.serve.chat_request import check_model, check_voice

if TYPE_CHECKING:
    from echat_eval.serve.answerer import ModelFacts

__all__ = ["SessionSettings", "check_response"]

#: Hz of samples in either direction.
_MIN_RATE, _MAX_RATE = 8_000, 48_000
_RATE = 24_000
_NONE = Rule(lambda v: v in (None, [], {}), "null: this server has no such ability")
_MODALITIES = Rule(lambda v: v in (["audio"], ["text"]), '["audio"] or ["text"]')
_PCM = Rule(lambda v: v == "audio/pcm", "audio/pcm")
_HZ = Rule(
    lambda v: is_whole(v, low=_MIN_RATE, high=_MAX_RATE), f"whole Hz from {_MIN_RATE:,} to {_MAX_RATE:,}"
)


def _rules(facts: ModelFacts) -> Mapping[str, Rule]:
    """Return setting, as a dotted path -> its rule."""
    limit = Rule(
        lambda v: v == "inf" or is_whole(v, low=1, high=facts.max_tokens),
        f'"inf" or a whole number from 1 to {facts.max_tokens}',
    )
    instructions = Rule(
        lambda v: isinstance(v, str) and (facts.takes_instruction or not v.strip()),
        "text" if facts.takes_instruction else f'"": mode {facts.mode!r} takes no instruction',
    )
    return {
        "type": Rule(lambda v: v == "realtime", '"realtime"'),
        "model": STRING,
        "output_modalities": _MODALITIES,
        "instructions": instructions,
        "max_output_tokens": limit,
        "audio.input.format.type": _PCM,
        "audio.input.format.rate": _HZ,
        "audio.input.turn_detection": Rule(
            lambda v: v is None, "null: this server ends a turn at input_audio_buffer.commit only"
        ),
        "audio.input.transcription": _NONE,
        "audio.input.noise_reduction": _NONE,
        "audio.output.format.type": _PCM,
        "audio.output.format.rate": _HZ,
        "audio.output.voice": STRING,
        "audio.output.speed": Rule(lambda v: is_number(v, low=1, high=1), "1"),
        "tools": _NONE,
        "tool_choice": Rule(lambda v: v in ("auto", "none"), '"auto" or "none"'),
        "truncation": Rule(lambda v: v == "auto", '"auto": the model reads the last five turns'),
        "prompt": _NONE,
        "tracing": _NONE,
        "include": _NONE,
        # Echoed by some clients; they change nothing.
        "object": ANYTHING,
        "id": ANYTHING,
        "expires_at": ANYTHING,
    }


class SessionSettings:
    """The settings that hold.

    Args:
        name: of the session.
        seconds: that the session may last.
    """

    def __init__(self, facts: ModelFacts, name: str, seconds: float) -> None:
        self._facts, self._rules = facts, _rules(facts)
        self._held: dict[str, Any] = {
            "type": "realtime",
            "object": "realtime.session",
            "id": name,
            "model": facts.name,
            "expires_at": int(time.time() + seconds),
            "output_modalities": ["audio"] if facts.voice is not None else ["text"],
            "instructions": "",
            "max_output_tokens": "inf",
            "tools": [],
            "tool_choice": "auto",
            "truncation": "auto",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": _RATE},
                    "transcription": None,
                    "noise_reduction": None,
                    "turn_detection": None,
                },
                "output": {
                    "format": {"type": "audio/pcm", "rate": _RATE},
                    "voice": facts.voice,
                    "speed": 1.0,
                },
            },
        }

    def update(self, session: object, *, keeps_rate: bool = False) -> None:
        """Change settings: all of them, or none if one is refused.

        Args:
            keeps_rate: audio of the present input rate waits to be committed.

        Raises:
            ApiError: a setting is unknown, or this server has no such value.
        """
        if not isinstance(session, dict):
            raise ApiError(400, "session.update needs a session", param="session")
        merged = copy.deepcopy(self._held)
        self._merge(merged, session, "")
        if session.get("model") is not None:
            check_model(session["model"], self._facts)
        if "audio" in merged["output_modalities"]:
            check_voice(merged["audio"]["output"]["voice"], self._facts, "session.audio.output.voice")
        if keeps_rate and merged["audio"]["input"]["format"]["rate"] != self.input_rate:
            raise ApiError(
                400,
                "the rate cannot change while audio is in the buffer: commit or clear it first",
                param="session.audio.input.format.rate",
            )
        for name in ("object", "id", "expires_at"):
            merged[name] = self._held[name]
        self._held = merged

    def _merge(self, held: dict[str, Any], new: Mapping[str, Any], prefix: str) -> None:
        for name, value in new.items():
            path = f"{prefix}{name}"
            if isinstance(value, dict) and any(known.startswith(f"{path}.") for known in self._rules):
                self._merge(held.setdefault(name, {}), value, f"{path}.")
                continue
            _check(path, value, self._rules, "session")
            if value is not None or name in ("turn_detection", "transcription", "noise_reduction"):
                held[name] = value

    @property
    def shown(self) -> Mapping[str, Any]:
        """Return the session as events state it."""
        return self._held

    @property
    def input_rate(self) -> int:
        """Return Hz of the samples that the client sends."""
        return int(self._held["audio"]["input"]["format"]["rate"])

    @property
    def output_rate(self) -> int:
        """Return Hz of the samples that the client gets."""
        return int(self._held["audio"]["output"]["format"]["rate"])

    @property
    def instructions(self) -> str | None:
        """Return the instructions; None without."""
        return self._held["instructions"].strip() or None

    @property
    def modalities(self) -> list[str]:
        """Return the modalities of a reply."""
        return list(self._held["output_modalities"])

    @property
    def max_tokens(self) -> int | None:
        """Return the limit on a reply; None for the model's."""
        limit = self._held["max_output_tokens"]
        return None if limit == "inf" else int(limit)


def check_response(options: Mapping[str, Any], facts: ModelFacts) -> None:
    """Check the options of `response.create`.

    Raises:
        ApiError: an option is unknown, or this server has no such value.
    """
    session = _rules(facts)
    names = ("instructions", "output_modalities", "max_output_tokens", "tools", "tool_choice", "prompt")
    rules = {name: session[name] for name in names} | {
        "metadata": Rule(lambda v: isinstance(v, dict), "an object"),
        "conversation": Rule(lambda v: v in ("auto", "none"), '"auto" or "none"'),
        "input": Rule(lambda v: v is None, "no input: it answers the last turn of the conversation"),
        "audio": Rule(
            lambda v: (
                isinstance(v, dict) and set(v) <= {"output"} and (v.get("output") or {}).keys() <= {"voice"}
            ),
            "the voice alone: set the format with session.update",
        ),
    }
    for name, value in options.items():
        _check(name, value, rules, "response")
    if "audio" in (options.get("output_modalities") or []):
        check_voice(None, facts, "response.output_modalities")
    if voice := ((options.get("audio") or {}).get("output") or {}).get("voice"):
        check_voice(voice, facts, "response.audio.output.voice")


def _check(path: str, value: object, rules: Mapping[str, Rule], whole: str) -> None:
    """Raise ApiError unless a value follows the rule of its path; null is no value."""
    rule = rules.get(path)
    if rule is None:
        raise ApiError(
            400,
            f"unknown parameter {shorten(f'{whole}.{path}')}.{did_you_mean(path, rules)}",
            param=f"{whole}.{path}"[:120],
            code="unknown_parameter",
        )
    if value is not None and not rule.holds(value):
        raise ApiError(
            400,
            f"'{path}' is {shorten(value)}; expected {rule.expected}",
            param=f"{whole}.{path}",
            code="unsupported_value",
        )
