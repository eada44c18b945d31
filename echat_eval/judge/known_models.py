"""Models that ship with settings as judges in `baselines/judges.yaml`: parameters, address, how to serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from echat_eval.io.data_folder import data_folder
from echat_eval.io.schema import ANYTHING, STRING, Rule, Schema, mapping_of, text
from echat_eval.io.strict_yaml import read_yaml
from echat_eval.systems.settings_files import is_day

__all__ = ["KnownModel", "known_model", "known_models"]

_ENTRY = Schema(
    {
        "title": STRING,
        "model": text("a model"),
        "url": STRING.optional(),
        "settings": mapping_of(ANYTHING, "a mapping of parameters of the requests"),
        "served": STRING,
        "untested": STRING,
        "source": STRING,
        "date": Rule(is_day, "the day on which the source was read, YYYY-MM-DD"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """One entry.

    Attributes:
        name: for `--judge`; of a hosted model, the model itself.
        url: base URL of its server; None for OpenAI.
        settings: parameters of the requests, as `JudgeParameters`.
        served: how to start its server, or who serves it.
        untested: parts that were not tested.
    """

    name: str
    title: str
    model: str
    url: str | None
    settings: Mapping[str, Any]
    served: str
    untested: str


@cache
def known_models() -> Mapping[str, KnownModel]:
    """Return name -> entry.

    Raises:
        BadData: an entry is invalid; the message names file and line.
    """
    shown = "baselines/judges.yaml"
    file = read_yaml(data_folder("baselines") / "judges.yaml", shown=shown)
    found = {}
    for name, entry in file.content.items():
        _ENTRY.check(entry, f"{shown}:{file.lines[name]}: {name}")
        facts = {key: entry[key] for key in ("title", "model", "settings", "served", "untested")}
        found[name] = KnownModel(name=name, url=entry.get("url"), **facts)
    return found


def known_model(model: str, url: str | None) -> KnownModel | None:
    """Return the entry of a model at a server; None if there is none.

    Args:
        url: None for OpenAI.
    """
    return next((m for m in known_models().values() if (m.model, m.url) == (model, url)), None)
