"""EChat-200K and EChat-eval style data: raw rows, tar shards, or tars with rows beside them.

The form is that of the public OSUM-EChat loader at commit f2bcfac; unlike it, no row is dropped without a
reason and no missing sound becomes noise. `txt` is the reply, `extra.question` (or `q_txt`) the
words of the query; earlier turns are `wav_1, txt_1, ...`, where `txt_n` is the reply of turn n.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from echat_eval.errors import BadData, UsageError
from echat_eval.importers.draft import (
    Draft,
    DraftTurn,
    ImportOptions,
    NoSample,
    Refusal,
    label_of,
    language_of,
    located,
    objects,
    source_of,
    text_of,
)
from echat_eval.io.jsonl import loads
from echat_eval.labels import CUES

__all__ = ["read_echat"]

_SOUNDS = ("wav", "flac", "mp3", "m4a", "ogg", "opus", "wma")
_ROWS = (".jsonl", ".list", ".json")
#: One member of a tar; ten minutes of 48 kHz stereo PCM are 115 MB.
MAX_MEMBER_BYTES = 128 * 2**20
#: Cue -> keys that hold it, in `extra` or on the row.
_SPELLED = {
    "emotion": ("q_emotion", "emotion"),
    "age": ("age",),
    "gender": ("gender",),
    "event": ("caption", "event"),
}


def read_echat(folder: Path, told: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield one entry per row of every row file and every tar below a folder (or of one such file).

    A row file whose tar lies beside it (`x.list` and `x.tar`) takes its audio from there (combine); a tar
    without rows holds them itself (shard); any other row file names audio files (raw).

    Raises:
        UsageError: no such files there.
    """
    files = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    lists = [p for p in files if p.suffix in _ROWS]
    tars = {p.with_suffix(""): p for p in files if p.suffix == ".tar"}
    if folder.is_file() and folder.suffix in _ROWS and folder.with_suffix(".tar").is_file():
        tars = {folder.with_suffix(""): folder.with_suffix(".tar")}
    if not lists and not tars:
        raise UsageError(f"{folder}: no .jsonl, .list, .json or .tar below it")
    by_stem = {stem.name: tar for stem, tar in tars.items()}
    paired = set()
    for path in lists:
        tar = tars.get(path.with_suffix("")) or by_stem.get(path.stem)
        if tar is not None:
            paired.add(tar)
            yield from _combined(path, tar, told)
        else:
            yield from _raw(path, folder, told)
    for tar in tars.values():
        if tar not in paired:
            yield from _shard(tar, told)


def _raw(path: Path, folder: Path, told: ImportOptions) -> Iterator[Draft | Refusal]:
    root = folder if folder.is_dir() else folder.parent
    for where, row in objects(path):
        yield _made(where, row, told, lambda name: located(name, told, path.parent, root))


def _combined(path: Path, tar: Path, told: ImportOptions) -> Iterator[Draft | Refusal]:
    """Rows from a file, sound from a tar; the tar is read once, so it may be any size."""
    members = _index(tar)
    for where, row in objects(path):
        key = row.get("key") if isinstance(row, dict) else None

        def sound(name: Any, key: Any = key) -> bytes:
            field = (
                "wav" if name in (None, "", "only-meta") or not str(name).startswith("wav_") else str(name)
            )
            return _member_of(tar, members, str(key), field)

        named = row
        if isinstance(row, dict):
            turns = {f"wav_{n}": f"wav_{n}" for n in range(1, 100) if f"wav_{n}" in row or f"txt_{n}" in row}
            named = {**row, **turns, "wav": "only-meta"}
        yield _made(where, named, told, sound)


def _shard(tar: Path, told: ImportOptions) -> Iterator[Draft | Refusal]:
    """Rows and sound from a tar: members `<key>.<field>`, grouped while the key stays the same."""
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
                        yield _shard_row(f"{tar.name}#{number}", key, row, told)
                        number += 1
                    key, row = name, {}
                row[field] = _content(archive, member)
            if key is not None:
                yield _shard_row(f"{tar.name}#{number}", key, row, told)
    except tarfile.TarError as error:
        raise BadData(f"{tar}: not a tar, or cut short: {error}") from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    if member.size > MAX_MEMBER_BYTES:
        return None
    file = archive.extractfile(member)
    return file.read() if file is not None else None


