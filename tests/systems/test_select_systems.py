"""Selection of systems: the number of concurrent calls that holds for all of them."""

from __future__ import annotations

import pytest

from echat_eval.errors import UnknownName
from echat_eval.ports import calls_at_once_of
from echat_eval.systems.select import select_systems


def test_a_number_of_calls_holds_for_systems_that_take_several_and_set_none() -> None:
    given = {
        "free": "http://127.0.0.1:9/",
        "own": {"use": "http://127.0.0.1:9/", "calls_at_once": 2},
        "canned": {"text": "Oh."},
    }
    found = {system.name: calls_at_once_of(system) for system in select_systems(given, 8)}
    assert found == {"free": 8, "own": 2, "canned": 1}
    assert [calls_at_once_of(system) for system in select_systems(given)] == [1, 2, 1]


def test_a_fault_of_the_settings_is_still_reported() -> None:
    with pytest.raises(UnknownName, match="unknown setting of system 'a': 'colour'"):
        select_systems({"a": {"use": "canned", "colour": 1}}, 8)
