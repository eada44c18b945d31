"""Limits of the server: what one client may take of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on requests, sessions and replies.

    Attributes:
        body_bytes: of a request, and of one message of a session.
        audio_seconds: of one recording; the model's own limit holds as well.
        connections: requests and sessions at once.
        reply_seconds: from a request to the end of its reply.
        upload_seconds: for a request to arrive.
        idle_seconds: of a session in which nothing happens.
        session_seconds: of a session.
        grace_seconds: for replies in progress when the server ends.
        audio_hosts: hosts from which `audio_url` may be fetched.
    """

    body_bytes: int = 32 * 2**20
    audio_seconds: float = 400.0
    connections: int = 256
    reply_seconds: float = 120.0
    upload_seconds: float = 60.0
    idle_seconds: float = 600.0
    session_seconds: float = 3600.0
    grace_seconds: float = 30.0
    audio_hosts: frozenset[str] = frozenset()
