"""Kinds of faults of live servers: what a server does, and what its client must make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["REALTIME_FAULTS", "RealtimeFault", "realtime_table"]

Outcome = Literal["value", "missing", "failed", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeFault:
    """A kind of fault, or an unusual but right answer.

    Attributes:
        does: what the server does.
        outcome: state of the row, or "stop" if the run ends with exit code 2.
        line: a part of the message.
        handshake: status, body and headers of a handshake that is refused.
        dialects: that show it; empty: all.
    """

    does: str
    outcome: Outcome
    line: str = ""
    handshake: tuple[int, Mapping[str, Any], Mapping[str, str]] | None = None
    dialects: tuple[str, ...] = ()


#: Dialects whose session states its settings again.
_STATES = ("openai", "xai")
#: Dialects whose pieces of audio state a rate.
_RATES = ("vllm-omni", "vllm-omni-openai", "gemini")
#: Dialects with an event for a reply that was broken off.
_BREAKS = ("openai", "beta", "xai", "dynamo", "gemini")

REALTIME_FAULTS: Mapping[str, RealtimeFault] = {
    "late": RealtimeFault(does="greets late and replies late", outcome="value"),
    "split-frames": RealtimeFault(does="cuts every message into three frames", outcome="value"),
    "wrong-order": RealtimeFault(
        does="sends the beginning of a reply late, and the end of its audio after its end", outcome="value"
    ),
    "unknown-events": RealtimeFault(does="sends events that no document names", outcome="value"),
    "two-responses": RealtimeFault(does="sends a second reply among the first", outcome="value"),
    "leaves": RealtimeFault(
        does="closes its session after a reply; in a dialogue, a missing row", outcome="value"
    ),
    "other-rate": RealtimeFault(
        does="states 16 kHz where 24 kHz were asked for", outcome="value", dialects=(*_STATES, *_RATES)
    ),
    "changing-rate": RealtimeFault(
        does="changes the sample rate within a reply",
        outcome="failed",
        line="sample rate changes from 24000 to 8000 Hz",
        dialects=_RATES,
    ),
    "torn-base64": RealtimeFault(does="tears a piece of base64", outcome="failed", line="not base64"),
    "odd-bytes": RealtimeFault(does="sends half a sample", outcome="failed", line="odd number of bytes"),
    "endless": RealtimeFault(
        does="never ends a reply",
        outcome="failed",
        line="does not end",
    ),
    "own-error": RealtimeFault(
        does="reports an error of its own in a reply", outcome="failed", line="the model returned nothing"
    ),
    "no-json": RealtimeFault(does="sends text in place of JSON", outcome="failed", line="not strict JSON"),
    "no-object": RealtimeFault(
        does="sends a list in place of an object", outcome="failed", line="is a list; expected an object"
    ),
    "broken-off": RealtimeFault(
        does="breaks its reply off in the middle of silence",
        outcome="failed",
        line="broke its reply off",
        dialects=_BREAKS,
    ),
    "silence": RealtimeFault(does="never replies", outcome="missing", line="no whole reply"),
    "close-mid-reply": RealtimeFault(
        does="closes the connection in the middle of a reply", outcome="missing", line="closed the connection"
    ),
    "cut-mid-reply": RealtimeFault(
        does="cuts the connection in the middle of a reply", outcome="missing", line="before its end"
    ),
    "expired": RealtimeFault(
        does="ends its session in the middle of a reply", outcome="missing", line="maximum duration"
    ),
    "busy": RealtimeFault(does="reports too many requests in a reply", outcome="missing"),
    "rate-limit": RealtimeFault(
        does="refuses the handshake with 429 and a time to wait",
        outcome="missing",
        line="HTTP 429: slow down",
        handshake=(429, {"error": {"message": "slow down"}}, {"retry-after": "0.25"}),
    ),
    "unavailable": RealtimeFault(
        does="refuses the handshake with 503",
        outcome="missing",
        line="HTTP 503",
        handshake=(503, {"error": {"message": "starting"}}, {}),
    ),
    "wrong-key": RealtimeFault(
        does="refuses the handshake with 401",
        outcome="stop",
        line="HTTP 401",
        handshake=(401, {"error": {"message": "Incorrect API key provided."}}, {}),
    ),
    "wrong-key-event": RealtimeFault(
        does="refuses the key after the handshake", outcome="stop", line="Incorrect API key"
    ),
    "unknown-model": RealtimeFault(does="does not know the model", outcome="stop", line="does not exist"),
    "no-quota": RealtimeFault(
        does="reports an exhausted quota", outcome="stop", line="exceeded your current quota"
    ),
    "bad-setting": RealtimeFault(does="refuses a setting", outcome="stop", line="'x' is no 'voice'"),
    "other-turn": RealtimeFault(
        does="keeps its own turn detection", outcome="stop", line="set --set turn=vad", dialects=_STATES
    ),
    "other-dialect": RealtimeFault(
        does="speaks another dialect", outcome="stop", line="speaks another dialect"
    ),
    "elsewhere": RealtimeFault(
        does="redirects the handshake",
        outcome="stop",
        line="redirects to http://127.0.0.2:9/",
        handshake=(307, {}, {"location": "http://127.0.0.2:9/"}),
    ),
    "no-socket": RealtimeFault(
        does="answers the handshake with 200",
        outcome="stop",
        line="opens no WebSocket",
        handshake=(200, {"ok": True}, {}),
    ),
    "interrupted": RealtimeFault(
        does="takes a pause of the query for its end, and breaks its first reply off (turn=vad)",
        outcome="value",
        dialects=("openai", "beta", "xai", "gemini"),
    ),
}


def realtime_table() -> Iterator[str]:
    """Yield the lines of the documents' table."""
    yield "| kind | the server | a system's row |"
    yield "| --- | --- | --- |"
    for name, fault in REALTIME_FAULTS.items():
        outcome = "the run stops" if fault.outcome == "stop" else fault.outcome
        yield f"| `{name}` | {fault.does} | {outcome} |"
