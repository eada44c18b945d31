"""One crest factor for the clips of a group, so that the peak does not tell the label."""

from __future__ import annotations

import numpy as np
import pytest

from echat_eval.checks.task_data import Labelled
from echat_eval.checks.task_features import decibel_features
from echat_eval.checks.task_leaks import leak_of
from echat_eval.errors import BadData
from echat_eval.records import Cue, Waveform
from echat_eval.testset import groups
from echat_eval.testset.clips import Part, clips_of
from echat_eval.testset.limiter import active_rms, crest_factor, limited
from echat_eval.testset.plan import ClipPlan
from echat_eval.testset.vocoder import RATE

GROUPS = 10


def voice(hertz: float, seed: int) -> np.ndarray:
    """Return a second of pulses: the lower their frequency, the higher the peak above the level."""
    loudness = np.random.default_rng(seed).uniform(0.4, 1.0, 9)
    pulses = np.zeros(RATE)
    pulses[:: round(RATE / hertz)] = 1.0
    pulses *= np.interp(np.arange(RATE), np.linspace(0, RATE, 9), loudness)
    return np.convolve(pulses, np.exp(-np.arange(40) / 6.0), "same")


def groups_of(*, equal_peaks: bool) -> list[list[np.ndarray]]:
    """Return groups of a high and a low voice."""
    form = ClipPlan(seconds=1.4, equal_peaks=equal_peaks)
    groups = []
    for seed in range(GROUPS):
        parts = [
            Part(speech=voice(hertz, seed), event=None, random=np.random.default_rng([seed, number]))
            for number, hertz in enumerate((180.0, 130.0))
        ]
        groups.append(clips_of(parts, form))
    return groups


def decibels(value: float) -> float:
    return float(20 * np.log10(value))


def test_the_peak_stops_to_tell_the_label_and_nothing_else_changes() -> None:
    plain, levelled = groups_of(equal_peaks=False), groups_of(equal_peaks=True)
    crests = {
        name: [[decibels(crest_factor(clip)) for clip in clips] for clips in groups]
        for name, groups in (("plain", plain), ("limited", levelled))
    }
    task = Labelled(
        cue=Cue(name="gender", labels=("female", "male")),
        rows=np.arange(2 * GROUPS),
        labels=("female", "male"),
        codes=np.tile([0, 1], GROUPS),
        groups=np.repeat(np.arange(GROUPS), 2),
    )
    leaks = {
        name: leak_of(task, decibel_features([c for pair in pairs for c in pair], task.groups))
        for name, pairs in crests.items()
    }
    assert leaks["plain"].refused
    assert not leaks["limited"].refused
    assert 2 <= sum(low > high for high, low in crests["limited"]) <= 8  # of 10; 10 without the limiter
    for plain_clips, limited_clips, (high, low) in zip(plain, levelled, crests["limited"], strict=True):
        # 1.4 dB without the limiter.
        assert high == pytest.approx(low, abs=0.8)
        lowest = min(decibels(crest_factor(clip)) for clip in plain_clips)
        assert -0.8 < low - lowest < 0.3
        for one, other in zip(plain_clips, limited_clips, strict=True):
            assert len(one) == len(other) == round(1.4 * RATE)
            assert decibels(active_rms(other)) == pytest.approx(decibels(active_rms(one)), abs=0.3)
            # The same noise in the silence before the sound, and no sample that stands at the peak for long.
            assert np.diff(other[:800]).std() == pytest.approx(np.diff(one[:800]).std(), rel=0.15)
            at_peak = np.abs(other) > 0.999 * np.abs(other).max()
            assert not (at_peak[:-2] & at_peak[1:-1] & at_peak[2:]).any()


def test_a_peak_that_cannot_be_lowered_as_far_drops_the_group() -> None:
    noise = np.random.default_rng(0).uniform(-1.0, 1.0, RATE)
    with pytest.raises(BadData, match=r"clip\.equal_peaks: .* above the level; expected 4\.\d dB"):
        limited([noise, voice(10.0, 0)], [np.random.default_rng(0)] * 2)


@pytest.mark.parametrize("sound", [np.zeros(RATE), np.zeros(0), np.ones(RATE // 100)])
def test_silence_has_no_level(sound: np.ndarray) -> None:
    with pytest.raises(BadData, match="s of silence; expected sound"):
        active_rms(sound)


@pytest.mark.parametrize("samples", [0, 40, RATE])
def test_a_voice_that_is_silent_is_named(samples: int) -> None:
    silent = Waveform(samples=np.zeros(samples, dtype=np.float32), sample_rate=RATE)
    with pytest.raises(BadData, match="spoke silence"):
        groups._without_silence(silent)
