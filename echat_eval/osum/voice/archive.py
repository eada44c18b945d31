"""Safe unpacking of CosyVoice-300M-25Hz.tar."""

from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from echat_eval.errors import BadData
from echat_eval.io.files import copy_atomically
from echat_eval.osum.voice.config import TOKENS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["NEEDED", "check_release", "unpack_release"]

#: Files that token2wav needs: two sets of weights, and two graphs to prepare a voice.
NEEDED = ("flow.pt", "hift.pt", "campplus.onnx", "speech_tokenizer_v1.onnx")
#: Limit of the bytes of all unpacked files together; the released ones have about 1.6 GB.
MAX_BYTES = 8 * 10**9
#: Optional: distinguishes the 25 Hz release from the 50 Hz one, whose weights have the same shapes.
SETTINGS = "cosyvoice.yaml"


def unpack_release(archive: Path, folder: Path) -> None:
    """Unpack the files that token2wav needs from the released tar into the folder, and nothing else.

    Every member is checked before the first byte is written. Files keep their base names only, without the
    folders of the archive, and are written atomically.

    Raises:
        BadData: the archive is not a tar, is truncated or incomplete, is of another frame rate, or has a
            link, a device, a duplicate file or a member that would leave the folder.
    """
    try:
        with tarfile.open(archive) as tar:
            members = select_members(tar, archive)
            missing = [name for name in NEEDED if name not in members]
            if missing:
                raise BadData(
                    f"{archive}: missing {', '.join(missing)}; expected the complete CosyVoice-300M-25Hz.tar"
                )
            if SETTINGS in members:
                check_settings(read_start(tar, members[SETTINGS]), source=f"{archive}: {SETTINGS}")
            folder.mkdir(parents=True, exist_ok=True)
            check_size(members, archive, free=shutil.disk_usage(folder).free)
            for name, member in members.items():
                write_member(tar, member, folder / name)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadData(
            f"{archive}: cannot be unpacked into {folder} ({error}); check the file and the disk"
        ) from None


def select_members(tar: tarfile.TarFile, archive: Path) -> dict[str, tarfile.TarInfo]:
    """Return file name -> member to write; raise BadData for any suspicious member."""
    selected: dict[str, tarfile.TarInfo] = {}
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
            if member.issparse():
                raise BadData(
                    f"{archive}: member '{member.name}' is sparse, so it unpacks to more than the archive "
                    "holds; refused, nothing was written"
                )
            if path.name in selected:
                raise BadData(f"{archive}: holds '{path.name}' twice; refused, nothing was written")
            selected[path.name] = member
    return selected


def check_size(members: Mapping[str, tarfile.TarInfo], archive: Path, *, free: int) -> None:
    """Raise BadData if the files would be too large: a small archive can declare any size.

    Args:
        free: bytes that are free on the disk.
    """
    total = sum(member.size for member in members.values())
    for limit, reason in ((MAX_BYTES, "the released files have less"), (free, "the disk has no more free")):
        if total > limit:
            raise BadData(
                f"{archive}: would unpack {total:,} bytes, more than {limit:,} ({reason}); refused, "
                "nothing was written"
            )


def write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Copy the bytes of one member to the target, atomically."""
    source = tar.extractfile(member)
    assert source is not None  # a regular file: select_members refuses others
    with source:
        copy_atomically(source, target)


def read_start(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    """Return the first megabyte of a text member."""
    source = tar.extractfile(member)
    assert source is not None  # a regular file
    with source:
        return source.read(1 << 20).decode("utf-8", "replace")


def check_release(folder: Path) -> None:
    """Raise BadData if files of an unpacked release are missing or its frame rate is not 25 Hz."""
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise BadData(f"{folder}: missing {', '.join(missing)}; unpack CosyVoice-300M-25Hz.tar there")
    settings = folder / SETTINGS
    if settings.is_file():
        check_settings(settings.read_text("utf-8", "replace"), source=str(settings))


def check_settings(text: str, *, source: str) -> None:
    """Raise BadData if a cosyvoice.yaml has another frame rate than 25 Hz; it is searched, not parsed."""
    for rate in re.findall(r"^\s*input_frame_rate:\s*(\d+)", text, re.MULTILINE):
        if int(rate) != TOKENS_PER_SECOND:
            raise BadData(
                f"{source}: {rate} tokens a second; expected {TOKENS_PER_SECOND}, the 25 Hz release"
            )
