"""Settings in words: what the constructor and the docstring of a part state, for every shipped part."""

from __future__ import annotations

import pytest

from echat_eval.annotators import ANNOTATORS
from echat_eval.plugins import described_settings, load_named
from echat_eval.scorers import SCORERS
from echat_eval.systems import SYSTEMS
from echat_eval.systems.http import Http


class Shared:
    """A part.

    Args:
        low, high: ends of
            the range.
        plain

    Returns:
        other: not an argument.
    """

    def __init__(self, low: int, high: int | None = None, plain: str = "", **more: int) -> None: ...


def test_arguments_that_share_an_entry_have_its_meaning() -> None:
    low, high, plain = described_settings(Shared)
    assert (low.expected, low.default, low.meaning) == ("a whole number", None, "ends of the range. plain")
    assert (high.expected, high.default, high.meaning) == ("a whole number", "null", low.meaning)
    assert (plain.expected, plain.default, plain.meaning) == ("text", "''", "")


def test_a_shipped_system_is_described_by_its_docstring() -> None:
    described = {each.name: each for each in described_settings(Http)}
    assert described["url"].default is None
    assert described["send"].expected == "audio or json"
    assert described["timeout"].meaning.startswith("seconds per reply")


@pytest.mark.parametrize(
    ("kind", "table"), [("system", SYSTEMS), ("annotator", ANNOTATORS), ("scorer", SCORERS)]
)
def test_every_setting_of_a_shipped_part_has_a_meaning(kind: str, table: dict[str, str]) -> None:
    unknown = [
        f"{name}: {each.name}"
        for name in table
        for each in described_settings(load_named(kind, name, table))
        if not each.meaning
    ]
    assert unknown == []