def _shard_row(
    where: str, key: str, fields: Mapping[str, bytes | None], told: ImportOptions
) -> Draft | Refusal:
    row: dict[str, Any] = {"key": key}
    sounds: dict[str, bytes | None] = {}
    for field, content in fields.items():
        stem, _, number = field.partition("_")
        if stem in _SOUNDS:
            sounds[f"wav_{number}" if number else "wav"] = content
            row[f"wav_{number}" if number else "wav"] = f"wav_{number}" if number else "wav"
            if not number:
                row["_suffix"] = f".{stem}"
        elif content is None:
            return Refusal(
                where=where, id=key, reason=f"member '{field}' is larger than {MAX_MEMBER_BYTES:,} bytes"
            )
        else:
            row[field] = content.decode("utf-8", "replace").strip()

    def sound(name: Any) -> bytes:
        found = sounds.get(str(name))
        if found is None:
            raise NoSample("has no audio")
        return found

    return _made(where, row, told, sound)


def _index(tar: Path) -> dict[str, tarfile.TarInfo]:
    try:
        with tarfile.open(tar, "r:") as archive:
            return {PurePosixPath(m.name).name: m for m in archive if m.isfile()}
    except tarfile.TarError as error:
        raise BadData(f"{tar}: not a tar, or cut short: {error}") from error


def _member_of(tar: Path, members: Mapping[str, tarfile.TarInfo], key: str, field: str) -> bytes:
    number = field.partition("_")[2]
    for kind in _SOUNDS:
        member = members.get(f"{key}.{kind}" + (f"_{number}" if number else ""))
        if member is None:
            continue
        if member.size > MAX_MEMBER_BYTES:
            raise NoSample(f"its audio is larger than {MAX_MEMBER_BYTES:,} bytes")
        with tar.open("rb") as file:
            file.seek(member.offset_data)
            return file.read(member.size)
    raise NoSample(f"{tar.name} holds no audio for this key")


def _made(where: str, row: Any, told: ImportOptions, sound: Any) -> Draft | Refusal:
    key = row.get("key") if isinstance(row, dict) else None
    try:
        if not isinstance(row, dict):
            raise NoSample("not a JSON object")
        return _draft(where, row, told, sound)
    except NoSample as reason:
        return Refusal(where=where, id=None if key is None else str(key), reason=str(reason))


def _draft(where: str, row: Mapping[str, Any], told: ImportOptions, sound: Any) -> Draft:
    key = text_of(row.get("key"), "key")
    task = str(row.get("task") or row.get("tas_tag") or "")
    if task and "CHAT" not in task.upper():
        raise NoSample(f"its task tag is {task!r}, which is no dialogue")
    extra = _extra(row.get("extra"))
    if row.get("start") is not None or row.get("end") is not None:
        raise NoSample("is a part of a longer recording (start, end); cut it out first")
    words = text_of(
        extra.get("question") or extra.get("q_txt"), "words of the query (extra.question or q_txt)"
    )
    audio = sound(row.get("wav"))
    reply = str(row.get("txt") or "").strip()
    return Draft(
        where=where,
        id=key,
        audio=audio,
        suffix=str(row.get("_suffix", ".wav")),
        transcript=words,
        cues={cue: label for cue in CUES if (label := _label(cue, row, extra)) is not None},
        language=language_of(told, row.get("lang") or extra.get("lang")),
        source=source_of(told, extra.get("source"), extra.get("dataset")),
        speaker=str(row.get("speaker") or extra.get("speaker") or "").strip() or None,
        references=(reply,) if reply else (),
        history=_history(row, sound),
        note=f"dataset: {extra['dataset']}" if extra.get("dataset") else None,
    )


def _extra(said: Any) -> Mapping[str, Any]:
    if isinstance(said, str):
        try:
            said = loads(said)
        except ValueError as error:
            raise NoSample(f"its extra is not JSON: {error}") from error
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise NoSample(f"its extra is a {type(said).__name__}")
    return said


def _label(cue: str, row: Mapping[str, Any], extra: Mapping[str, Any]) -> str | None:
    for key in _SPELLED[cue]:
        for place in (extra, row):
            if (label := label_of(cue, place.get(key))) is not None:
                return label
    return None


def _history(row: Mapping[str, Any], sound: Any) -> tuple[DraftTurn, ...]:
    """Return earlier turns; a gap among their numbers is a reason, not a shorter history."""
    numbers = sorted(
        {
            int(k.rpartition("_")[2])
            for k, v in row.items()
            if v and k.startswith(("wav_", "txt_")) and k[4:].isdigit()
        }
    )
    if numbers != list(range(1, len(numbers) + 1)):
        raise NoSample(f"its earlier turns are {numbers}; expected 1, 2, ... without a gap")
    turns: list[DraftTurn] = []
    for number in numbers:
        asked = row.get(f"wav_{number}")
        if not asked:
            raise NoSample(f"earlier turn {number} has no audio")
        turns.append(DraftTurn(role="user", audio=sound(asked)))
        if row.get(f"txt_{number}"):
            turns.append(DraftTurn(role="assistant", text=str(row[f"txt_{number}"]).strip()))
    return tuple(turns)
