"""What an importer reads of one row: a draft of a sample, or the reason why there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from echat_eval.errors import BadData
from echat_eval.io.jsonl import loads
from echat_eval.labels import UNKNOWN, to_label

__all__ = [
    "Draft",
    "DraftTurn",
    "ImportOptions",
    "NoSample",
    "Refusal",
    "label_of",
    "located",
    "objects",
    "source_of",
]

#: Spellings that say "not labelled".
_NONE = frozenset({"", "none", "null", "nan", "n/a"})
#: A larger file of rows is refused rather than read whole.
MAX_JSON_BYTES = 2**30


class NoSample(Exception):
    """Why a row is no sample; becomes a Refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the rows do not say and the person who imports does.

    Attributes:
        language: of every row that names none.
        source: "real" or "synthetic", of every row that does not say.
        real, synthetic: names of source corpora, where rows name theirs.
        audio: where the audio lies; by default beside the rows.
    """

    language: str | None = None
    source: Literal["real", "synthetic"] | None = None
    real: tuple[str, ...] = ()
    synthetic: tuple[str, ...] = ()
    audio: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftTurn:
    """One earlier turn."""

    role: Literal["user", "assistant"]
    text: str | None = None
    audio: Path | bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One sample, before its audio is copied and its group is known.

    Attributes:
        where: file and row, for reports.
        audio: a file, or the bytes of one.
        suffix: of the audio's name.
    """

    where: str
    id: str
    audio: Path | bytes
    suffix: str = ".wav"
    transcript: str
    cues: Mapping[str, str]
    language: str
    source: Literal["real", "synthetic"]
    speaker: str | None = None
    references: tuple[str, ...] = ()
    history: tuple[DraftTurn, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A row that is no sample, and why."""

    where: str
    id: str | None
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)


def label_of(cue: str, said: Any) -> str | None:
    """Return the benchmark's label for a row's spelling; None if the row does not say.

    Raises:
        NoSample: it says something that is no label here.

    >>> label_of("age", "<MIDDLE_AGE>"), label_of("gender", "<NONE>"), label_of("emotion", None)
    ('adult', None, None)
    """
    if said is None or str(said).strip().strip("<>").strip().casefold() in _NONE:
        return None
    label = to_label(cue, str(said))
    if label is None or label == UNKNOWN:
        raise NoSample(f"{cue} {str(said)[:60]!r} is no label of the benchmark")
    return label


def source_of(told: ImportOptions, said: Any = None, corpus: Any = None) -> Literal["real", "synthetic"]:
    """Return whether speech is real, as the row or the person who imports says.

    Raises:
        NoSample: nobody says.
    """
    if said in ("real", "synthetic"):
        return said  # type: ignore[no-any-return]
    name = str(corpus).casefold() if corpus else None
    if name is not None and name in {c.casefold() for c in told.real}:
        return "real"
    if name is not None and name in {c.casefold() for c in told.synthetic}:
        return "synthetic"
    if told.source is not None:
        return told.source
    hint = f"--real {corpus} or --synthetic {corpus}" if corpus else "--source real or --source synthetic"
    raise NoSample(f"nothing says whether it is a recording or synthetic speech; say {hint}")


def language_of(told: ImportOptions, said: Any = None) -> str:
    """Return a row's language, as it or the person who imports says.

    Raises:
        NoSample: nobody says, or the benchmark does not know it.
    """
    tag = str(said or told.language or "").strip().strip("<>").casefold()
    tag = {"cn": "zh", "chinese": "zh", "mandarin": "zh", "english": "en"}.get(tag, tag).partition("-")[0]
    if not tag:
        raise NoSample("nothing says its language; say --language")
    if tag not in ("en", "zh"):
        raise NoSample(f"language '{tag}' is none of en, zh")
    return tag


def located(name: Any, told: ImportOptions, *folders: Path) -> Path:
    """Return the audio file a row names, below `--audio` or below one of the given folders.

    Foreign rows often hold another machine's paths, so a path that is not there is looked for by its
    ever shorter ends; it never leaves the folders.

    Raises:
        NoSample: no such file there.
    """
    if not isinstance(name, str) or not name.strip():
        raise NoSample("names no audio")
    parts = [part for part in Path(name.strip().replace("\\", "/")).parts if part not in ("/", ".", "")]
    if ".." in parts:
        raise NoSample(f"audio path {name[:80]!r} leaves its folder")
    for root in (told.audio, *folders) if told.audio is not None else folders:
        for start in range(len(parts)):
            path = root.joinpath(*parts[start:])
            try:
                if path.is_file() and path.resolve().is_relative_to(root.resolve()):
                    return path
            except OSError:
                continue
    raise NoSample(f"audio {name[:80]!r} is not there; say where the audio lies with --audio")


def text_of(said: Any, what: str) -> str:
    """Return non-blank text on its own, or raise NoSample."""
    if not isinstance(said, str) or not said.strip():
        raise NoSample(f"has no {what}")
    return said.strip()


def objects(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (file:line or file:number, value) of a JSON Lines file, or of a JSON file that holds a list.

    A line that is no JSON is yielded as the text it is, for its reason.

    Raises:
        BadData: the file cannot be read or is neither.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise BadData(f"{path}: larger than {MAX_JSON_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        whole = loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, list):
        yield from ((f"{path.name}[{number}]", value) for number, value in enumerate(whole))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield f"{path.name}:{number}", json.loads(line)
            except (ValueError, RecursionError):
                yield f"{path.name}:{number}", line[:80]
