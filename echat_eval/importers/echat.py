"""EChat-200K and EChat-eval style data: raw rows, tar shards, or tars with rows beside them.

The format is that of the public OSUM-EChat loader at commit f2bcfac. Unlike that loader, this one drops no
row without a reason and replaces no missing audio by noise. `txt` is the reply, `extra.question` (or `q_txt`)
the transcript of the query; earlier turns are `wav_1, txt_1, ...`, where `txt_n` is the reply of turn n.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from echat_eval.errors import BadData, UsageError
from echat_eval.importers.draft import (
    Draft,
    DraftTurn,
    ImportOptions,
    Refusal,
    RowRefused,
    audio_of,
    label_of,
    language_of,
    read_objects,
    source_of,
    text_of,
)
from echat_eval.io.jsonl import loads
from echat_eval.io.text import decoded
from echat_eval.labels import CUES

__all__ = ["read_echat"]

_AUDIO_SUFFIXES = ("wav", "flac", "mp3", "m4a", "ogg", "opus", "wma")
_ROW_SUFFIXES = (".jsonl", ".list", ".json", ".parquet")
#: Limit for one member of a tar; ten minutes of 48 kHz stereo PCM are 115 MB.
MAX_MEMBER_BYTES = 128 * 2**20
#: Limit for all members of a row, which are in memory at once.
MAX_ROW_BYTES = 2 * MAX_MEMBER_BYTES
#: Cue -> keys that hold its label, in `extra` or on the row.
_LABEL_KEYS = {
    "emotion": ("q_emotion", "emotion"),
    "age": ("age",),
    "gender": ("gender",),
    "event": ("caption", "event"),
}

#: Returns the audio that a row names: a path or the content.
AudioReader = Callable[[Any], Path | bytes]


def read_echat(folder: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield one entry per row of every row file and every tar below a folder (or of one such file).

    Three layouts are read. Combined: a row file with a tar of the same name (`x.list` and `x.tar`) takes its
    audio from the tar. Shard: a tar without a row file holds both rows and audio. Raw: any other row file
    names audio files.

    Raises:
        UsageError: the folder holds no such file.
    """
    files = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    lists = [p for p in files if p.suffix in _ROW_SUFFIXES]
    tars = {p.with_suffix(""): p for p in files if p.suffix == ".tar"}
    if folder.is_file() and folder.suffix in _ROW_SUFFIXES and folder.with_suffix(".tar").is_file():
        tars = {folder.with_suffix(""): folder.with_suffix(".tar")}
    if not lists and not tars:
        raise UsageError(f"{folder}: no .jsonl, .list, .json, .parquet or .tar below it")
    by_stem = {stem.name: tar for stem, tar in tars.items()}
    paired = set()
    for path in lists:
        tar = tars.get(path.with_suffix("")) or by_stem.get(path.stem)
        if tar is not None:
            paired.add(tar)
            yield from _combined(path, tar, options)
        else:
            yield from _raw(path, folder, options)
    for tar in tars.values():
        if tar not in paired:
            yield from _shard(tar, options)


