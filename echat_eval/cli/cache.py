"""`cache`: what earlier runs left to later ones, and how to have less of it."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from echat_eval.errors import Exit, UsageError

if TYPE_CHECKING:
    from echat_eval.store.cache import Cache

__all__ = ["cache", "opened_cache"]

_SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_AGES = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def opened_cache() -> Cache:
    """Return the user's cache, wherever the environment says that it lies."""
    from echat_eval.store.cache import Cache, cache_folder

    return Cache(cache_folder(os.environ))


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
    """Show the cache: replies, annotations and verdicts of earlier runs, found again by their content.

    It lies in $ECHAT_EVAL_CACHE, or else in $XDG_CACHE_HOME/echat-eval, or else in ~/.cache/echat-eval.
    The end of a run leaves at most 10 GB in it; what was used longest ago goes first.
    """
    if context.invoked_subcommand is None:
        _show()
    return Exit.DONE


@cache.command()
@click.option("--older-than", metavar="AGE", help="Remove what was not used for so long, such as 12h or 30d.")
@click.option(
    "--larger-than", metavar="SIZE", help="Remove what was used longest ago until at most 2GB stay."
)
def prune(older_than: str | None, larger_than: str | None) -> int:
    """Remove what was used longest ago."""
    from echat_eval.store import cache_prune

    if older_than is None and larger_than is None:
        raise UsageError("nothing to prune by; give --older-than AGE, --larger-than SIZE or both")
    before = None if older_than is None else time.time() - _age(older_than)
    limit = None if larger_than is None else _size(larger_than)
    with opened_cache() as found:
        had = cache_prune.contents(found).bytes
        gone = cache_prune.prune(found, before=before, limit=limit)
        left = cache_prune.contents(found).bytes
    click.echo(f"removed {gone:,} rows; {_shown(had)} before, {_shown(left)} now")
    return Exit.DONE


@cache.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(yes: bool) -> int:
    """Remove everything, also a cache that cannot be read any more."""
    from echat_eval.store import cache_prune

    with opened_cache() as found:
        size = cache_prune.contents(found).bytes
        if not size:
            click.echo(f"{found.folder}: empty already")
            return Exit.DONE
        if not yes:
            click.confirm(f"Remove {_shown(size)} from {found.folder}?", abort=True)
        cache_prune.clear(found)
    click.echo(f"removed {_shown(size)}")
    return Exit.DONE


def _show() -> None:
    from echat_eval.store.cache_prune import contents

    with opened_cache() as found:
        held = contents(found)
    click.echo(f"place: {found.folder}\nsize: {_shown(held.bytes)}")
    for kind, count in held.rows.items():
        click.echo(f"{kind}s: {count:,}")
    if held.oldest is not None and held.newest is not None:
        click.echo(f"last used: from {_day(held.oldest)} to {_day(held.newest)}")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _shown(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def _age(text: str) -> float:
    """Return seconds.

    >>> _age("12h")
    43200.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text.strip())
    if not found:
        raise UsageError(f"--older-than {text!r}: expected a number and m, h, d or w, such as 30d")
    return float(found.group(1)) * _AGES[found.group(2)]


def _size(text: str) -> int:
    """Return bytes.

    >>> _size("2GB"), _size("500")
    (2000000000, 500)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
    if not found:
        raise UsageError(f"--larger-than {text!r}: expected a size such as 500MB or 2GB")
    return int(float(found.group(1)) * _SIZES[found.group(2)])
