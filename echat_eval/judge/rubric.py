"""Reader of a judge's folder: weights and cap in judge.yaml, anchors in prompt.<language>.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UnknownName, UsageError
from echat_eval.io.data_folder import data_folder
from echat_eval.io.hashing import digest
from echat_eval.io.schema import (
    TEXT,
    Rule,
    Schema,
    list_of,
    mapping_of,
    number,
    one_of,
    read_schema_yaml,
    whole,
)
from echat_eval.judge.ticket import ticket_field
from echat_eval.labels import CUES
from echat_eval.languages import lookup

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "DEFAULT_RUBRIC",
    "HISTORY",
    "LISTENING_MATCH_PLACEHOLDERS",
    "LISTENING_PLACEHOLDERS",
    "LISTENING_RUBRIC",
    "MATCH_PLACEHOLDERS",
    "PAIR_PLACEHOLDERS",
    "PLACEHOLDERS",
    "VOICE_DESCRIPTION",
    "Judge",
    "judge_names",
    "load_judge",
    "load_match",
    "load_pair",
    "read_judge",
    "rubric_file",
]

#: The rubric of a judge that names none.
DEFAULT_RUBRIC = "echat-r1"
#: The same of a judge that listens.
LISTENING_RUBRIC = "echat-voice-r1"

#: Placeholders `{{name}}` that every prompt's frame must contain.
PLACEHOLDERS = (
    "fence",
    "dimensions",
    "cues_guide",
    "voice_guide",
    "transcript",
    "cues",
    "reply",
    "heard",
    "form",
)
#: Those of a prompt that asks which of two voices a reply answers.
MATCH_PLACEHOLDERS = ("fence", "dimensions", "transcript", "cues", "reply", "form")
#: Those of a prompt for a judge that listens. The words of the reply are not shown, so that they cannot carry
#: the grade of its voice.
LISTENING_PLACEHOLDERS = ("fence", "dimensions", "cues_guide", "transcript", "cues", "recordings", "form")
#: The same of the match question: the recordings stand in place of the labels.
LISTENING_MATCH_PLACEHOLDERS = ("fence", "dimensions", "transcript", "reply", "recordings", "form")
#: The same of the question which of two recordings sounds like the labels.
PAIR_PLACEHOLDERS = ("fence", "dimensions", "transcript", "cues", "recordings", "form")
#: Placeholder of the earlier turns of a dialogue, in prompts that show them.
HISTORY = "{{history}}"
#: Placeholder of the description of a reply's voice, in prompts that show it.
VOICE_DESCRIPTION = "{{voice_description}}"
#: Pattern of a reason: one bounded line, so that a small model does not run into its token limit.
REASON = "^[^\\n]{1,300}$"
#: Version of how `question.render` places data and form in a prompt: another layout is another instrument.
PROMPT_LAYOUT = 2
#: Weights of tasks that the rubric does not name.
OTHER = "other"

#: Seconds of a recording, for a rubric that names no limit.
DEFAULT_MAX_AUDIO_SECONDS = 60.0

_CAP = Schema({"dimension": TEXT, "points": number(0)})
_FILE = Schema(
    {
        "name": TEXT,
        "version": whole(1),
        "status": TEXT,
        "title": TEXT,
        "description": TEXT,
        "languages": list_of(TEXT, "a list of languages"),
        "other_languages": TEXT.optional(),
        "asks": one_of(("match", "pair")).optional(),
        "listens": Rule(lambda v: isinstance(v, bool), "true or false", required=False),
        "max_audio_seconds": number(1).optional(),
        "anchors": TEXT.optional(),
        "model": TEXT,
        "dimensions": list_of(TEXT, "a list of names"),
        "highest": whole(1),
        "cap": Rule(_CAP.holds, "a mapping of dimension, a name, and points, a number from 0"),
        "weights": mapping_of(
            mapping_of(number(0, 100), ""), "a mapping of tasks to a percentage of each dimension"
        ),
        "max_reply_characters": whole(1),
    }
)
_HEADING = re.compile(r"^# (dimension|cue|cues|voice|recording)(?:: ([a-z_ 0-9]+))?$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A rubric.

    Attributes:
        status: "reconstruction" if the original rubric is not public.
        model: the default dated model.
        dimensions: dimensions of the words of a reply, each graded as a whole number from 0 to `highest`.
        cap_dimension, cap_points: the text score is at most `cap_points` x (that grade + 1).
        weights: task -> dimension -> share; shares sum to 1. `OTHER` serves every other task.
        frames: language -> the prompt with its placeholders.
        other_languages: language of the prompt for languages without one, which then names the language;
            None: not applicable to them.
        sections: language -> (kind, name) -> text, such as ("cue", "age").
        max_reply_characters: longer texts are cut, with a mark in the prompt.
        listens: the judge gets recordings; the order of the dimensions is then fixed.
        max_audio_seconds: of each recording.
    """

    name: str
    version: int
    status: str
    title: str
    model: str
    dimensions: tuple[str, ...]
    highest: int
    cap_dimension: str
    cap_points: float
    weights: Mapping[str, Mapping[str, float]]
    frames: Mapping[str, str]
    sections: Mapping[str, Mapping[tuple[str, str], str]]
    max_reply_characters: int
    other_languages: str | None = None
    listens: bool = False
    max_audio_seconds: float = DEFAULT_MAX_AUDIO_SECONDS

    def prompt_language(self, language: str) -> str | None:
        """Return the language of the prompt for replies in a language; None: not applicable to it."""
        return lookup(language, self.frames) or self.other_languages

    @property
    def shows_history(self) -> bool:
        """Return whether the prompts show the earlier turns of a dialogue."""
        return all(HISTORY in frame for frame in self.frames.values())

    @property
    def shows_voice(self) -> bool:
        """Return whether the prompts describe the voice of a reply."""
        return all(VOICE_DESCRIPTION in frame for frame in self.frames.values())

    def weights_for(self, task: str) -> Mapping[str, float]:
        """Return dimension -> share for a task."""
        return self.weights.get(task, self.weights[OTHER])

    def fingerprint(self) -> str:
        """Return the hash of everything that affects a score; a changed prompt is another instrument."""
        sections = {
            language: [[kind, name, text] for (kind, name), text in texts.items()]
            for language, texts in self.sections.items()
        }
        return digest(
            "judge",
            [
                self.name,
                self.version,
                list(self.dimensions),
                self.highest,
                self.cap_dimension,
                self.cap_points,
                self.weights,
                self.frames,
                sections,
                self.max_reply_characters,
                PROMPT_LAYOUT,
                # Left out for rubrics that only read, whose hashes stand in earlier runs.
                *([["listens", self.max_audio_seconds]] if self.listens else []),
            ],
        )

    def schema(self, *, with_voice: bool, ticket: str | None = None) -> dict[str, Any]:
        """Return the JSON schema of a verdict, with a grade of the voice on request.

        It uses only keywords that strict servers accept: whole numbers are an enumeration.

        Args:
            with_voice: the voice is graded.
            ticket: of the question; the last field is a constant whose name contains it. Servers that ignore
                constant values still enforce names, and the grades before it do not depend on it.
        """
        grade = {"type": "integer", "enum": list(range(self.highest + 1))}
        grades = dict.fromkeys([*self.dimensions, *(["voice"] if with_voice else [])], grade)
        constant = {ticket_field(ticket): {"type": "integer", "enum": [1]}} if ticket is not None else {}
        properties = {"reason": {"type": "string", "pattern": REASON}, **grades, **constant}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }


def judge_names() -> list[str]:
    """Return the names of the shipped judges."""
    return sorted(path.parent.name for path in data_folder("judges").glob("*/judge.yaml"))


def load_judge(name: str) -> Judge:
    """Return a shipped judge.

    >>> load_judge("echat-r1").dimensions
    ('content', 'cue_awareness', 'empathy')
    """
    if name not in judge_names():
        raise UnknownName("judge", name, judge_names())
    return read_judge(data_folder("judges") / name)


def load_match(rubric: str) -> Judge:
    """Return the rubric of the match question that belongs to a shipped judge.

    Raises:
        UnknownName: no judge with that name.
        UsageError: the judge has no match question.

    >>> load_match("echat-r1").dimensions
    ('answers',)
    """
    return _load_question(rubric, "match")


def load_pair(rubric: str) -> Judge:
    """Return the rubric of the question which of two recordings sounds like the labels.

    Raises:
        UnknownName: no judge with that name.
        UsageError: the judge has no such question, as one that only reads.
    """
    return _load_question(rubric, "pair")


def _load_question(rubric: str, asks: str) -> Judge:
    folder = data_folder("judges") / load_judge(rubric).name / asks
    if not folder.is_dir():
        raise UsageError(f"rubric '{rubric}' has no {asks} question; expected {folder}/judge.yaml")
    return read_judge(folder)


def read_judge(folder: Path) -> Judge:
    """Return the judge in a folder.

    Raises:
        BadData: a key or an anchor is missing or unknown, or weights do not sum to 100.
    """
    path = folder / "judge.yaml"
    facts = read_schema_yaml(path, _FILE).content
    dimensions = tuple(facts["dimensions"])
    frames, sections = {}, {}
    asks, listens = facts.get("asks"), facts.get("listens", False)
    base = None if "anchors" not in facts else _anchors(path, facts["anchors"], asks)
    for language in facts["languages"]:
        prompt = folder / f"prompt.{language}.md"
        anchors = prompt if base is None else base / prompt.name
        frames[language], sections[language] = _read_prompt(prompt, anchors, dimensions, asks, listens)
    for part in (HISTORY, VOICE_DESCRIPTION):
        if len({part in frame for frame in frames.values()}) > 1:
            raise BadData(f"{path}: {part} is in some prompts and not in others; expected it in all or none")
    if facts.get("other_languages") not in (None, *frames):
        raise BadData(
            f"{path}: other_languages is {facts['other_languages']!r}, expected one of its languages: "
            f"{', '.join(frames)}"
        )
    if facts["cap"]["dimension"] not in dimensions:
        raise BadData(f"{path}: cap names no dimension of the judge; got {facts['cap']['dimension']!r}")
    return Judge(
        name=facts["name"],
        version=facts["version"],
        status=facts["status"],
        title=facts["title"],
        model=facts["model"],
        dimensions=dimensions,
        highest=facts["highest"],
        cap_dimension=facts["cap"]["dimension"],
        cap_points=facts["cap"]["points"],
        weights=_weights(path, facts["weights"], dimensions),
        frames=frames,
        sections=sections,
        max_reply_characters=facts["max_reply_characters"],
        other_languages=facts.get("other_languages"),
        listens=listens,
        max_audio_seconds=facts.get("max_audio_seconds") or DEFAULT_MAX_AUDIO_SECONDS,
    )


