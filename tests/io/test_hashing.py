"""One implementation of every hash; values that stand in run folders and caches do not change."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import pytest

import echat_eval
from echat_eval.annotators.acoustics import Acoustics
from echat_eval.errors import BadData
from echat_eval.io.audio import audio_ref
from echat_eval.io.hashing import (
    copy_verified,
    digest,
    file_sha256,
    fingerprint_of,
    sha256_of,
    unchanged_file_sha256,
)
from echat_eval.judge import load_judge
from echat_eval.scorers.outcome import OutcomeScorer
from echat_eval.task import load_task
from tests.support.tones import write_tone

PACKAGE = Path(echat_eval.__file__).parent


def _sha256_calls(path: Path) -> list[int]:
    """Return the lines of a module that compute a sha256 without `io.hashing`."""
    names = {"sha256", "file_digest", "new"}
    return [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if (
            isinstance(node, ast.Attribute)
            and node.attr in names
            and isinstance(node.value, ast.Name)
            and node.value.id == "hashlib"
        )
        or (isinstance(node, ast.ImportFrom) and node.module == "hashlib")
    ]


def test_no_other_module_computes_a_sha256() -> None:
    copies = {
        str(path.relative_to(PACKAGE)): lines
        for path in sorted(PACKAGE.rglob("*.py"))
        if (lines := _sha256_calls(path))
    }
    assert list(copies) == ["io/hashing.py"]


def test_a_copy_is_found(tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text("import hashlib\n\nx = hashlib.sha256(b'').hexdigest()\n")
    assert _sha256_calls(tmp_path / "copy.py") == [3]


@pytest.mark.parametrize("content", ["", "abc", "é", "x" * 100_000])
def test_text_bytes_blocks_and_files_have_one_hash(content: str, tmp_path: Path) -> None:
    data = content.encode()
    expected = hashlib.sha256(data).hexdigest()
    path = tmp_path / "file"
    path.write_bytes(data)
    assert sha256_of(content) == sha256_of(data) == sha256_of([data[:3], data[3:]]) == expected
    assert file_sha256(path) == unchanged_file_sha256(path) == expected


def test_file_larger_than_a_block_is_hashed_completely(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # 1.28 MB
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    assert unchanged_file_sha256(path) == sha256_of("one")
    path.write_bytes(b"three")
    assert unchanged_file_sha256(path) == sha256_of("three")


def test_a_copy_of_other_content_is_refused_and_replaces_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "new" / "target"
    source.write_bytes(b"x" * 3_000_000)
    copy_verified(source, target, file_sha256(source))
    assert target.read_bytes() == source.read_bytes()
    with pytest.raises(BadData, match=r"source: the file changed after it was read.*expected 2d711642b726"):
        copy_verified(source, target, sha256_of("x"))
    assert target.read_bytes() == source.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_audio_has_the_hash_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert write_tone(path, 440) == audio_ref(path).sha256 == file_sha256(path)


# Written before the merge, but for the rubric's. A change invalidates every stored score, annotation and verdict.
def test_persisted_values_are_unchanged() -> None:
    assert (
        OutcomeScorer().fingerprint()
        == fingerprint_of(["outcome", "1"])
        == ("e4a08973d801272c6b05658aa5536fd0716b981a358ec03592477a37a90e4e76")
    )
    assert load_judge("echat-r1").fingerprint() == (
        "0a1dc071b04c4618ed2371bb7ec1c1606ed9c8c0610193fad3e8097931127cf8"
    )
    assert load_task("emotion").sha256 == "c8e259e70d8f7f4a205832e074a228eb40340d79c8953122e6b40254706fa8d1"
    assert fingerprint_of({"b": [1, None, "é"], "a": 0.5}) == (
        hashlib.sha256('{"a":0.5,"b":[1,null,"é"]}'.encode()).hexdigest()
    )
    assert digest("kind", {"b": 1, "a": (1, 2)}) == (
        hashlib.sha256(b'[1,"kind",{"a":[1,2],"b":1}]').hexdigest()
    )
    assert len(Acoustics().fingerprint()) == 64
