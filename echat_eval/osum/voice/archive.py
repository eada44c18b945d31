"""Unpacking CosyVoice-300M-25Hz.tar without trusting it."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from echat_eval.errors import BadData
from echat_eval.osum.voice.config import TOKENS_PER_SECOND

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NEEDED", "check_release", "unpack_release"]

#: What token2wav reads: two sets of weights, and two graphs to prepare a voice.
NEEDED = ("flow.pt", "hift.pt", "campplus.onnx", "speech_tokenizer_v1.onnx")
#: Written too if it is there: it tells the 25 Hz release from the 50 Hz one, whose weights look alike.
SETTINGS = "cosyvoice.yaml"


def unpack_release(archive: Path, folder: Path) -> None:
    """Write what token2wav needs of the released tar into the folder, and nothing else.

    Every member is looked at before the first byte is written. Files are written under the names listed here,
    whatever folder the archive holds them in, and appear whole or not at all.

    Raises:
        BadData: not a tar, cut short, a link, a device, a member that would leave the folder, a file twice,
            files missing, or the release of another frame rate.
    """
    try:
        with tarfile.open(archive) as tar:
            members = choose_members(tar, archive)
            missing = [name for name in NEEDED if name not in members]
            if missing:
                raise BadData(
                    f"{archive}: lacks {', '.join(missing)}; expected CosyVoice-300M-25Hz.tar, whole"
                )
            if SETTINGS in members:
                check_settings(read_start(tar, members[SETTINGS]), where=f"{archive}: {SETTINGS}")
            folder.mkdir(parents=True, exist_ok=True)
            for name, member in members.items():
                write_member(tar, member, folder / name)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadData(
            f"{archive}: cannot be unpacked into {folder} ({error}); check the file and the disk"
        ) from None


def choose_members(tar: tarfile.TarFile, archive: Path) -> dict[str, tarfile.TarInfo]:
    """Return the members to write by the name to write; refuse the archive for one suspicious member."""
    chosen: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name:
            raise BadData(
                f"{archive}: member '{member.name}' would leave its folder; refused, nothing was written"
            )
        if not (member.isreg() or member.isdir()):
            raise BadData(
                f"{archive}: member '{member.name}' is a link or device; refused, nothing was written"
            )
        if member.isreg() and path.name in (*NEEDED, SETTINGS):
            if path.name in chosen:
                raise BadData(f"{archive}: holds '{path.name}' twice; refused, nothing was written")
            chosen[path.name] = member
    return chosen


def write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Copy one member's bytes to the target, which appears when it is whole."""
    source = tar.extractfile(member)
    assert source is not None  # a regular file, or choose_members would have refused it
    partial = target.with_name(f"{target.name}.part")
    try:
        with source, partial.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def read_start(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    """Return the first megabyte of a text member."""
    source = tar.extractfile(member)
    assert source is not None  # a regular file
    with source:
        return source.read(1 << 20).decode("utf-8", "replace")


def check_release(folder: Path) -> None:
    """Raise BadData if an unpacked release lacks files, or its settings name another frame rate."""
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise BadData(f"{folder}: lacks {', '.join(missing)}; unpack CosyVoice-300M-25Hz.tar there")
    settings = folder / SETTINGS
    if settings.is_file():
        check_settings(settings.read_text("utf-8", "replace"), where=str(settings))


def check_settings(text: str, *, where: str) -> None:
    """Raise BadData if a cosyvoice.yaml names another frame rate than 25 Hz; it is searched, never loaded."""
    for rate in re.findall(r"^\s*input_frame_rate:\s*(\d+)", text, re.MULTILINE):
        if int(rate) != TOKENS_PER_SECOND:
            raise BadData(f"{where}: {rate} tokens a second; expected {TOKENS_PER_SECOND}, the 25 Hz release")
