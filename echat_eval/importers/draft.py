"""The result of reading one row: the draft of a sample, or a refusal with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.errors import BadData
from echat_eval.importers.arrow_files import arrow_rows
from echat_eval.io.jsonl import loads
from echat_eval.io.text import read_text
from echat_eval.labels import SHIPPED, UNKNOWN
from echat_eval.labels import label_of as named_label
from echat_eval.languages import TAG_EXPECTED, base_of, language_tag

if TYPE_CHECKING:
    from echat_eval.importers.mapping import TableMapping
    from echat_eval.records import Cue

__all__ = [
    "Draft",
    "DraftReply",
    "DraftTurn",
    "ImportOptions",
    "Refusal",
    "RowRefused",
    "audio_of",
    "find_audio",
    "label_of",
    "language_of",
    "read_objects",
    "row_label",
    "source_of",
]

#: Spellings that mean "not labelled".
_UNLABELLED = frozenset({"", "none", "null", "nan", "n/a"})
#: First bytes of a file -> its suffix; other audio is taken for WAV, and refused later if it is none.
_SIGNATURES = (
    (b"RIFF", ".wav"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"ID3", ".mp3"),
    (b"\xff\xfb", ".mp3"),
)
#: Larger files of rows are refused.
MAX_JSON_BYTES = 2**30


class RowRefused(Exception):
    """The reason why a row cannot become a sample; the importer turns it into a Refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """Facts that the rows do not state; the user gives them.

    Attributes:
        language: of rows that name none.
        source: "real" or "synthetic", for rows that do not state it.
        real, synthetic: names of source corpora, for rows that name their corpus.
        audio: folder of the audio; by default beside the rows.
        mapping: of the columns of a table.
        files: glob of the table files in a folder.
        needs_audio: whether a table must have audio; a check of its rows also takes one without.
        labels: people's grades of replies, if they are not in the rows.
    """

    language: str | None = None
    source: Literal["real", "synthetic"] | None = None
    real: tuple[str, ...] = ()
    synthetic: tuple[str, ...] = ()
    audio: Path | None = None
    mapping: TableMapping | None = None
    files: str | None = None
    needs_audio: bool = True
    labels: Path | None = None

    def default(self, key: Literal["language", "source"]) -> str | None:
        """Return the language or source of rows that name none: an option's, else the mapping's constant."""
        option = self.language if key == "language" else self.source
        return option or (self.mapping.constants.get(key) if self.mapping else None)

    def cues(self, requested: tuple[str, ...]) -> tuple[str, ...]:
        """Return the cues of the task: those requested, else the mapping's; empty: those of every row."""
        return requested or (self.mapping.cues if self.mapping else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftTurn:
    """One earlier turn of the dialogue; `cues` are those of a user's voice, where the rows name them."""

    role: Literal["user", "assistant"]
    text: str | None = None
    audio: Path | bytes | None = None
    cues: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftReply:
    """One reply to a sample that people graded.

    Attributes:
        grades: (rater, dimension) -> grade, from the first to the second number of `scale`.
    """

    system: str
    audio: Path
    text: str | None = None
    grades: Mapping[tuple[str, str], float]
    scale: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One sample before its audio is copied and its contrast group is known.

    Attributes:
        location: file and row, for reports.
        audio: path of a file, or its content.
        suffix: file name suffix of the audio.
        expect: "same" if a good reply is the same for every voice of the row's group.
        spellings: cue -> the row's spelling, where it is not the label itself.
        turns: scripted turns of a live dialogue, in place of a history.
        replies: that people graded; a sample with such replies is in no contrast group.
    """

    location: str
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
    expect: Literal["same"] | None = None
    note: str | None = None
    spellings: Mapping[str, str] = field(default_factory=dict)
    turns: tuple[DraftTurn, ...] = ()
    replies: tuple[DraftReply, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A row that cannot become a sample, and the reason."""

    location: str
    id: str | None
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)


def label_of(cue: str, value: Any) -> str | None:
    """Return the benchmark's label for a row's spelling, as `row_label`.

    Raises:
        RowRefused: the spelling is no label of the benchmark.

    >>> label_of("age", "<MIDDLE_AGE>"), label_of("gender", "<NONE>"), label_of("emotion", None)
    ('adult', None, None)
    """
    return row_label(SHIPPED[cue], value)


def row_label(cue: Cue, value: Any) -> str | None:
    """Return a cue's label for a row's spelling; None if the row is not labelled.

    Raises:
        RowRefused: the spelling names no label of the cue.
    """
    plain = "" if value is None else str(value).strip().strip("<>").strip().casefold()
    if plain in _UNLABELLED and plain not in (() if cue.name in SHIPPED else cue.labels):
        return None
    label = named_label(cue, str(value))
    if label is None or label == UNKNOWN:
        whose = "of the benchmark" if cue.name in SHIPPED else f"of the cue ({', '.join(cue.labels)})"
        raise RowRefused(f"{cue.name} {str(value)[:60]!r} is no label {whose}")
    return label


