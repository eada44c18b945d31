"""Access to the server: its key, and the rule that another host than loopback needs one."""

from __future__ import annotations

import secrets
from pathlib import Path

from echat_eval.clients.keys import checked_key, secret_from
from echat_eval.clients.network import is_loopback
from echat_eval.errors import UsageError

__all__ = ["check_access", "read_key"]

#: Characters. A shorter key can be guessed.
_MIN_KEY = 8


def read_key(variable: str | None, file: Path | None) -> str | None:
    """Return the key that clients must present; None for none.

    Args:
        variable: environment variable that holds it.
        file: that holds it.

    Raises:
        UsageError: both are given, or what is given holds no key.
    """
    if variable is not None and file is not None:
        raise UsageError("--key-env and --key-file both name a key; give one of them")
    advice = f"such as {secrets.token_urlsafe(24)}"
    if variable is not None:
        key, place = secret_from(variable), variable
    elif file is not None:
        try:
            key, place = checked_key(file.read_text(encoding="utf-8"), str(file)), str(file)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise UsageError(f"--key-file {file}: cannot be read: {reason}") from error
    else:
        return None
    if key is None:
        raise UsageError(f"{place} holds no key; store one there, {advice}")
    if len(key) < _MIN_KEY:
        raise UsageError(f"the key in {place} has {len(key)} characters; use {_MIN_KEY} or more, {advice}")
    return key


def check_access(host: str, key: str | None, *, is_open: bool) -> bool:
    """Return whether a host is this machine alone.

    Args:
        is_open: the user wants a server without a key on another host.

    Raises:
        UsageError: the host is another one, and neither a key nor the wish was given.
    """
    shown = f"[{host}]" if ":" in host else host
    if is_loopback(f"http://{shown}"):
        return True
    if key is None and not is_open:
        raise UsageError(
            f"--host {host} lets other machines use this server: set a key with --key-env NAME or "
            "--key-file FILE, or let anyone in with --open"
        )
    return False
