"""One atomic writer for text, bytes, streams and files."""

from __future__ import annotations

import ast
import io
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import echat_eval
from echat_eval.errors import UsageError
from echat_eval.io.files import check_target, copy_atomically, replacing, write_atomically

PACKAGE = Path(echat_eval.__file__).parent
Writer = Callable[[Path, bytes], None]


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, content)


def _write_text(path: Path, content: bytes) -> None:
    write_atomically(path, content.decode(), durable=False)


def _copy_file(path: Path, content: bytes) -> None:
    source = path.with_name("source")
    source.write_bytes(content)
    source.chmod(0o400)
    copy_atomically(source, path)
    source.unlink()


def _copy_stream(path: Path, content: bytes) -> None:
    copy_atomically(io.BytesIO(content), path, durable=True)


WRITERS = pytest.mark.parametrize("write", [_write, _write_text, _copy_file, _copy_stream])


@WRITERS
def test_content_replaces_the_file_and_nothing_else_remains(write: Writer, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first", b"", b"x" * 3_000_000):
        write(path, content)
        assert path.read_bytes() == content
        assert os.listdir(tmp_path) == ["file"]


@WRITERS
def test_new_file_has_the_usual_permissions_and_a_replaced_one_keeps_its_own(
    write: Writer, tmp_path: Path
) -> None:
    (tmp_path / "usual").write_bytes(b"")
    path = tmp_path / "file"
    write(path, b"a")
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode
    path.chmod(0o640)
    write(path, b"b")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@WRITERS
def test_error_leaves_the_old_content_and_no_temporary_file(
    write: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("echat_eval.io.files.os.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    assert not list(tmp_path.glob(".*.tmp"))


def test_folders_are_created(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b" / "file", "é")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == "é".encode()


@pytest.mark.parametrize(("durable", "forced"), [(True, 1), (False, 0)])
def test_only_a_durable_write_forces_the_disk(
    durable: bool, forced: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr("echat_eval.io.files.os.fsync", calls.append)
    with replacing(tmp_path / "file", durable=durable) as temporary:
        temporary.write_bytes(b"x")
        assert not (tmp_path / "file").exists()
    assert len(calls) == forced


def test_threads_may_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [str(n).encode() * 100_000 for n in range(10)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_atomically(path, content, durable=False), contents * 5))
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["file"]


def _replaces(path: Path) -> list[int]:
    """Return the lines of a module that copy or rename files without `io.files`."""
    lines = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and _is_method(node.value, {"replace", "rename"}):
            lines.append(node.lineno)  # a statement: text and dates would use the result
        elif _is_method(node, {"replace", "rename"}, "os") or _is_method(
            node, {"copy", "copy2", "copyfile", "copyfileobj", "move"}, "shutil"
        ):
            assert isinstance(node, ast.Call)
            lines.append(node.lineno)
    return lines


def _is_method(node: ast.AST, names: set[str], module: str | None = None) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    owner = node.func.value
    return node.func.attr in names and (
        module is None or (isinstance(owner, ast.Name) and owner.id == module)
    )


def test_no_other_module_replaces_files() -> None:
    copies = {
        str(path.relative_to(PACKAGE)): lines
        for path in sorted(PACKAGE.rglob("*.py"))
        if "testing" not in path.parts and (lines := _replaces(path))
    }
    assert list(copies) == ["io/files.py"]


@pytest.mark.parametrize(
    "code", ["os.replace(a, b)", "a.replace(b)", "shutil.copyfile(a, b)", "x = shutil.move(a, b)"]
)
def test_a_copy_of_the_writer_is_found(code: str, tmp_path: Path) -> None:
    (tmp_path / "copy.py").write_text(f"text = text.replace('a', 'b')\n{code}\n")
    assert set(_replaces(tmp_path / "copy.py")) == {2}


def test_a_target_that_cannot_be_a_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    pipe, folder, file = tmp_path / "pipe", tmp_path / "folder", tmp_path / "file"
    os.mkfifo(pipe)
    folder.mkdir()
    file.write_text("old")
    for path in (pipe, folder):
        with pytest.raises(UsageError, match=r"is no regular file; name another with --json"):
            check_target(path, "--json")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(UsageError, match=r"cannot be written: .*; name another file with --json"):
        check_target(file / "below" / "x.json", "--json")
    check_target(file, "--json")
    check_target(tmp_path / "new" / "x.json", "--json")
    assert file.read_text() == "old"
    assert list((tmp_path / "new").iterdir()) == []
