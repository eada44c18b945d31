"""Facts about an imported task that its rows do not state: title, licence, consent, citation, version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from echat_eval.io.schema import TEXT, build_record
from echat_eval.task.folder import FACT_RULES

__all__ = ["FACTS", "TaskFacts", "facts_from"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """Facts that task.yaml states besides the name and the cues; None: not stated.

    Attributes:
        title: in English.
        redistributable: whether the audio may be passed on.
        private: whether the data go to named hosts only, as they do if that is not stated.
        consent: what the speakers agreed to.
        voices: whose voices they are: recorded people, synthetic, cloned.
    """

    title: str | None = None
    description: str | None = None
    version: int | None = None
    licence: str | None = None
    citation: str | None = None
    redistributable: bool | None = None
    private: bool | None = None
    consent: str | None = None
    voices: str | None = None


FACTS = tuple(item.name for item in fields(TaskFacts))


def facts_from(values: Mapping[str, Any], location: str) -> TaskFacts:
    """Return the facts of a mapping.

    Raises:
        BadData: an unknown fact, or one of the wrong type.
    """
    rules = {"title": TEXT, **{key: FACT_RULES[key] for key in FACTS if key in FACT_RULES}}
    return build_record(TaskFacts, dict(values), location, rules)
