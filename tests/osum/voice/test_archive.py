"""Unpacking the released tar: files written, and archives refused before anything is written."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest

from echat_eval.errors import BadData
from echat_eval.osum.voice.archive import NEEDED, check_release, unpack_release

ROOT = "CosyVoice-300M-25Hz"
#: How tarfile writes an archive: plain, or compressed with gzip.
WriteMode = Literal["w", "w:gz"]
YAML = b"flow: !new:x\n    input_frame_rate: 25\n"


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def write_tar(
    path: Path,
    files: dict[str, bytes],
    extra: list[tarfile.TarInfo] | None = None,
    mode: WriteMode = "w",
) -> Path:
    with tarfile.open(path, mode) as tar:
        for info in extra or []:
            tar.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def release(**more: bytes) -> dict[str, bytes]:
    return {f"{ROOT}/{name}": f"the {name}".encode() for name in NEEDED} | {
        f"{ROOT}/{k}": v for k, v in more.items()
    }


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_only_needed_files_are_written(tmp_path: Path, mode: WriteMode) -> None:
    files = release(**{"cosyvoice.yaml": YAML, "llm.pt": b"unused", "asset/notes.md": b"unused"})
    unpack_release(
        write_tar(tmp_path / "a.tar", files, [member(ROOT, tarfile.DIRTYPE)], mode), tmp_path / "out"
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*NEEDED, "cosyvoice.yaml"])
    assert (tmp_path / "out" / "flow.pt").read_bytes() == b"the flow.pt"


@pytest.mark.parametrize(
    ("suspicious", "message"),
    [
        (member("../flow.pt"), r"member '\.\./flow\.pt' would leave its folder"),
        (member(f"{ROOT}/../../x"), "would leave its folder"),
        (member("/etc/flow.pt"), "would leave its folder"),
        (member("a\\..\\flow.pt"), "would leave its folder"),
        (member(f"{ROOT}/flow.pt", tarfile.SYMTYPE, "/etc/passwd"), "is a link or device"),
        (member(f"{ROOT}/x", tarfile.LNKTYPE, f"{ROOT}/flow.pt"), "is a link or device"),
        (member(f"{ROOT}/x", tarfile.FIFOTYPE), "is a link or device"),
        (member(f"{ROOT}/x", tarfile.CHRTYPE), "is a link or device"),
        (member("other/flow.pt"), "holds 'flow.pt' twice"),
    ],
    ids=[
        "parent",
        "inner parent",
        "absolute",
        "backslash",
        "symlink",
        "hard link",
        "fifo",
        "device",
        "twice",
    ],
)
def test_archive_with_a_suspicious_member_is_refused(
    suspicious: tarfile.TarInfo, message: str, tmp_path: Path
) -> None:
    archive = write_tar(tmp_path / "a.tar", release(), [suspicious])
    with pytest.raises(BadData, match=message):
        unpack_release(archive, tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.tar"]


def test_missing_files_are_listed_and_nothing_is_written(tmp_path: Path) -> None:
    files = release()
    del files[f"{ROOT}/hift.pt"], files[f"{ROOT}/campplus.onnx"]
    with pytest.raises(BadData, match=r"missing hift\.pt, campplus\.onnx"):
        unpack_release(write_tar(tmp_path / "a.tar", files), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def write_sparse(path: Path, name: str, size: int) -> None:
    """Append a member of which the archive holds nothing and that unpacks to `size` zeros (GNU tar -S)."""
    info = tarfile.TarInfo(name)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = f"{size:011o}".encode() + b"\0"
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}".encode() + b"\0 "
    with tarfile.open(path, "a") as tar:
        assert tar.fileobj is not None
        tar.fileobj.write(bytes(header))
        tar.offset += len(header)


def test_a_sparse_member_is_refused_unread(tmp_path: Path) -> None:
    files = release()
    del files[f"{ROOT}/flow.pt"]
    archive = write_tar(tmp_path / "a.tar", files)
    write_sparse(archive, f"{ROOT}/flow.pt", 10**6)
    with tarfile.open(archive) as tar:
        assert [m.name for m in tar if m.issparse() and m.size == 10**6] == [f"{ROOT}/flow.pt"]
    with pytest.raises(BadData, match=r"flow\.pt' is sparse, .*nothing was written"):
        unpack_release(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_larger_than_the_disk_is_refused_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_tar(tmp_path / "a.tar", release())
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=30))
    with pytest.raises(BadData, match="the disk has no more free"):
        unpack_release(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_truncated_archive_leaves_no_partial_file(tmp_path: Path) -> None:
    files = release() | {f"{ROOT}/speech_tokenizer_v1.onnx": bytes(100_000)}
    archive = write_tar(tmp_path / "a.tar", files)
    archive.write_bytes(archive.read_bytes()[:50_000])
    with pytest.raises(BadData, match="cannot be unpacked"):
        unpack_release(archive, tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*.tmp"))
    assert not (tmp_path / "out" / "speech_tokenizer_v1.onnx").exists()


@pytest.mark.parametrize("content", [b"", b"not a tar" * 100])
def test_other_content_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(BadData, match=r"a\.tar: "):
        unpack_release(tmp_path / "a.tar", tmp_path / "out")


def test_another_frame_rate_is_refused(tmp_path: Path) -> None:
    files = release(**{"cosyvoice.yaml": YAML.replace(b"25", b"50")})
    with pytest.raises(BadData, match="50 tokens a second; expected 25"):
        unpack_release(write_tar(tmp_path / "a.tar", files), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unpacked_release_is_checked(tmp_path: Path) -> None:
    unpack_release(write_tar(tmp_path / "a.tar", release(**{"cosyvoice.yaml": YAML})), tmp_path / "out")
    check_release(tmp_path / "out")
    (tmp_path / "out" / "cosyvoice.yaml").write_bytes(YAML.replace(b"25", b"50"))
    with pytest.raises(BadData, match="50 tokens a second"):
        check_release(tmp_path / "out")
    (tmp_path / "flow.pt").touch()
    with pytest.raises(BadData, match=r"missing hift\.pt, campplus\.onnx, speech_tokenizer_v1\.onnx"):
        check_release(tmp_path)
