"""One clip per label: speech in a manner, an event beside it, one level, one length, faint noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData
from echat_eval.testset.limiter import active_rms, limited
from echat_eval.testset.vocoder import RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from echat_eval.testset.plan import ClipPlan

    Floats = NDArray[np.float64]

__all__ = ["LONGEST_EVENT", "Part", "Placed", "clips_of", "room_for_speech"]

#: Least silence at either end, and at both together, seconds.
EDGE, SPARE = 0.06, 0.28
#: Range of the pause between an event and the words, seconds; `measures` needs one to tell them apart.
GAP = (0.27, 0.34)
#: Longest event, seconds.
LONGEST_EVENT = 1.15
#: Largest sample.
_PEAK = 0.98
#: Below all voices, Hz.
_LOWEST = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An event and its place.

    Attributes:
        sound: (samples,).
        level_db: of its active parts against those of the speech.
        last: after the words.
    """

    sound: Floats
    level_db: float
    last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Speech and sound of one clip.

    Attributes:
        speech: (samples,).
        event: None for words alone.
        random: draws the pause, the place and the noise.
    """

    speech: Floats
    event: Placed | None
    random: np.random.Generator


def room_for_speech(form: ClipPlan, event: float) -> float:
    """Return the seconds that are left for the words beside an event of this length; 0: no event."""
    used = event + GAP[1] if event else 0.0
    return form.seconds - SPARE - used


def clips_of(parts: Sequence[Part], form: ClipPlan) -> list[Floats]:
    """Return the clips of a group, (samples,) each.

    Raises:
        BadData: one does not fit, or its peak is too high.
    """
    sounds = [_placed(part, form) for part in parts]
    if form.equal_peaks:
        sounds = limited(sounds, [part.random for part in parts])
    return [_finished(sound, form, part.random) for sound, part in zip(sounds, parts, strict=True)]


def _placed(part: Part, form: ClipPlan) -> Floats:
    """Return words and event in silence of a clip's length.

    The sound begins at a random moment of all the time that it leaves: were one end short, the length of the
    other would tell how fast the words are.
    """
    from scipy.signal import butter, sosfiltfilt

    audio = part.speech / active_rms(part.speech)
    if (event := part.event) is not None:
        sound = event.sound * (10 ** (event.level_db / 20) / active_rms(event.sound))
        pause = np.zeros(round(part.random.uniform(*GAP) * RATE))
        audio = np.concatenate([audio, pause, sound] if event.last else [sound, pause, audio])
    total = round(form.seconds * RATE)
    spare = form.seconds - len(audio) / RATE - 2 * EDGE
    if spare < 0:
        raise BadData(f"{len(audio) / RATE:.2f} s of sound; expected at most {form.seconds - 2 * EDGE:.2f} s")
    start = round((EDGE + part.random.uniform(0.0, spare)) * RATE)
    clip = np.zeros(total)
    clip[start : start + len(audio)] = audio
    # An offset would tell which clips have an event, and raise the level of their silence.
    return np.asarray(sosfiltfilt(butter(2, _LOWEST, "highpass", fs=RATE, output="sos"), clip))


def _finished(sound: Floats, form: ClipPlan, random: np.random.Generator) -> Floats:
    """Return a sound at the level of all clips, with their noise."""
    clip = sound * (10 ** (form.active_db / 20) / active_rms(sound))
    clip += random.standard_normal(len(clip)) * 10 ** (form.noise_db / 20)
    clip -= clip.mean()
    if (peak := float(np.abs(clip).max())) > _PEAK:
        raise BadData(f"peak {peak:.2f}; expected at most {_PEAK:g}: lower clip.active_db")
    return clip
