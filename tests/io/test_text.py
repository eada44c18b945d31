"""Bytes are decoded strictly, and what they are not is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from echat_eval.errors import BadData, SystemFailure
from echat_eval.importers.draft import ImportOptions, RowRefused, find_audio, read_objects
from echat_eval.io.text import decoded, read_text
from echat_eval.records import AudioRef, Request
from echat_eval.systems.replay import Replay

WORDS = "恭喜你！快跟我说说。"


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_honoured(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(WORDS.encode(codec))
    assert read_text(path) == WORDS


@pytest.mark.parametrize("codec", ["gbk", "big5", "gb18030", "utf-16-le"])
def test_a_declared_charset_is_honoured(codec: str) -> None:
    words = "恭喜你"
    assert decoded(words.encode(codec), "x", charset=codec) == words


@pytest.mark.parametrize("charset", ["klingon", "hex", "rot13"])
def test_an_unknown_charset_is_named(charset: str) -> None:
    with pytest.raises(BadData, match=f"unknown charset '{charset}'"):
        decoded(b"abc", "x", charset=charset)


@pytest.mark.parametrize(
    ("content", "place"),
    [(WORDS.encode("gbk"), 0), (b"caf\xe9", 3), (b"ab\xed\xa0\x80", 2), (b"\xff\xfea", 2)],
)
def test_other_bytes_are_named_with_file_and_offset(content: bytes, place: int, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    with pytest.raises(BadData, match=rf"x\.txt: byte {place} \(0x"):
        read_text(path)


def test_a_reply_that_is_no_text_fails_alone(tmp_path: Path) -> None:
    folder = tmp_path / "replies"
    folder.mkdir()
    (folder / "a.txt").write_bytes(WORDS.encode("gbk"))
    (folder / "b.txt").write_bytes(WORDS.encode("utf-16"))
    sound = AudioRef(path=tmp_path / "q.wav", sha256="0" * 64, seconds=1.0)
    system = Replay(str(folder))
    assert system.respond(Request(id="b", audio=sound, language="zh")).text == WORDS
    with pytest.raises(SystemFailure, match=r"a\.txt: byte 0 \(0x"):
        system.respond(Request(id="a", audio=sound, language="zh"))


def test_rows_of_an_importer_are_strict(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(('{"txt": "' + WORDS + '"}').encode("gbk"))
    with pytest.raises(BadData, match=r"d\.jsonl: byte 9 \(0x"):
        list(read_objects(path))


def test_a_link_that_leaves_the_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (tmp_path / "blob").write_bytes(b"x")
    (folder / "a.wav").symlink_to(tmp_path / "blob")
    with pytest.raises(RowRefused, match="a link that leaves the folder"):
        find_audio("a.wav", ImportOptions(), folder)
    (folder / "replies.jsonl").write_text('{"id": "a", "audio": "a.wav"}\n')
    request = Request(
        id="a", audio=AudioRef(path=tmp_path / "q.wav", sha256="0" * 64, seconds=1.0), language="en"
    )
    with pytest.raises(SystemFailure, match="a link that leaves the folder"):
        Replay(str(folder / "replies.jsonl")).respond(request)
