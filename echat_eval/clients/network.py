"""Network policy of every client: addresses, proxies and certificates."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import (  # type: ignore[attr-defined]
    getproxies_environment,
    proxy_bypass_environment,
)

from echat_eval.clients.keys import remember_secrets_of
from echat_eval.errors import UsageError

__all__ = [
    "check_url",
    "endpoint",
    "is_loopback",
    "origin_of",
    "proxy_for",
    "refuse_unread_url",
    "socket_url",
    "ssl_context_for",
    "without_query",
]

#: Schemes of a proxy's address that the transport supports.
PROXY_SCHEMES = ("http", "https")


#: Other clients of OpenAI's API read their server's address from it.
URL_VARIABLE = "OPENAI_BASE_URL"


def refuse_unread_url(default: str, option: str) -> None:
    """Raise UsageError if `OPENAI_BASE_URL` names another server than the default one.

    It is not read, because no data may go to a server that the command does not name. It may be set,
    such as for a proxy of an organisation, where data are not meant for the default server either.

    Args:
        option: names a server, such as "--judge-url".
    """
    url = os.environ.get(URL_VARIABLE, "").strip()
    if url and url.rstrip("/") != default:
        remember_secrets_of(url)
        raise UsageError(
            f"{URL_VARIABLE} is {url!r}, and is not read; give {option} the address of the server, or unset "
            f"{URL_VARIABLE} to send to {default}"
        )


def check_url(url: str, label: str) -> str:
    """Return the URL, or raise UsageError unless it is http(s) with a host and without credentials."""
    remember_secrets_of(url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{label} {url!r} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{label} {url!r}: expected http://host:port/path or https://host/path")
    if parts.username or parts.password:
        raise UsageError(
            f"{label} contains a user name or password, which would be stored in the manifest; remove them"
        )
    return url


def socket_url(url: str, label: str) -> str:
    """Return the http(s) form of a WebSocket's URL, for which proxies, certificates and hosts are the same.

    >>> socket_url("wss://h/v1/realtime", "url"), socket_url("http://h:1/x", "url")
    ('https://h/v1/realtime', 'http://h:1/x')
    """
    scheme, colon, rest = url.partition("://")
    plain = {"ws": "http", "wss": "https"}.get(scheme.lower(), scheme)
    try:
        check_url(f"{plain}{colon}{rest}", label)
    except UsageError as error:
        if plain in ("http", "https"):
            raise
        raise UsageError(f"{label} {url!r}: expected ws://host:port/path or wss://host/path") from error
    return f"{plain}{colon}{rest}"


def endpoint(base_url: str, path: str) -> str:
    """Return the URL of a path below a base URL, which may have a query or already end in the path.

    >>> endpoint("http://h/v1/", "chat/completions")
    'http://h/v1/chat/completions'
    >>> endpoint("https://h/openai/gpt?api-version=1", "models")
    'https://h/openai/gpt/models?api-version=1'
    >>> endpoint("http://h/v1/chat/completions", "models")
    'http://h/v1/models'
    """
    parts = urlsplit(base_url)
    base = parts.path.rstrip("/").removesuffix("/chat/completions")
    return urlunsplit((parts.scheme, parts.netloc, f"{base}/{path}", parts.query, ""))


def without_query(url: str) -> str:
    """Return a URL without its query, which may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL.

    >>> origin_of("https://H:443/v1"), origin_of("https://h.")
    ('https://h:443', 'https://h.:443')
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or {'http': 80, 'https': 443}[parts.scheme]}"


def is_loopback(url: str) -> bool:
    """Return whether a URL names this machine.

    >>> is_loopback("http://127.0.0.2:8000/v1"), is_loopback("http://[::1]/"), is_loopback("http://h/")
    (True, True, False)
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for a URL; never one for this machine.

    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count, in lower case too; NO_PROXY may hold networks such
    as 10.0.0.0/8.

    Raises:
        UsageError: the variable holds no address of an HTTP proxy.
    """
    if is_loopback(url):
        return None
    proxies = getproxies_environment()
    scheme, netloc = urlsplit(url).scheme, urlsplit(url).netloc.rpartition("@")[2]
    name = scheme if proxies.get(scheme) else "all"
    proxy = proxies.get(name)
    if not proxy or proxy_bypass_environment(netloc, proxies) or _in_networks(url, proxies.get("no", "")):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    remember_secrets_of(proxy)
    parts = urlsplit(proxy)
    if parts.scheme not in PROXY_SCHEMES or not parts.hostname:
        raise UsageError(
            f"{name.upper()}_PROXY is a {parts.scheme} address; expected http://host:port, "
            f"or {parts.hostname or 'the server'} in NO_PROXY"
        )
    return proxy


def _in_networks(url: str, no_proxy: str) -> bool:
    try:
        address = ip_address(urlsplit(url).hostname or "")
    except ValueError:
        return False
    for part in no_proxy.split(","):
        try:
            if "/" in part and address in ip_network(part.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False


def ssl_context_for(url: str) -> Any:
    """Return the certificates that a server must match; True for plain http, which needs none.

    SSL_CERT_FILE and SSL_CERT_DIR replace the bundled authorities.

    Raises:
        UsageError: SSL_CERT_FILE or SSL_CERT_DIR does not exist, or holds no certificates.
    """
    if not url.startswith("https://"):
        return True
    return _ssl_context(os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None)


@lru_cache(maxsize=4)  # loading certificates is slow
def _ssl_context(file: str | None, folder: str | None) -> ssl.SSLContext:
    if file is None and folder is None:
        import certifi

        return ssl.create_default_context(cafile=certifi.where())
    if folder is not None and not os.path.isdir(folder):
        raise UsageError(f"SSL_CERT_DIR={folder}: no such folder; name a folder of certificates, or unset it")
    try:
        return ssl.create_default_context(cafile=file, capath=folder)
    except OSError as error:  # an SSLError is one too
        raise UsageError(
            f"SSL_CERT_FILE={file}: {error.strerror or error}; name a file of certificates (PEM), or unset it"
        ) from error
