"""Contrast groups: a sentence in all its voices by one speaker, as clips in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.errors import BadData
from echat_eval.io.audio import read_mono, write_wav
from echat_eval.io.hashing import digest
from echat_eval.io.jsonl import Appender, read_rows
from echat_eval.records import Waveform
from echat_eval.testset.clips import LONGEST_EVENT, Part, Placed, clips_of, room_for_speech
from echat_eval.testset.manners import MANNERS, Manner, changed, manner_of
from echat_eval.testset.sentences import sentence_row
from echat_eval.testset.vocoder import VoiceAnalysis, analyse
from echat_eval.testset.voices import OneTimbre, Style, Voice

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from echat_eval.testset.events import EventSource
    from echat_eval.testset.plan import Plan, VoicePlan
    from echat_eval.testset.sentences import Member, Sentence

    Pcm = NDArray[np.int16]

__all__ = ["Group", "GroupMaker", "Placement", "SpeechStore"]

#: Raise it when groups of the same plan come out differently.
VERSION = 3
#: Longest pause between words in plain speech, seconds.
LONGEST_PAUSE = 0.12

#: Pitches of the synthetic throats and mouths, Hz: a low and a high voice.
_LOW, _HIGH = 120.0, 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One contrast group.

    Attributes:
        clips: one per member of the sentence, (samples,) 16-bit PCM at `vocoder.RATE`.
    """

    sentence: Sentence
    speaker: str
    clips: tuple[Pcm, ...]

    @property
    def id(self) -> str:
        """Return the name of the group in reports."""
        return f"{self.sentence.id} {self.speaker}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The events of a group.

    Attributes:
        last: after the words.
        numbers: of each member, the number of its event among those with this label.
    """

    last: bool
    numbers: tuple[int, ...]


class SpeechStore:
    """Speech on disk, so that a sentence is spoken once: by its voice, words, speaker and style.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = folder / "speech.jsonl"
        rows = read_rows(self._index) if self._index.exists() else ()
        self._known = {row["key"]: row["file"] for _, row in rows}
        self.spoken = 0

    def speak(self, voice: Voice, text: str, *, language: str, speaker: str, style: Style | None) -> Waveform:
        """Return the spoken text, from disk if it was spoken before."""
        style_key = None if style is None else [style.instruction, str(style.clip or "")]
        key = digest("testset speech", [voice.fingerprint(), text, language, speaker, style_key])
        if (name := self._known.get(key)) is not None and (path := self.folder / name).is_file():
            samples, rate = read_mono(path, rate=None)
            return Waveform(samples=samples, sample_rate=rate)
        waveform = voice.speak(text, language=language, speaker=speaker, style=style)
        self.folder.mkdir(parents=True, exist_ok=True)
        stored = write_wav(waveform, self.folder)
        with Appender(self._index) as index:
            index.append({"key": key, "file": stored.path.name, "text": text, "speaker": speaker})
        self._known[key] = stored.path.name
        self.spoken += 1
        # Read back, so that the second run is equal to the first.
        samples, rate = read_mono(stored.path, rate=None)
        return Waveform(samples=samples, sample_rate=rate)


