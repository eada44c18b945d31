"""Sounds beside the words: from a folder of recordings, synthesised, or from a class of your own."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from echat_eval.errors import UsageError
from echat_eval.io.audio import read_mono
from echat_eval.io.hashing import digest
from echat_eval.plugins.names import load_file
from echat_eval.plugins.settings import construct
from echat_eval.testset.clips import LONGEST_EVENT
from echat_eval.testset.event_takes import TAKES
from echat_eval.testset.synthetic_events import DRAWS, EVENTS, RATE, synthetic_event

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from echat_eval.testset.plan import Plan

    Floats = NDArray[np.float64]

__all__ = ["EventSource", "FolderEvents", "SynthesisedEvents", "events_for"]

#: Category of ESC-50, or word in a file name of VocalSound -> label.
_CATEGORIES: Mapping[str, str] = MappingProxyType(
    {
        "coughing": "cough",
        "cough": "cough",
        "laughing": "laugh",
        "laughter": "laugh",
        "sneezing": "sneeze",
        "sneeze": "sneeze",
        "crying_baby": "cry",
        "sigh": "sigh",
        "throatclearing": "throat clearing",
    }
)
#: VocalSound's names: speaker, number, sound.
_VOCALSOUND = re.compile(r"([a-z]\d{4})_\d_(\w+)\.wav")
#: dB below the loudest frame at which it ends.
_SILENT_DB = 30.0


class EventSource(Protocol):
    """Where the sounds come from."""

    #: Licence of the sounds, for the data card.
    licence: str

    def event(self, label: str, *, speaker: str, pitch: float, number: int) -> Floats:
        """Return (samples,) at 16 kHz.

        Args:
            label: of the event cue.
            speaker: name of the speaker.
            pitch: the speaker's median F0, Hz.
            number: counts the events of a label, so that each gets another recording.
        """

    def fingerprint(self) -> str:
        """Return a hash of what determines the sounds."""


class SynthesisedEvents:
    """Noise and pulses through formant filters; see `synthetic_events`."""

    licence = "computed from noise and pulses; no recording"

    def event(self, label: str, *, speaker: str, pitch: float, number: int) -> Floats:
        """Return a chosen take, or a random one of a label without; the noise is another each time."""
        if label not in EVENTS:
            raise UsageError(f"no synthetic '{label}'; expected {', '.join(EVENTS)}, or events: {{folder:}}")
        takes = TAKES.get(label) or [np.random.default_rng([number, *label.encode()]).random(DRAWS).tolist()]
        return synthetic_event(label, takes[number % len(takes)], pitch, seed=number)

    def fingerprint(self) -> str:
        """Return the hash of the takes."""
        return digest("synthetic events 1", {label: list(map(list, takes)) for label, takes in TAKES.items()})


class FolderEvents:
    """Recordings in the form of ESC-50 (`meta/esc50.csv`, `audio/`) or VocalSound (`f0003_0_cough.wav`).

    Args:
        folder: the folder.
        licence: of the recordings.
    """

    def __init__(self, folder: Path, licence: str) -> None:
        self.licence = licence or f"recordings of {folder.name}; state their licence in the plan"
        self.files = _esc50(folder) or _vocalsound(folder)
        if not self.files:
            raise UsageError(
                f"{folder}: no event recording; expected meta/esc50.csv with audio/, or files such as "
                "f0003_0_cough.wav"
            )

    def event(self, label: str, *, speaker: str, pitch: float, number: int) -> Floats:
        """Return one recording, its silent ends removed, at most `LONGEST_EVENT` long."""
        files = self.files.get(label)
        if not files:
            raise UsageError(f"no recording of '{label}'; there are {', '.join(sorted(self.files))}")
        sound, _ = read_mono(files[number % len(files)], rate=RATE)
        return _trimmed(sound.astype(np.float64))

    def fingerprint(self) -> str:
        """Return the hash of the names and sizes of the recordings."""
        names = [(p.name, p.stat().st_size) for files in self.files.values() for p in files if p.is_file()]
        return digest("event folder 1", sorted(names))


def _esc50(folder: Path) -> dict[str, list[Path]]:
    table = folder / "meta" / "esc50.csv"
    found: dict[str, list[Path]] = {}
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if (label := _CATEGORIES.get(row.get("category", ""))) is not None:
                    found.setdefault(label, []).append(folder / "audio" / Path(row["filename"]).name)
    return found


def _vocalsound(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.wav")):
        match = _VOCALSOUND.fullmatch(path.name)
        if match and (label := _CATEGORIES.get(match[2])) is not None:
            found.setdefault(label, []).append(path)
    return found


def _trimmed(sound: Floats) -> Floats:
    step = RATE // 50
    frames = sound[: len(sound) // step * step].reshape(-1, step)
    level = 10 * np.log10((frames**2).mean(axis=1) + 1e-12)
    loud: Sequence[int] = np.flatnonzero(level > level.max() - _SILENT_DB).tolist()
    start = loud[0] * step
    return sound[start : min(start + round(LONGEST_EVENT * RATE), (loud[-1] + 1) * step)]


def events_for(plan: Plan) -> EventSource:
    """Return the source of events that a plan names."""
    events = plan.events
    if events.use is not None:
        made = load_file("events", str(plan.path(events.use)))
        if made is None:
            raise UsageError(f"events '{events.use}': expected FILE.py:CLASS")
        return cast("EventSource", construct("events", events.use, made, {}))
    if events.folder is not None:
        return FolderEvents(plan.path(events.folder), events.licence)
    return SynthesisedEvents()