def _raw(path: Path, folder: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    root = folder if folder.is_dir() else folder.parent
    for location, row in read_objects(path):
        yield _draft_or_refusal(
            location, row, options, lambda name: audio_of(name, options, path.parent, root)[0]
        )


def _combined(path: Path, tar: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    """Read rows from a file and audio from a tar; an index of the tar is kept, so it may have any size."""
    members = _index(tar)
    for location, row in read_objects(path):
        key = row.get("key") if isinstance(row, dict) else None

        def audio(name: Any, key: Any = key) -> bytes:
            field = (
                "wav" if name in (None, "", "only-meta") or not str(name).startswith("wav_") else str(name)
            )
            return _member_of(tar, members, str(key), field)

        with_names = row
        if isinstance(row, dict):
            turns = {f"wav_{n}": f"wav_{n}" for n in range(1, 100) if f"wav_{n}" in row or f"txt_{n}" in row}
            with_names = {**row, **turns, "wav": "only-meta"}
        yield _draft_or_refusal(location, with_names, options, audio)


def _shard(tar: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    """Read rows and audio from a tar: members `<key>.<field>`, consecutive ones of a key form a row."""
    try:
        with tarfile.open(tar, "r:") as archive:
            number = 0
            key: str | None = None
            row: dict[str, Any] = {}
            for member in archive:
                name, _, field = PurePosixPath(member.name).name.rpartition(".")
                if not member.isfile() or not name:
                    continue
                if name != key:
                    if key is not None:
                        yield _shard_row(f"{tar.name}#{number}", key, row, options)
                        number += 1
                    key, row = name, {}
                used = sum(len(content or b"") for content in row.values())
                row[field] = _content(archive, member, MAX_ROW_BYTES - used)
            if key is not None:
                yield _shard_row(f"{tar.name}#{number}", key, row, options)
    except tarfile.TarError as error:
        raise BadData(f"{tar}: not a tar, or cut short: {error}") from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, room: int) -> bytes | None:
    # A sparse member unpacks to more than the archive holds.
    if member.size > min(MAX_MEMBER_BYTES, room) or member.issparse():
        return None
    file = archive.extractfile(member)
    return file.read() if file is not None else None


def _shard_row(
    location: str, key: str, fields: Mapping[str, bytes | None], options: ImportOptions
) -> Draft | Refusal:
    row: dict[str, Any] = {"key": key}
    audio_by_name: dict[str, bytes | None] = {}
    for field, content in fields.items():
        stem, _, number = field.partition("_")
        if stem in _AUDIO_SUFFIXES:
            audio_by_name[f"wav_{number}" if number else "wav"] = content
            row[f"wav_{number}" if number else "wav"] = f"wav_{number}" if number else "wav"
            if not number:
                row["_suffix"] = f".{stem}"
        elif content is None:
            return Refusal(
                location=location,
                id=key,
                reason=f"member '{field}' is sparse or larger than {MAX_MEMBER_BYTES:,} bytes",
            )
        else:
            try:
                row[field] = decoded(content, f"member '{field}'").strip()
            except BadData as error:
                return Refusal(location=location, id=key, reason=str(error))

    def audio(name: Any) -> bytes:
        content = audio_by_name.get(str(name))
        if content is None:
            raise RowRefused("has no audio")
        return content

    return _draft_or_refusal(location, row, options, audio)


def _index(tar: Path) -> dict[str, tarfile.TarInfo]:
    try:
        with tarfile.open(tar, "r:") as archive:
            return {PurePosixPath(m.name).name: m for m in archive if m.isfile()}
    except tarfile.TarError as error:
        raise BadData(f"{tar}: not a tar, or cut short: {error}") from error


def _member_of(tar: Path, members: Mapping[str, tarfile.TarInfo], key: str, field: str) -> bytes:
    number = field.partition("_")[2]
    for suffix in _AUDIO_SUFFIXES:
        member = members.get(f"{key}.{suffix}" + (f"_{number}" if number else ""))
        if member is None:
            continue
        if member.size > MAX_MEMBER_BYTES or member.issparse():
            raise RowRefused(f"its audio is sparse or larger than {MAX_MEMBER_BYTES:,} bytes")
        with tar.open("rb") as file:
            file.seek(member.offset_data)
            return file.read(member.size)
    raise RowRefused(f"{tar.name} holds no audio for this key")


def _draft_or_refusal(location: str, row: Any, options: ImportOptions, audio: AudioReader) -> Draft | Refusal:
    key = row.get("key") if isinstance(row, dict) else None
    try:
        if not isinstance(row, dict):
            raise RowRefused("not a JSON object")
        return _draft(location, row, options, audio)
    except RowRefused as refused:
        return Refusal(location=location, id=None if key is None else str(key), reason=str(refused))


def _draft(location: str, row: Mapping[str, Any], options: ImportOptions, audio: AudioReader) -> Draft:
    key = text_of(row.get("key"), "key")
    task = str(row.get("task") or row.get("tas_tag") or "")
    if task and "CHAT" not in task.upper():
        raise RowRefused(f"its task tag is {task!r}, which is no dialogue")
    extra = _extra(row.get("extra"))
    if row.get("start") is not None or row.get("end") is not None:
        raise RowRefused("is part of a longer recording (start, end); cut it out first")
    transcript = text_of(
        extra.get("question") or extra.get("q_txt"), "words of the query (extra.question or q_txt)"
    )
    query = audio(row.get("wav"))
    reply = str(row.get("txt") or "").strip()
    return Draft(
        location=location,
        id=key,
        audio=query,
        suffix=str(row.get("_suffix", ".wav")),
        transcript=transcript,
        cues={cue: label for cue in CUES if (label := _label(cue, row, extra)) is not None},
        language=language_of(options, row.get("lang") or extra.get("lang")),
        source=source_of(options, extra.get("source"), extra.get("dataset")),
        speaker=str(row.get("speaker") or extra.get("speaker") or "").strip() or None,
        references=(reply,) if reply else (),
        expect="same" if extra.get("expect") == "same" else None,
        history=_history(row, audio),
        note=f"dataset: {extra['dataset']}" if extra.get("dataset") else None,
    )


def _extra(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = loads(value)
        except ValueError as error:
            raise RowRefused(f"its extra is not JSON: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RowRefused(f"its extra is a {type(value).__name__}, expected an object")
    return value


def _label(cue: str, row: Mapping[str, Any], extra: Mapping[str, Any]) -> str | None:
    for key in _LABEL_KEYS[cue]:
        for fields in (extra, row):
            if (label := label_of(cue, fields.get(key))) is not None:
                return label
    return None


def _history(row: Mapping[str, Any], audio: AudioReader) -> tuple[DraftTurn, ...]:
    """Return the earlier turns; a gap in their numbers refuses the row."""
    numbers = sorted(
        {
            int(k.rpartition("_")[2])
            for k, v in row.items()
            if v and k.startswith(("wav_", "txt_")) and k[4:].isdecimal() and len(k) < 9
        }
    )
    if numbers != list(range(1, len(numbers) + 1)):
        raise RowRefused(f"its earlier turns are {numbers}; expected 1, 2, ... without a gap")
    turns: list[DraftTurn] = []
    for number in numbers:
        name = row.get(f"wav_{number}")
        if not name:
            raise RowRefused(f"earlier turn {number} has no audio")
        turns.append(DraftTurn(role="user", audio=audio(name)))
        if row.get(f"txt_{number}"):
            turns.append(DraftTurn(role="assistant", text=str(row[f"txt_{number}"]).strip()))
    return tuple(turns)
