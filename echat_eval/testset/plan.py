"""The plan of a test set: everything that determines it, in one YAML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from echat_eval.errors import BadData
from echat_eval.io.schema import (
    TEXT,
    Rule,
    Schema,
    build_record,
    is_text,
    is_whole,
    list_of,
    mapping_of,
    number,
    one_of,
    read_schema_yaml,
    whole,
)
from echat_eval.labels import LABELS
from echat_eval.languages import TAG_EXPECTED, base_of, language_tag
from echat_eval.testset.sentences import REASONS

__all__ = ["CHECKS", "ClipPlan", "EventPlan", "Plan", "TextPlan", "VoicePlan", "read_plan"]

#: Name of a check -> what its limit means.
CHECKS: Mapping[str, str] = MappingProxyType(
    {
        "measurable": "1: instruments must read the difference between the labels of a group",
        "error_rate": "percent of words (characters) that a recogniser may get wrong in a clip",
        "event_rank": "how high a tagger must rank the event among all events; 1: first",
    }
)
#: Voices without a file; see `voices.voice_for`.
_VOICES = ("embedded", "server", "command:PROGRAM")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPlan:
    """Where the texts come from: a file of sentences, or a server.

    Attributes:
        file: YAML file of sentences; then nothing is asked.
        model, url: an OpenAI-compatible server.
        prompts: folder of prompts, `<language>.md`; a language without a file gets `en.md`.
        temperature, seed: of the requests; sentence n is asked for with `seed` + n.
        max_tokens: limit of one answer.
        tries: requests per sentence, until one is usable.
        max_words: longest sentence, in words, or in characters of a language without spaces.
        allow: names of rules that a sentence may break; see `sentences.REASONS`.
        json_object: ask for any JSON object, for servers without schemas.
    """

    file: str | None = None
    model: str | None = None
    url: str | None = None
    prompts: str | None = None
    temperature: float = 0.9
    seed: int = 0
    max_tokens: int = 500
    tries: int = 3
    max_words: int = 12
    allow: tuple[str, ...] = ()
    json_object: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VoicePlan:
    """The voice of one or more languages.

    Attributes:
        use: "embedded", "server", "command:PROGRAM", or `file.py:Class`.
        speakers: name -> gender of the plain voice.
        vocoder: what changes the plain voice, one of `vocoder.VOCODERS`.
        settings: of the voice; see docs/build-testset.md.
        styles: cue -> label -> an instruction, or {clip: FILE}, for voices that act a label themselves;
            without it the plain voice is changed by `testset.manners`.
    """

    use: str
    speakers: Mapping[str, str]
    vocoder: str = "embedded"
    settings: Mapping[str, Any] = field(default_factory=dict)
    styles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPlan:
    """The sounds beside the words.

    Attributes:
        folder: recordings in the form of ESC-50 or VocalSound; None: synthesised.
        use: `file.py:Class` of a source of your own.
        licence: of the recordings, for the data card.
        level_db: level of the event against the speech, dB; its active parts are compared.
        retakes: further sounds to try for a group that fails a check.
        position: "before", "after" or "balanced".
    """

    folder: str | None = None
    use: str | None = None
    licence: str = ""
    level_db: float = -1.0
    retakes: int = 0
    position: str = "balanced"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPlan:
    """The form of every clip; equal for all, so that neither duration nor level reveals a label.

    Attributes:
        seconds: length.
        active_db: level of the loud parts, dB re full scale.
        noise_db: level of the noise that fills the rest.
        equal_peaks: whether a limiter lowers the peaks of a group's clips to just below the lowest of them.
    """

    seconds: float = 3.6
    active_db: float = -22.0
    noise_db: float = -68.0
    equal_peaks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A test set.

    Attributes:
        name: of the task.
        title, description, domain: for people; the text server writes about `domain`.
        topics: what the sentences are about, in turn; empty: the text server chooses.
        cues: cue -> its labels; those of a sentence are chosen in turn, so that all are equally frequent.
        cues_per_sentence: cues whose labels differ within a group.
        labels_per_sentence: voices in which a sentence is spoken.
        sentences: language -> number of sentences.
        same: language -> number of sentences to which a good reply does not depend on the voice.
        speakers_per_sentence: speakers of each sentence; each makes a contrast group of its own.
        voices: language -> its voice.
        checks: name of a check -> its limit; see `testset.clip_checks`.
        annotators: name of an annotator -> its settings, for the checks.
        version: of the task.
        licence: of the result; `rights` is its text or a statement for the file LICENCE.
        seed: of everything random.
        folder: of the plan's file, to which its paths are relative.
    """

    name: str
    title: Mapping[str, str]
    description: str
    licence: str
    cues: Mapping[str, tuple[str, ...]]
    voices: Mapping[str, VoicePlan]
    sentences: Mapping[str, int] = field(default_factory=dict)
    same: Mapping[str, int] = field(default_factory=dict)
    domain: str = ""
    topics: tuple[str, ...] = ()
    cues_per_sentence: int = 1
    labels_per_sentence: int = 2
    speakers_per_sentence: int = 2
    texts: TextPlan = field(default_factory=TextPlan)
    events: EventPlan = field(default_factory=EventPlan)
    clip: ClipPlan = field(default_factory=ClipPlan)
    checks: Mapping[str, float] = field(default_factory=dict)
    annotators: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    version: int = 1
    rights: str = ""
    redistributable: bool = False
    seed: int = 0
    folder: Path = Path()

    def path(self, name: str) -> Path:
        """Return the path of a file that the plan names."""
        return self.folder / name


