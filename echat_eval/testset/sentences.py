"""The texts of a test set: one sentence, the voices in which it is spoken, and a reply to each voice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.schema import Rule, Schema, is_text, one_of, text, whole
from echat_eval.io.strict_yaml import read_yaml
from echat_eval.languages import TAG_EXPECTED, language_tag

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["REASONS", "Dropped", "Member", "Sentence", "read_sentences", "sentence_from", "sentence_row"]


#: Name of a reason -> its meaning, for docs and data cards.
REASONS: Mapping[str, str] = {
    "no-answer": "the server did not answer; the next command asks again",
    "not-as-asked": "the answer is no JSON object with the fields of the schema",
    "control-character": "the sentence or a reply has a character that cannot be seen or spoken",
    "not-speech": "the sentence or a reply has an address or an underscore",
    "quotes-the-prompt": "the sentence or a reply stands word for word in the prompt",
    "too-long": "the sentence has more words than max_words",
    "names-the-label": "the sentence names a label of its cue, its own or another, so that words reveal it",
    "other-language": "the sentence or a reply is in another script than the language",
    "equal-replies": "two voices get the same reply",
    "short-reply": "a reply has fewer than four words",
    "repeats-the-query": "a reply contains the sentence itself",
    "duplicate": "an earlier sentence has the same or nearly the same words",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One voice of a sentence.

    Attributes:
        cues: cue -> label.
        reply: written for these words in this voice.
    """

    cues: Mapping[str, str]
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """The same words in two or more voices.

    Attributes:
        id: unique in a test set, such as "en-03".
        expect: "same" if a good reply does not depend on the voice: then all replies are equal.
        speakers: number of speakers; None: as the plan states.
    """

    id: str
    language: str
    transcript: str
    members: tuple[Member, ...]
    expect: str | None = None
    speakers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A row that does not become part of the test set.

    Attributes:
        stage: "texts", "voices", "events" or "checks".
        id: of the sentence, with the speaker where one of its groups is dropped.
        reason: a name such as "names-the-label"; the reasons are listed in docs/build-testset.md.
        detail: what was found.
    """

    stage: str
    id: str
    reason: str
    detail: str


_TEXT = text()
_CUES = Rule(
    lambda v: isinstance(v, dict) and bool(v) and all(is_text(x) for x in (*v, *v.values())),
    "a mapping of cues to labels, such as {emotion: sad}",
)
_MEMBER = Schema({"cues": _CUES, "reply": _TEXT})
_SENTENCE = Schema(
    {
        "id": _TEXT.optional(),
        "language": Rule(lambda v: isinstance(v, str) and language_tag(v) is not None, TAG_EXPECTED),
        "transcript": _TEXT,
        "members": Rule(
            lambda v: isinstance(v, list) and len(v) > 1 and all(isinstance(m, dict) for m in v),
            "a list of two or more members, each {cues:, reply:}",
        ),
        "expect": one_of(("same",)).optional(),
        "speakers": whole(1).optional(),
    }
)


def sentence_from(row: Mapping[str, Any], location: str, *, id: str | None = None) -> Sentence:
    """Return the sentence of a row.

    Args:
        id: for a row that has none.

    Raises:
        BadData: a key is unknown or missing, a value is invalid, or the members contradict `expect`.
    """
    _SENTENCE.check(dict(row), location)
    for member in row["members"]:
        _MEMBER.check(member, location)
    members = tuple(Member(cues=dict(m["cues"]), reply=m["reply"].strip()) for m in row["members"])
    if len({tuple(sorted(member.cues.items())) for member in members}) < len(members):
        raise BadData(f"{location}: two members have the same labels; each voice needs its own")
    same = row.get("expect") == "same"
    replies = len({member.reply for member in members})
    if same and replies > 1:
        raise BadData(f"{location}: expect is same, but the replies differ; give every member the same reply")
    if not same and replies < len(members):
        raise BadData(f"{location}: two members have the same reply; add `expect: same` if that is meant")
    return Sentence(
        id=str(row.get("id") or id or location),
        language=row["language"],
        transcript=row["transcript"].strip(),
        members=members,
        expect=row.get("expect"),
        speakers=row.get("speakers"),
    )


def sentence_row(sentence: Sentence) -> dict[str, Any]:
    """Return the row that `sentence_from` reads back."""
    row = asdict(sentence)
    row["members"] = list(row["members"])
    return {key: value for key, value in row.items() if value is not None}


def read_sentences(path: Path) -> tuple[Sentence, ...]:
    """Return the sentences of a YAML file, `{sentences: [...]}`; without an id they are numbered by language.

    Raises:
        BadData: the file is invalid; the message names the sentence.
    """
    content = read_yaml(path).content
    if not isinstance(content, dict) or set(content) != {"sentences"}:
        raise BadData(f"{path}: expected one key, sentences, with a list")
    return tuple(_numbered(content["sentences"], str(path)))


def _numbered(rows: Sequence[Any], location: str) -> Iterator[Sentence]:
    counts: dict[str, int] = {}
    ids: set[str] = set()
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        place = f"{location}: sentence {number}"
        if not isinstance(row, dict):
            raise BadData(f"{place} is {type(row).__name__}; expected {{language:, transcript:, members:}}")
        language = str(row.get("language"))
        counts[language] = counts.get(language, 0) + 1
        sentence = sentence_from(row, place, id=f"{language}-{counts[language]:02d}")
        if sentence.id in ids:
            raise BadData(f"{place}: id '{sentence.id}' occurs twice")
        ids.add(sentence.id)
        yield sentence
