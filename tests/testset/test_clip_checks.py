"""Checks of clips: they judge the very samples that the task will hold."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from echat_eval.io.audio import read_mono
from echat_eval.records import AudioRef
from echat_eval.testset.clip_checks import ClipChecks
from echat_eval.testset.groups import Group
from echat_eval.testset.sentences import Member, Sentence


class Hears:
    """Keeps what it hears; takes everything for a cough."""

    name, version = "hears", "1"

    def __init__(self) -> None:
        self.clips: list[np.ndarray] = []

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        samples, _ = read_mono(audio.path)
        self.clips.append(np.rint(samples * 32768).astype(int))
        return {"events": {"cough": 1.0, "sigh": 0.0}}

    def fingerprint(self) -> str:
        return "hears"

    def settings(self) -> Mapping[str, Any]:
        return {}


def test_annotators_get_the_samples_of_the_task() -> None:
    members = tuple(Member(cues={"event": label}, reply="Bless you.") for label in ("cough", "sigh"))
    sentence = Sentence(id="en-01", language="en", transcript="Hello.", members=members)
    # Every 16-bit value that a clip may have.
    clip = np.arange(-32113, 32114, dtype="<i2")
    plan = SimpleNamespace(checks={"event_rank": 1}, annotators={})
    checks, hears = ClipChecks(cast("Any", plan)), Hears()
    checks.annotators = [cast("Any", hears)]
    dropped = checks.fault_of(Group(sentence=sentence, speaker="ada", clips=(clip, clip)))
    assert dropped is not None
    assert (dropped.reason, dropped.detail) == ("event-not-recognised", "'sigh' has rank 2; cough is first")
    assert len(hears.clips) == 2
    assert all(np.array_equal(samples, clip) for samples in hears.clips)