class GroupMaker:
    """Makes groups of a plan.

    Args:
        plan: the plan.
        voices: language -> its voice.
        events: source of the sounds.
        store: of the speech.
    """

    def __init__(
        self, plan: Plan, voices: Mapping[str, Voice], events: EventSource, store: SpeechStore
    ) -> None:
        self.plan, self.voices, self.events, self.store = plan, voices, events, store
        self._drawn: Counter[str] = Counter()
        self._after: Counter[tuple[str, bool]] = Counter()

    def place(self, sentence: Sentence, speaker: str) -> Placement:
        """Return which events a group gets, and where; to be called for all groups in one order."""
        random = np.random.default_rng([self.plan.seed, *sentence.id.encode(), *speaker.encode(), 1])
        numbers = []
        for member in sentence.members:
            label = member.cues.get("event", "none")
            numbers.append(self._drawn[label])
            self._drawn[label] += 1
        return Placement(last=self._last(sentence, random), numbers=tuple(numbers))

    def has_event(self, sentence: Sentence) -> bool:
        """Return whether a voice of a sentence has a sound beside the words."""
        return any(member.cues.get("event", "none") != "none" for member in sentence.members)

    def retake(self, placement: Placement, number: int) -> Placement:
        """Return the placement with other sounds."""
        return replace(placement, numbers=tuple(one + 1000 * number + number for one in placement.numbers))

    def key(self, sentence: Sentence, speaker: str, placement: Placement) -> str:
        """Return the hash of all that determines a group."""
        voice = self.plan.voices[sentence.language]
        styles = {f"{cue} {label}": str(s) for cue, of in voice.styles.items() for label, s in of.items()}
        own = [voice.use, voice.vocoder, voice.speakers[speaker], styles]
        # Without a switch that is off, so that groups of plans that know no such switch keep their key.
        form = {name: value for name, value in asdict(self.plan.clip).items() if value is not False}
        facts = [VERSION, str(MANNERS), self.plan.seed, form, asdict(self.plan.events), own]
        parts = [self.voices[sentence.language].fingerprint(), self.events.fingerprint()]
        return digest("testset group", [*facts, sentence_row(sentence), speaker, asdict(placement), parts])

    def make(self, sentence: Sentence, speaker: str, placement: Placement) -> Group:
        """Return the group of a sentence and a speaker.

        Raises:
            BadData: a clip does not fit, or a style is missing.
            SystemFailure, Unavailable: the voice failed.
        """
        seeds = [self.plan.seed, *sentence.id.encode(), *speaker.encode()]
        random = np.random.default_rng(seeds)
        # Both members have the same accidents but their labels.
        accident = Manner(pitch=random.uniform(-0.4, 0.4), formants=random.uniform(0.985, 1.015))
        room = self._room(sentence)
        parts = []
        plain: VoiceAnalysis | None = None
        for number, member in enumerate(sentence.members):
            own = np.random.default_rng([*seeds, number])
            cues = {cue: label for cue, label in member.cues.items() if cue != "event"}
            if plain is None or self.plan.voices[sentence.language].styles:
                plain = self._spoken(sentence, speaker, cues)
            manner = self._manner(plain, cues, sentence.language, speaker) + accident
            event = self._event(member, speaker, plain, manner, placement.numbers[number], placement.last)
            tempo = max(1.0, plain.seconds / manner.rate / room)
            speech = changed(plain, manner + Manner(rate=tempo), own.uniform(0, 2 * np.pi))
            parts.append(Part(speech=speech, event=event, random=own))
        clips = tuple(np.rint(clip * 32767).astype("<i2") for clip in clips_of(parts, self.plan.clip))
        return Group(sentence=sentence, speaker=speaker, clips=clips)

    def _spoken(self, sentence: Sentence, speaker: str, cues: Mapping[str, str]) -> VoiceAnalysis:
        """Return the plain speech, or speech in the style of the labels."""
        voice = self.plan.voices[sentence.language]
        speech = self.store.speak(
            self.voices[sentence.language],
            sentence.transcript,
            language=sentence.language,
            speaker=speaker,
            style=_style(self.plan, voice, cues) if voice.styles else None,
        )
        return analyse(_without_silence(speech), voice.vocoder)

    def _room(self, sentence: Sentence) -> float:
        """Return the seconds for the words: the same for all voices, whether there is an event or not."""
        if not self.has_event(sentence):
            return room_for_speech(self.plan.clip, 0.0)
        return room_for_speech(self.plan.clip, LONGEST_EVENT)

    def _manner(self, plain: VoiceAnalysis, cues: Mapping[str, str], language: str, speaker: str) -> Manner:
        """Return the change for a speaker and its labels; a voice with styles has acted these already."""
        gender, voice = self.plan.voices[language].speakers[speaker], self.voices[language]
        manner = voice.manner(speaker, gender) if isinstance(voice, OneTimbre) else Manner()
        acted = {} if self.plan.voices[language].styles else cues
        pitch = plain.median_f0 * 2 ** (manner.pitch / 12)
        for cue, label in acted.items():
            if label not in MANNERS.get(cue, {}):
                raise BadData(f"no manner for {cue} '{label}'; give the voice styles: {{{cue}: ...}}")
            manner += manner_of(cue, label, gender, pitch)
        return manner

    def _last(self, sentence: Sentence, random: np.random.Generator) -> bool:
        """Return whether the event comes after the words, in turn for each of its labels."""
        if self.plan.events.position != "balanced":
            return self.plan.events.position == "after"
        labels = [m.cues["event"] for m in sentence.members if m.cues.get("event", "none") != "none"]
        after = sum(self._after[label, True] - self._after[label, False] for label in labels)
        last = bool(random.integers(2)) if after == 0 else after < 0
        self._after.update((label, last) for label in labels)
        return last

    def _event(
        self,
        member: Member,
        speaker: str,
        plain: VoiceAnalysis,
        manner: Manner,
        number: int,
        last: bool,
    ) -> Placed | None:
        if (label := member.cues.get("event", "none")) == "none":
            return None
        pitch = plain.median_f0 * 2 ** (manner.pitch / 12)
        sound = self.events.event(label, speaker=speaker, pitch=_LOW if pitch < 155 else _HIGH, number=number)
        return Placed(sound=sound, level_db=self.plan.events.level_db, last=last)


def _style(plan: Plan, voice: VoicePlan, cues: Mapping[str, str]) -> Style:
    """Return the style for labels: the instructions joined, and the first clip.

    Raises:
        BadData: a label has no style.
    """
    instructions, clip = [], None
    for cue, label in cues.items():
        given: Any = voice.styles.get(cue, {}).get(label)
        if given is None:
            raise BadData(f"voice '{voice.use}': styles have no {cue} '{label}'")
        if isinstance(given, str):
            instructions.append(given)
        else:
            instructions.append(str(given.get("instruction", "")))
            clip = clip or (plan.path(str(given["clip"])) if "clip" in given else None)
    return Style(instruction=" ".join(part for part in instructions if part), clip=clip)


def _without_silence(speech: Waveform) -> Waveform:
    """Return the speech without silent ends, and with pauses of at most `LONGEST_PAUSE`.

    A longer pause would look like the one between the words and an event.

    Raises:
        BadData: there is no sound.
    """
    step = speech.sample_rate // 100
    frames = speech.samples[: len(speech.samples) // step * step].reshape(-1, step)
    level = np.sqrt((frames.astype(np.float64) ** 2).mean(axis=1))
    if not level.max(initial=0.0) > 0:
        raise BadData("the voice spoke silence; expected speech")
    loud = np.flatnonzero(level > 0.02 * level.max())
    longest = round(LONGEST_PAUSE * 100)
    kept = np.zeros(len(frames), dtype=bool)
    kept[max(0, loud[0] - 2) : loud[0]] = True
    for here, after in zip(loud, [*loud[1:], loud[-1] + 3], strict=True):
        kept[here : min(after, here + longest)] = True
    return Waveform(samples=frames[kept].reshape(-1), sample_rate=speech.sample_rate)
