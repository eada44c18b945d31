"""A cascade that acts on the voice: it answers from a bank of replies by words, pitch, energy and timing.

It shows that a small system can act on a voice, and that the harness sees it; it holds no conversation. The
bank, `baselines/reply-bank.yaml`, was written without the reference replies of any task.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.sentence_embedding import E5
from echat_eval.errors import BadData, NotApplicable, SystemFailure
from echat_eval.io.data_folder import data_folder
from echat_eval.io.hashing import file_sha256, fingerprint_of
from echat_eval.io.strict_yaml import read_yaml
from echat_eval.labels import split_tags
from echat_eval.languages import supports
from echat_eval.ports import Closable, Loadable
from echat_eval.records import Reply
from echat_eval.systems.cascade import RECOGNISERS, VOICES, load_part
from echat_eval.systems.voice_cues import RATE, RULES_VERSION, VoiceCues, detect_cues

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from echat_eval.records import Request

__all__ = ["BANK", "ListeningCascade", "ReplyBank", "label_asked"]

BANK = data_folder("baselines") / "reply-bank.yaml"
#: Cosine by which a subject must be nearer to the words than any other. The embedding gives 42 % of the
#: bank's own words, left out one by one, to their subject, so that a smaller lead is no evidence.
_CLEARLY = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Something to talk about: words of a speaker, and manner -> reply."""

    words: tuple[str, ...]
    replies: Mapping[str, str]


class ReplyBank:
    """Replies by subject and manner, by manner alone, by what the words do, and by event.

    Args:
        path: a YAML file such as `BANK`.

    Raises:
        BadData: the file has another form.
    """

    def __init__(self, path: Path = BANK) -> None:
        content = read_yaml(path).content
        try:
            self.subjects = [
                Subject(
                    words=tuple(map(str, entry["words"])),
                    replies={str(k): str(v) for k, v in entry.items() if k != "words"},
                )
                for entry in content["subjects"]
            ]
            #: Reply -> words to which a plain voice gets it.
            self.acts = {str(entry["reply"]): list(map(str, entry["words"])) for entry in content["acts"]}
            self.general = {str(k): list(map(str, v)) for k, v in content["general"].items()}
            self.events: dict[str, list[str]] = {k: list(map(str, v)) for k, v in content["events"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise BadData(f"{path}: not a bank of replies: {type(error).__name__} {error}") from None
        self.embedder = E5()

    def reply(self, words: str, cues: VoiceCues) -> str:
        """Return the reply for some words and the cues beside them."""
        if cues.event in self.events:
            return self._nearest(words, {text: (text,) for text in self.events[cues.event]})
        subject, clearly = self._subject(words)
        if clearly:
            return subject.replies.get(cues.manner, subject.replies["neutral"])
        if cues.manner in self.general:
            return self._nearest(words, {text: (text,) for text in self.general[cues.manner]})
        return self._nearest(words, self.acts).replace("{words}", words)

    def _subject(self, words: str) -> tuple[Subject, bool]:
        """Return the subject that is nearest to the words, and whether it is clearly nearer than others."""
        query = self.embedder.embed(words)
        nearness = [
            max(float(query @ self.embedder.embed(line)) for line in subject.words)
            for subject in self.subjects
        ]
        first, second = sorted(range(len(nearness)), key=lambda number: -nearness[number])[:2]
        return self.subjects[first], nearness[first] - nearness[second] >= _CLEARLY

    def _nearest(self, words: str, texts: Mapping[str, Sequence[str]]) -> str:
        """Return the text one of whose examples is nearest to the words; the first of equal ones."""
        query = self.embedder.embed(words)
        return max(
            texts, key=lambda text: max(float(query @ self.embedder.embed(line)) for line in texts[text])
        )


def label_asked(question: str, cues: VoiceCues) -> str | None:
    """Return the label of a voice that a probing question of `run --ask` lists; None: it asks for the words.

    A question names its cue by the labels that it lists: "Answer with one of these ...: female, male."
    """
    listed = {label.strip(" .") for label in question.rpartition(":")[2].split(",")}
    labels = (cues.label_of(cue) for cue in ("gender", "age", "event", "emotion"))
    return next((label for label in labels if label in listed), None)


@dataclass(slots=True, kw_only=True)
class ListeningCascade:
    """Recogniser, rules on the voice, a bank of replies and text to speech.

    Attributes:
        asr: a name in `RECOGNISERS`, or "module:Class" of an annotator.
        tts: a name in `VOICES`, "module:Class", or "" for text replies.
        languages: languages that the bank and all parts support.
        calls_at_once: maximum number of concurrent requests.
    """

    name: str = "listening-cascade"
    asr: str = "whisper"
    tts: str = "hibari"
    languages: tuple[str, ...] | str = ("en",)
    calls_at_once: int = 1
    _bank: ReplyBank = field(default_factory=ReplyBank, init=False, repr=False)
    _recogniser: Any = field(default=None, init=False, repr=False)
    _voice: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.languages, str):
            self.languages = tuple(part.strip() for part in self.languages.split(","))
        self._recogniser = load_part("recogniser", self.asr, RECOGNISERS)
        self._voice = load_part("voice", self.tts, VOICES) if self.tts else None

    def respond(self, request: Request) -> Reply:
        """Return the reply, or the answer to a question about the recording.

        The reply is that whose subject is nearest to the words, for the cues of the voice.

        Raises:
            NotApplicable: the language is not one of `languages`.
            SystemFailure: no words were recognised.
        """
        from echat_eval.io.audio import read_mono

        if not supports(self.languages, request.language):
            raise NotApplicable(f"{self.name} supports {', '.join(self.languages)}, not '{request.language}'")
        sound, _ = read_mono(request.audio.path, rate=RATE)
        cues = detect_cues(sound.astype("float64"))
        if request.instruction is not None and (label := label_asked(request.instruction, cues)) is not None:
            return Reply(text=label)
        found = self._recogniser.annotate(request.audio, language=request.language)
        words = split_tags(str(found["hypothesis"]))[0].strip()
        if not words:
            raise SystemFailure(f"{self.asr} recognised no words in the query")
        if request.instruction is not None:
            return Reply(text=words)
        text = self._bank.reply(words, cues)
        return Reply(text=text, audio=self._voice.say(text) if self._voice is not None else None)

    def load(self) -> None:
        """Load every part, so that the first reply is not slower than the others."""
        for part in (self._recogniser, self._voice):
            if isinstance(part, Loadable):
                part.load()
        self._bank.reply("Hello.", VoiceCues())

    def close(self) -> None:
        """Free every model."""
        parts: tuple[Any, ...] = (self._recogniser, self._voice)
        for part in parts:
            if isinstance(part, Closable):
                part.close()

    def fingerprint(self) -> str:
        """Return the hash of weights, versions, rules and bank."""
        return fingerprint_of(
            {
                "ear": self._recogniser.fingerprint(),
                "rules": RULES_VERSION,
                "bank": [file_sha256(BANK), self._bank.embedder.fingerprint()],
                "voice": self._voice.fingerprint() if self._voice is not None else None,
            }
        )

    def settings(self) -> Mapping[str, Any]:
        """Return all settings."""
        return {"asr": self.asr, "tts": self.tts, "languages": list(self.languages)}
