"""API keys: the only module that reads them; it also finds the secret parts of URLs."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from echat_eval.errors import UsageError, remember_secret

__all__ = ["KEY_VARIABLES", "api_key", "checked_key", "remember_secrets_of", "secret_from"]

#: Environment variables of the key for chat servers; the first that is set counts.
KEY_VARIABLES = ("ECHAT_EVAL_API_KEY", "OPENAI_API_KEY")
#: Names of query parameters whose value is a secret, such as `api-key`, `access_token` and `sig`.
_SECRET_PARAMETER = re.compile(
    r"key|token|secret|passw|pwd|credential|signature|^sig$|^auth|^code$|jwt|^sas$", re.IGNORECASE
)


def api_key() -> str | None:
    """Return the API key for a chat server, or None if none is set.

    Raises:
        UsageError: no HTTP header can hold the key.
    """
    for variable in KEY_VARIABLES:
        if key := secret_from(variable):
            return key
    return None


def secret_from(variable: str) -> str | None:
    """Return the secret in an environment variable without surrounding white space; None if there is none.

    Raises:
        UsageError: no HTTP header can hold it.
    """
    return checked_key(os.environ.get(variable), variable)


def checked_key(key: str | None, source: str) -> str | None:
    """Return a key without surrounding white space, and keep it out of all messages; None if it is empty.

    Args:
        source: environment variable or setting that holds the key, for the message.

    Raises:
        UsageError: no HTTP header can hold it.
    """
    key = (key or "").strip()
    if not key:
        return None
    remember_secret(key)
    if not all(" " <= character <= "~" for character in key):
        kind = "a control character" if key.isascii() else "a character that is not ASCII"
        raise UsageError(
            f"the key in {source} contains {kind}, which no HTTP header can hold; "
            f"set {source} to the key alone"
        )
    return key


def remember_secrets_of(url: str) -> None:
    """Remember the password and the secret query parameters of a URL for `errors.scrub`."""
    try:
        parts = urlsplit(url)
        userinfo = parts.netloc.rpartition("@")[0]
    except ValueError:
        return
    if password := userinfo.partition(":")[2]:
        remember_secret(password)
        remember_secret(unquote(password))
    for name, value in parse_qsl(parts.query):
        if _SECRET_PARAMETER.search(name):
            remember_secret(value)
