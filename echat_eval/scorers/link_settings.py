"""The settings of a link between judges, as a caller describes them; see `echat_eval.scorers.judge_link`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UsageError
from echat_eval.scorers.judge_settings import JudgeSettings, parse_judges

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FEWEST", "LinkSettings", "number_of_anchors", "parse_link"]

#: Replies that the old judge grades, by default.
ANCHORS = 150
#: Limits of the setting.
FEWEST, MOST = 30, 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """The judge to link to, and the largest number of replies that it grades."""

    judge: JudgeSettings
    anchors: int = ANCHORS


def parse_link(given: Any, judges: Sequence[JudgeSettings]) -> LinkSettings | None:
    """Return the link that a caller describes; None for None.

    Args:
        given: `[NAME=]MODEL`, or the name or the model of one of the judges; or a mapping of a judge's
            settings and `anchors`.
        judges: whose settings a name or a model stands for.

    Raises:
        UnknownName, UsageError: as for judges, or another number of anchors.
    """
    if given is None or isinstance(given, LinkSettings):
        return given
    settings = dict(given) if isinstance(given, Mapping) else {"model": given}
    anchors = number_of_anchors(settings.pop("anchors", ANCHORS))
    if not isinstance(settings.get("model"), str):
        raise UsageError("settings of a link without a judge; name the old judge with --link MODEL")
    name, equals, model = settings["model"].partition("=")
    named = [j for j in judges if (model if equals else name) in (j.name, j.model)]
    if equals:
        settings |= {"name": name, "model": model}
    judge = named[0] if named else parse_judges({k: v for k, v in settings.items() if k != "name"})[0]
    for key, value in settings.items() if named else ():
        if key not in {"model", "name"}:
            judge = judge.with_setting(key, value)
    return LinkSettings(judge=judge, anchors=anchors)


def number_of_anchors(value: Any) -> int:
    """Return the setting `link.anchors`; raise UsageError unless it is a number of anchors that can do."""
    if isinstance(value, bool) or not isinstance(value, int) or not FEWEST <= value <= MOST:
        raise UsageError(f"link.anchors={value!r}: expected a whole number from {FEWEST} to {MOST}")
    return value
