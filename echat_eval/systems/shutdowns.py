"""Announced shutdowns of models: a dated table that ships, and the date in a server's list."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from echat_eval.io.data_folder import data_folder
from echat_eval.io.schema import Rule, Schema, text
from echat_eval.io.strict_yaml import read_yaml
from echat_eval.systems.settings_files import is_day, system_settings, system_settings_names

__all__ = ["Shutdown", "note_listed_shutdown", "shutdown_of", "shutdowns", "stale_systems"]

logger = logging.getLogger(__name__)

_DAY = Rule(is_day, "a day, YYYY-MM-DD")
_ENTRY = Schema(
    {
        "provider": text("a provider"),
        "host": text("a host"),
        "date": _DAY,
        "replacement": text("a model, or 'not stated'"),
        "read": _DAY,
        "source": text("where it was read"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """An announcement.

    Attributes:
        model: as it is asked for.
        host: of the provider; a server of one's own may go on.
        day: last day of service.
        read: day on which the source was looked up.
    """

    model: str
    provider: str
    host: str
    day: date
    replacement: str
    read: date
    source: str

    def line(self, today: date) -> str:
        """Return one line for the user.

        >>> shutdown_of("gpt-4o-2024-11-20", None).line(date(2026, 11, 30))
        'OpenAI stops serving gpt-4o-2024-11-20 on 2027-01-14, in 45 days; it names gpt-6-luna instead'
        """
        days = (self.day - today).days
        if days < 0:
            when = f"stopped serving {self.model} on {self.day}"
        else:
            when = f"stops serving {self.model} on {self.day}, in {days} day{'' if days == 1 else 's'}"
        instead = "" if self.replacement == "not stated" else f"; it names {self.replacement} instead"
        return f"{self.provider} {when}{instead}"


@cache
def shutdowns() -> Mapping[str, Shutdown]:
    """Return model -> announcement, of the table that ships.

    Raises:
        BadData: an entry is invalid; the message names file and line.
    """
    shown = "baselines/shutdowns.yaml"
    file = read_yaml(data_folder("baselines") / "shutdowns.yaml", shown=shown)
    found = {}
    for model, entry in file.content.items():
        _ENTRY.check(entry, f"{shown}:{file.lines[model]}: {model}")
        days = {name: date.fromisoformat(entry[name]) for name in ("date", "read")}
        found[model] = Shutdown(
            model=model,
            provider=entry["provider"],
            host=entry["host"],
            day=days["date"],
            replacement=entry["replacement"],
            read=days["read"],
            source=entry["source"],
        )
    return found


def shutdown_of(model: str, url: str | None) -> Shutdown | None:
    """Return the announcement for a model at a server; None if there is none.

    Args:
        url: of the server; None for the model's own provider.
    """
    found = shutdowns().get(model)
    if found is None or (url is not None and urlsplit(url).hostname != found.host):
        return None
    return found


def stale_systems() -> dict[str, Shutdown]:
    """Return shipped settings -> announcement for the model that they name."""
    found = {}
    for name in system_settings_names():
        settings = system_settings(name).settings
        if (shutdown := shutdown_of(str(settings.get("model")), settings.get("url"))) is not None:
            found[name] = shutdown
    return found


def note_listed_shutdown(model: str, entry: Mapping[str, Any]) -> None:
    """Warn if a server's list of models states the day on which it stops serving one."""
    day = entry.get("shutdown_date")
    if isinstance(day, str) and is_day(day):
        logger.warning("the server stops serving %s on %s, as its list of models states", model, day)