_NAMES = Rule(lambda v: isinstance(v, dict) and all(is_text(k) for k in v), "a mapping of names")
_COUNTS = Rule(
    lambda v: isinstance(v, dict) and all(is_whole(n, low=0) for n in v.values()),
    "a mapping of languages to whole numbers, such as {en: 6, zh: 2}",
)
_GENDERS = mapping_of(one_of(LABELS["gender"]), "a mapping of speakers to the gender of their voice")
_LABELS = Rule(
    lambda v: (
        isinstance(v, dict)
        and bool(v)
        and all(
            isinstance(labels, list) and len(labels) > 1 and all(map(is_text, labels))
            for labels in v.values()
        )
    ),
    "a mapping of cues to two or more labels, such as {emotion: [happy, sad]}",
)
_BOOLEAN = Rule(lambda v: isinstance(v, bool), "true or false")
_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "name": Rule(lambda v: is_text(v) and v.replace("-", "").replace("_", "").isalnum(), "a name"),
        "title": _NAMES,
        "description": TEXT,
        "domain": TEXT.optional(),
        "topics": list_of(TEXT, "a list of topics").optional(),
        "cues": _LABELS,
        "cues_per_sentence": whole(1).optional(),
        "labels_per_sentence": whole(2).optional(),
        "sentences": _COUNTS.optional(),
        "same": _COUNTS.optional(),
        "speakers_per_sentence": whole(1).optional(),
        "voices": _NAMES,
        "texts": _NAMES.optional(),
        "events": _NAMES.optional(),
        "clip": _NAMES.optional(),
        "checks": mapping_of(number(), "a mapping of checks to their limits").optional(),
        "annotators": _NAMES.optional(),
        "version": whole(1).optional(),
        "licence": Rule(is_text, "the licence of the result, such as CC BY 4.0; there is no default"),
        "rights": TEXT.optional(),
        "redistributable": _BOOLEAN.optional(),
        "seed": whole(0).optional(),
    }
)
_TEXT_RULES = {
    **dict.fromkeys(("file", "model", "url", "prompts"), TEXT),
    "temperature": number(0, 2),
    "seed": whole(0),
    "max_tokens": whole(50),
    "tries": whole(1),
    "max_words": whole(3),
    "allow": list_of(one_of(tuple(REASONS)), f"a list of {', '.join(REASONS)}"),
    "json_object": _BOOLEAN,
}
_VOICE_RULES = {
    "use": TEXT,
    "vocoder": one_of(("embedded", "world")),
    "speakers": _GENDERS,
    "settings": _NAMES,
    "styles": _NAMES,
}
_EVENT_RULES = {
    **dict.fromkeys(("folder", "use", "licence"), TEXT),
    "level_db": number(-40, 40),
    "retakes": whole(0, 100),
    "position": one_of(("before", "after", "balanced")),
}
_CLIP_RULES = {
    "seconds": number(0.5, 60),
    "active_db": number(-60, -3),
    "noise_db": number(-120, -30),
    "equal_peaks": _BOOLEAN,
}