def source_of(options: ImportOptions, value: Any = None, corpus: Any = None) -> Literal["real", "synthetic"]:
    """Return whether speech is real or synthetic, from the row or the options.

    Raises:
        RowRefused: neither states it.
    """
    if value in ("real", "synthetic"):
        return value  # type: ignore[no-any-return]
    name = str(corpus).casefold() if corpus else None
    if name is not None and name in {c.casefold() for c in options.real}:
        return "real"
    if name is not None and name in {c.casefold() for c in options.synthetic}:
        return "synthetic"
    if (default := options.default("source")) is not None:
        return default  # type: ignore[return-value]
    hint = f"--real {corpus} or --synthetic {corpus}" if corpus else "--source real or --source synthetic"
    raise RowRefused(f"does not state whether it is a recording or synthetic speech; set {hint}")


#: Language in words, or in another code -> BCP 47 tag.
_LANGUAGE_NAMES = {
    "cn": "zh", "chinese": "zh", "mandarin": "zh", "中文": "zh", "普通话": "zh", "english": "en",
    "german": "de", "deutsch": "de", "japanese": "ja", "jp": "ja", "日本語": "ja", "korean": "ko",
    "french": "fr", "français": "fr", "spanish": "es", "español": "es", "italian": "it",
}  # fmt: skip


def language_of(options: ImportOptions, value: Any = None) -> str:
    """Return a row's language, from the row or the options.

    Raises:
        RowRefused: neither states it, or it is no BCP 47 tag.
    """
    tag = str(value or options.default("language") or "").strip().strip("<>").casefold()
    found = language_tag(_LANGUAGE_NAMES.get(tag, tag))
    if not tag:
        raise RowRefused("does not state its language; set --language")
    if found is None:
        raise RowRefused(f"language '{tag[:40]}' is none; expected {TAG_EXPECTED}")
    # A corpus in one language names its region in some rows only.
    return base_of(found) if base_of(found) in ("en", "zh") else found


def find_audio(name: Any, options: ImportOptions, *folders: Path) -> Path:
    """Return the audio file that a row names, below `--audio` or below one of the given folders.

    Rows often hold paths of another machine. If a path does not exist, its leading parts are dropped one by
    one until a file is found. The file never lies outside the folders.

    Raises:
        RowRefused: the row names no audio, or no folder holds the file.
    """
    if not isinstance(name, str) or not name.strip():
        raise RowRefused("names no audio")
    parts = [part for part in Path(name.strip().replace("\\", "/")).parts if part not in ("/", ".", "")]
    if ".." in parts:
        raise RowRefused(f"audio path {name[:80]!r} leaves its folder")
    leaves = False
    for root in (options.audio, *folders) if options.audio is not None else folders:
        for start in range(len(parts)):
            path = root.joinpath(*parts[start:])
            try:
                if path.is_file():
                    if path.resolve().is_relative_to(root.resolve()):
                        return path
                    leaves = True
            except OSError:
                continue
    if leaves:
        raise RowRefused(f"audio {name[:80]!r}: a link that leaves the folder; copy the files into it")
    raise RowRefused(f"audio {name[:80]!r} is not there; name the folder of the audio with --audio")


def audio_of(value: Any, options: ImportOptions, *folders: Path) -> tuple[Path | bytes, str]:
    """Return audio and its suffix: embedded as bytes or `{bytes, path}`, or a file as in `find_audio`.

    Raises:
        RowRefused: as `find_audio`.
    """
    content, name = value, value
    if isinstance(value, dict):
        content, name = value.get("bytes"), value.get("path")
    if isinstance(content, bytes):
        return content, next((suffix for start, suffix in _SIGNATURES if content.startswith(start)), ".wav")
    path = find_audio(name, options, *folders)
    return path, path.suffix.lower()


def text_of(value: Any, description: str) -> str:
    """Return text without surrounding white space; raise RowRefused if it is blank or missing."""
    if not isinstance(value, str) or not value.strip():
        raise RowRefused(f"has no {description}")
    return value.strip()


def read_objects(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (location, value) for each row of a JSON Lines or Parquet file, or of a JSON file of a list.

    A location is `file:line`, `file#row` or `file[index]`. A line that is no JSON is yielded as text (its
    first 80 characters), so that the caller can refuse it.

    Raises:
        BadData: the file cannot be read or decoded, or is too large.
    """
    if path.suffix.lower() == ".parquet":
        yield from arrow_rows(path)
        return
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise BadData(f"{path}: larger than {MAX_JSON_BYTES:,} bytes")
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    text = read_text(path)
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
                yield f"{path.name}:{number}", loads(line)
            except ValueError:
                yield f"{path.name}:{number}", line[:80]
