"""Members of foreign objects: the ones that a protocol declares, and nothing else, are asked for."""

from __future__ import annotations

from typing import Any

import pytest

from echat_eval.errors import UsageError
from echat_eval.plugins import absent_members, present_members, renamed, require_members
from echat_eval.ports import BatchSystem, Closable, LanguageLimited, Oracle, System
from echat_eval.testing import ScriptedAnnotator, ScriptedOracle, ScriptedSystem


def test_absent_members_are_listed_attributes_first() -> None:
    assert absent_members(ScriptedSystem(), BatchSystem) == ["batch_size", "respond_batch"]
    assert absent_members(ScriptedSystem(batch_size=2), BatchSystem) == []
    assert absent_members(object(), System) == ["name", "respond", "fingerprint", "settings"]


def test_present_members_are_those_of_the_protocols_only() -> None:
    annotator = ScriptedAnnotator({"a": 1}, languages=("en",))
    members = present_members(annotator, LanguageLimited, BatchSystem, Closable)
    assert members == {"languages": ("en",), "close": annotator.close}


@pytest.mark.parametrize("part", [ScriptedSystem(), ScriptedOracle(lambda sample: "Oh.")])
def test_one_complete_protocol_is_enough(part: Any) -> None:
    require_members("system", part, System, Oracle)


def test_a_message_lists_the_members_of_the_nearest_protocol() -> None:
    class AlmostOracle:
        name, role = "x", "floor"

        def respond_to(self, sample: object) -> None: ...

        def fingerprint(self) -> None: ...

    with pytest.raises(UsageError) as error:
        require_members("system", AlmostOracle(), System, Oracle)
    assert str(error.value) == (
        "system: got AlmostOracle without settings; expected a name, a spec, or an object with name, role, "
        "respond_to, fingerprint, settings"
    )


def test_a_renamed_object_is_a_copy() -> None:
    system = ScriptedSystem("Oh.", "old")
    assert renamed("system", system, "old") is system
    other = renamed("system", system, "new")
    assert (other.name, system.name) == ("new", "old")