def read_plan(path: Path) -> Plan:
    """Return the plan of a YAML file.

    Raises:
        BadData: the file is invalid; the message names file, line and key.
    """
    file = read_schema_yaml(path, Schema(dict(_RULES)))
    values = dict(file.content)

    def line(key: str) -> str:
        return f"{path}:{file.lines.get(key, 1)}"

    def part(name: str, value: Any, kind: type[Any], rules: Mapping[str, Rule]) -> Any:
        location = f"{line(name.split('.')[0])}: {name}"
        if not isinstance(value, dict):
            raise BadData(f"{location} is {value!r}; expected a mapping of settings")
        return build_record(kind, dict(value), location, rules)

    for name, kind, rules in (
        ("texts", TextPlan, _TEXT_RULES),
        ("events", EventPlan, _EVENT_RULES),
        ("clip", ClipPlan, _CLIP_RULES),
    ):
        if name in values:
            values[name] = part(name, values[name], kind, rules)
    values["voices"] = {
        language: part(f"voices.{language}", value, VoicePlan, _VOICE_RULES)
        for language, value in values["voices"].items()
    }
    values["topics"] = tuple(values.get("topics", ()))
    values["cues"] = {cue: tuple(labels) for cue, labels in values["cues"].items()}
    plan = Plan(**values, folder=path.parent)
    for key, fault in _faults(plan):
        raise BadData(f"{line(key)}: {fault}")
    return plan


def _faults(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the keys whose values do not fit the others or the files beside the plan, and what is wrong."""
    for cue, labels in plan.cues.items():
        if cue not in LABELS:
            yield "cues", f"cue '{cue}'; expected {', '.join(LABELS)}"
        elif unknown := [label for label in labels if label not in LABELS[cue]]:
            yield "cues", f"label '{unknown[0]}' of {cue}; expected {', '.join(LABELS[cue])}"
    if plan.cues_per_sentence > len(plan.cues):
        yield "cues_per_sentence", f"cues_per_sentence is {plan.cues_per_sentence}, cues are {len(plan.cues)}"
    if few := [cue for cue, labels in plan.cues.items() if len(labels) < plan.labels_per_sentence]:
        found = f"{few[0]} has {len(plan.cues[few[0]])} labels"
        yield "labels_per_sentence", f"labels_per_sentence is {plan.labels_per_sentence}, {found}"
    for key, counts in (("sentences", plan.sentences), ("same", plan.same)):
        for language in counts.keys() - plan.voices.keys():
            yield key, f"sentences in '{language}' have no voice; add voices: {{{language}: ...}}"
    if unknown := [name for name in plan.checks if name not in CHECKS]:
        yield "checks", f"check '{unknown[0]}'; expected {', '.join(CHECKS)}"
    yield from _voice_faults(plan)
    if (plan.texts.file is None) == (plan.texts.model is None):
        yield "texts", "texts needs either file: or model: and url:"
    if plan.texts.file is not None and not plan.path(plan.texts.file).is_file():
        yield "texts", f"texts.file: {plan.path(plan.texts.file)} does not exist"


def _voice_faults(plan: Plan) -> Iterator[tuple[str, str]]:
    for language, voice in plan.voices.items():
        if language_tag(language) is None:
            yield "voices", f"language '{language}'; expected {TAG_EXPECTED}"
        program = voice.use.partition(".py:")[0]
        if ".py:" in voice.use and not voice.use.startswith("command:"):
            if not plan.path(f"{program}.py").is_file():
                yield "voices", f"voice '{voice.use}': {plan.path(program)}.py does not exist"
        elif voice.use not in _VOICES[:2] and not voice.use.startswith("command:"):
            yield "voices", f"voice '{voice.use}'; expected {', '.join(_VOICES)} or FILE.py:CLASS"
        elif voice.use == "embedded" and base_of(language) != "en":
            yield "voices", f"voice 'embedded' speaks English only; give '{language}' another voice"
        if len(voice.speakers) < plan.speakers_per_sentence:
            yield (
                "voices",
                f"'{language}' has {len(voice.speakers)} speakers, speakers_per_sentence is "
                f"{plan.speakers_per_sentence}",
            )
