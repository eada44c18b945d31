"""`cache`: show, prune or clear the results that runs share."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from echat_eval.cli.terminal import show
from echat_eval.errors import Exit, UsageError

if TYPE_CHECKING:
    from echat_eval.store.cache import Cache

__all__ = ["cache"]

_SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_AGES = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def _opened() -> Cache:
    from echat_eval.store.shared_cache import open_cache

    return open_cache(os.environ)


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  echat-eval cache
  echat-eval cache prune --older-than 30d --larger-than 2GB
  echat-eval cache clear --yes""",
)
@click.pass_context
def cache(context: click.Context) -> int:
    """Show the cache: replies, annotations and verdicts of earlier runs, keyed by content.

    Folder: $ECHAT_EVAL_CACHE, else $XDG_CACHE_HOME/echat-eval, else ~/.cache/echat-eval.
    Each run ends by pruning it to 10 GB, least recently used entries first.
    """
    if context.invoked_subcommand is None:
        _show()
    return Exit.DONE


@cache.command()
@click.option("--older-than", metavar="AGE", help="Remove entries unused for this long, such as 12h or 30d.")
@click.option(
    "--larger-than",
    metavar="SIZE",
    help="Remove the least recently used entries down to this size, such as 2GB.",
)
def prune(older_than: str | None, larger_than: str | None) -> int:
    """Remove the least recently used entries."""
    from echat_eval.store import cache_prune

    if older_than is None and larger_than is None:
        raise UsageError("nothing to prune by; give --older-than AGE, --larger-than SIZE or both")
    before = None if older_than is None else time.time() - _age(older_than)
    limit = None if larger_than is None else _size(larger_than)
    with _opened() as opened:
        size_before = cache_prune.contents(opened).bytes
        removed = cache_prune.prune(opened, before=before, limit=limit)
        size_now = cache_prune.contents(opened).bytes
    show(f"removed {removed:,} rows; {_format_size(size_before)} before, {_format_size(size_now)} now")
    return Exit.DONE


@cache.command()
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def clear(yes: bool) -> int:
    """Remove all entries, even from a cache that cannot be read."""
    from echat_eval.store import cache_prune

    with _opened() as opened:
        size = cache_prune.contents(opened).bytes
        if not size:
            show(f"{opened.folder}: already empty")
            return Exit.DONE
        if not yes:
            click.confirm(f"Remove {_format_size(size)} from {opened.folder}?", abort=True)
        cache_prune.clear(opened)
    show(f"removed {_format_size(size)}")
    return Exit.DONE


def _show() -> None:
    from echat_eval.store.cache_prune import contents

    with _opened() as opened:
        held = contents(opened)
    show(f"folder: {opened.folder}", f"size: {_format_size(held.bytes)}")
    for kind, count in held.rows.items():
        show(f"{kind}s: {count:,}")
    if held.oldest is not None and held.newest is not None:
        show(f"last used: from {_format_time(held.oldest)} to {_format_time(held.newest)}")


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _format_size(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def _age(text: str) -> float:
    """Return an age in seconds.

    >>> _age("12h")
    43200.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text.strip())
    if not match:
        raise UsageError(f"--older-than {text!r}: expected a number and m, h, d or w, such as 30d")
    return float(match.group(1)) * _AGES[match.group(2)]


def _size(text: str) -> int:
    """Return a size in bytes.

    >>> _size("2GB"), _size("500")
    (2000000000, 500)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
    if not match:
        raise UsageError(f"--larger-than {text!r}: expected a size such as 500MB or 2GB")
    return int(float(match.group(1)) * _SIZES[match.group(2)])
