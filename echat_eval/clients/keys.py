"""API keys: the only module that reads them; it also finds the secret parts of URLs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from echat_eval.errors import UsageError, remember_secret

__all__ = [
    "KEY_VARIABLES",
    "api_key",
    "checked_key",
    "is_secret_name",
    "looks_like_secret",
    "remember_known_secrets",
    "remember_secrets_of",
    "secret_from",
]

#: Environment variables of the key for chat servers; the first that is set counts.
KEY_VARIABLES = ("ECHAT_EVAL_API_KEY", "OPENAI_API_KEY")
#: Variables of a token for model and data hubs.
_HUB_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"]+", re.IGNORECASE)
#: Names of query parameters whose value is a secret, such as `api-key`, `access_token` and `sig`.
_SECRET_PARAMETER = re.compile(
    r"key|token|secret|passw|pwd|credential|signature|^sig$|^auth|^code$|jwt|^sas$", re.IGNORECASE
)


#: Names of settings that hold a secret. `max_tokens` and `token_parameter` hold none.
_SECRET_NAME = re.compile(
    r"(.*[_-])?(api[_-]?key|key|token|secret|passw(or)?d|pwd|credentials?|authorization|bearer|jwt)",
    re.IGNORECASE,
)
#: The beginnings of keys of known services, and of the value of a header.
_KEY_FORM = re.compile(r"(sk-|hf_|ghp_|AKIA|xox[abp]-|Bearer\s+)\S{8,}")


def is_secret_name(name: str) -> bool:
    """Return whether a setting or an environment variable of this name holds a secret.

    >>> [is_secret_name(name) for name in ("api_key", "HF_TOKEN", "password", "max_tokens", "model")]
    [True, True, True, False, False]
    """
    return _SECRET_NAME.fullmatch(name) is not None


def looks_like_secret(text: str) -> bool:
    """Return whether a text has the form of a key, or is a URL with a password or a secret parameter.

    >>> [looks_like_secret(text) for text in ("sk-proj-123456789", "http://a:pw@h/", "http://h/?sig=abc")]
    [True, True, True]
    >>> looks_like_secret("sk-learn")
    False
    """
    if _KEY_FORM.match(text.strip()):
        return True
    for url in _URL.findall(text):
        try:
            parts = urlsplit(url)
        except ValueError:
            continue
        if parts.netloc.rpartition("@")[0].partition(":")[2]:
            return True
        if any(value and _SECRET_PARAMETER.search(name) for name, value in parse_qsl(parts.query)):
            return True
    return False


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


def remember_known_secrets(words: Iterable[str], environment: Mapping[str, str]) -> None:
    """Remember the secrets of a command before it does anything that may end in a message.

    Args:
        words: arguments, which may hold URLs.
        environment: variables; keys, and the addresses of proxies.
    """
    for variable in (*KEY_VARIABLES, *_HUB_VARIABLES):
        remember_secret(environment.get(variable, "").strip())
    proxies = [value for name, value in environment.items() if name.lower().endswith("_proxy")]
    for text in (*words, *proxies):
        for url in _URL.findall(text):
            remember_secrets_of(url)


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