def _anchors(path: Path, rubric: str, asks: str | None) -> Path:
    """Return the folder with the anchors of a rubric that has none of its own."""
    folder = data_folder("judges") / rubric / (asks or "")
    if rubric not in judge_names() or not (folder / "judge.yaml").is_file():
        raise BadData(f"{path}: anchors are those of '{rubric}'; expected one of {', '.join(judge_names())}")
    if "anchors" in read_schema_yaml(folder / "judge.yaml", _FILE).content:
        raise BadData(f"{path}: anchors are those of '{rubric}', which has none of its own; name theirs")
    return folder


def rubric_file(rubric: str, name: str) -> Path:
    """Return a file of a shipped judge, or that of the judge whose anchors it has."""
    folder = data_folder("judges") / rubric
    path = folder / name
    base = None if path.is_file() else read_schema_yaml(folder / "judge.yaml", _FILE).content.get("anchors")
    return path if base is None else data_folder("judges") / base / name


def _weights(path: Path, weights: Mapping[str, Any], dimensions: tuple[str, ...]) -> Mapping[str, Any]:
    if OTHER not in weights:
        raise BadData(f"{path}: weights have no '{OTHER}', the default for tasks that are not named")
    shares = {}
    for task, percents in weights.items():
        if set(percents) != set(dimensions) or sum(percents.values()) != 100:
            raise BadData(
                f"{path}: weights of '{task}' are {dict(percents)}; expected {', '.join(dimensions)} "
                "summing to 100"
            )
        shares[task] = MappingProxyType({name: percents[name] / 100 for name in dimensions})
    return MappingProxyType(shares)


#: (asks, listens) -> placeholders of the prompt, and recordings that must be named.
_PARTS: dict[tuple[str | None, bool], tuple[tuple[str, ...], tuple[str, ...]]] = {
    (None, False): (PLACEHOLDERS, ()),
    ("match", False): (MATCH_PLACEHOLDERS, ()),
    (None, True): (LISTENING_PLACEHOLDERS, ("reply", "query")),
    ("match", True): (LISTENING_MATCH_PLACEHOLDERS, ("voice 1", "voice 2", "reply")),
    ("pair", True): (PAIR_PLACEHOLDERS, ("voice 1", "voice 2")),
}


def _read_prompt(
    path: Path, anchors: Path, dimensions: tuple[str, ...], asks: str | None, listens: bool
) -> tuple[str, dict[tuple[str, str], str]]:
    """Return the frame of a prompt, and the anchors, which may stand in another file."""
    frame, sections = _parts_of_prompt(path)
    if anchors != path:
        if sections:
            raise BadData(f"{path}: has headings, and so does {anchors}; expected one place of the anchors")
        _, sections = _parts_of_prompt(anchors)
    if (asks, listens) not in _PARTS:
        raise BadData(f"{path.parent / 'judge.yaml'}: asks: {asks} is for a judge with listens: true")
    placeholders, recordings = _PARTS[asks, listens]
    for name in placeholders:
        if "{{" + name + "}}" not in frame:
            raise BadData(f"{path}: has no {{{{{name}}}}}")
    needed = [("dimension", d) for d in dimensions]
    if asks is None:
        needed += [*(("cue", c) for c in CUES), ("cues", "")]
    if asks is None and not listens:
        needed.append(("voice", ""))
    needed += [("recording", name) for name in recordings]
    for kind, name in needed:
        if not sections.get((kind, name)):
            raise BadData(f"{anchors}: has no section '# {kind}{': ' + name if name else ''}'")
    return frame, sections


def _parts_of_prompt(path: Path) -> tuple[str, dict[tuple[str, str], str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    marks = list(_HEADING.finditer(text))
    frame = text[: marks[0].start() if marks else None].strip() + "\n"
    ends = [*(mark.start() for mark in marks[1:]), len(text)][: len(marks)]
    return frame, {
        (mark.group(1), (mark.group(2) or "").strip()): text[mark.end() : end].strip()
        for mark, end in zip(marks, ends, strict=True)
    }
