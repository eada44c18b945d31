"""What a terminal cannot show, or nobody reads, changes no exit code."""

from __future__ import annotations

import ast
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from echat_eval import cli

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "echat_eval"

ENCODINGS = ["ascii", "latin-1:strict"]


def command(
    *arguments: str, encoding: str, folder: Path, pipe: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line with an encoding; with `pipe`, stdout goes there."""
    return subprocess.run(
        [sys.executable, "-m", "echat_eval", *arguments],
        stdout=subprocess.PIPE if pipe is None else pipe,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        cwd=folder,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_unencodable_characters_are_replaced(encoding: str, tmp_path: Path) -> None:
    done = command("leaderboard", "runs/说话…", encoding=encoding, folder=tmp_path)
    assert done.returncode == 2
    assert b"a bug of ours" not in done.stderr
    shown = "runs/说话…".encode(encoding.partition(":")[0], "backslashreplace")
    assert shown in done.stderr


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["doctor"]])
def test_a_closed_pipe_changes_no_exit_code(arguments: list[str], tmp_path: Path) -> None:
    usual = command(*arguments, encoding="utf-8", folder=tmp_path).returncode
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = command(*arguments, encoding="utf-8", folder=tmp_path, pipe=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr.count(b"BrokenPipe")) == (usual, 0)


def python(program: str, folder: Path, stdout: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run a program with a redirection of the shell, such as `>&-`."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {stdout}', sys.executable, program],
        capture_output=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        timeout=60,
    )


#: A command that prints much and decides 3.
PRINTS_MUCH = """
import contextlib, os
import echat_eval.cli as c
from echat_eval.cli.terminal import show
def main(**_):
    for number in range(20000):
        show(f"line {number}")
        show("note", err=True)
    with open("result", "w") as file:
        for number in (1, 2):  # as a library in C does
            with contextlib.suppress(OSError):
                os.write(number, b"noise")
        file.write("data")
    return 3
c.command_line.main = main
c.main()
"""


@pytest.mark.parametrize("stdout", ["| head", ">&- 2>&-", ">/dev/full 2>&1"])
def test_a_lost_output_changes_neither_exit_code_nor_files(stdout: str, tmp_path: Path) -> None:
    if stdout == "| head":
        os.mkfifo(tmp_path / "pipe")
        stdout = ">pipe & head -n 1 <pipe; wait $!"
    code = python(PRINTS_MUCH, tmp_path, stdout).returncode
    assert (code, (tmp_path / "result").read_text()) == (3, "data")


#: Every way to print, with a text that takes over a terminal.
PRINTS_ESCAPES = r"""
import logging, sys, warnings
from echat_eval.cli.progress import Bar
from echat_eval.cli.terminal import open_terminal, overwrite, show, show_table
from echat_eval.cli.fitted_table import Cells, fitted
open_terminal()
text = "\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202e[/b][link=file:///x]\udc9b"
show(text, text + "\n" + text)
show(text, err=True)
overwrite(text)
print(text)
sys.stderr.write(text)
logging.getLogger("echat_eval.any").warning("%s", text)
warnings.warn(text.replace("\n", " "))
show_table(*fitted(Cells(text, ("name", text), [[[text, text]]], labels=1), 80), text)
with Bar() as bar:
    bar.stage(text, 3, 1)
    bar.note(text)
    bar.show_cost(lambda: text)
    bar.advance()
    print(text)
    logging.getLogger("echat_eval.any").warning("%s", text)
show("end")
"""


@pytest.mark.parametrize("on_terminal", [True, False])
def test_escapes_in_texts_never_reach_the_terminal(on_terminal: bool, tmp_path: Path) -> None:
    if on_terminal:
        reader, writer = os.openpty()
        child = subprocess.Popen(
            [sys.executable, "-c", PRINTS_ESCAPES],
            stdout=writer,
            stderr=writer,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "300"},
        )
        os.close(writer)
        output = b""
        with contextlib.suppress(OSError):  # the end of a pseudo-terminal
            while part := os.read(reader, 1 << 16):
                output += part
        os.close(reader)
        assert child.wait(60) == 0, output
        assert b"\x1b[" in output  # rich moves the cursor for its bars
    else:
        done = python(PRINTS_ESCAPES, tmp_path)
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        assert b"\x1b" not in output
    assert output.rstrip().endswith(b"end") or not on_terminal
    for raw in (b"\x1b]0;", b"\x07", b"\x1b[2J", b"\xc2\x9b", "\u202e".encode(), b"\x1b]8;"):
        assert raw not in output, raw
    assert output.count(b"\\x1b]0;PWNED\\x07\\x1b[2J\\x9b31m\\u202e") >= 10


def printing(path: Path) -> Iterator[str]:
    """Yield the places of a module that print without the terminal's door."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called = ast.unparse(node.func)
            if called in FORBIDDEN_CALLS or called.endswith((".print_exc", ".print_exception")):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}: {called}"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in FORBIDDEN_STREAMS:
            yield f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)}"


FORBIDDEN_CALLS = {"print", "click.echo", "click.secho", "click.echo_via_pager", "rich.print", "Console"}
FORBIDDEN_STREAMS = {"sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}


def test_only_the_terminal_prints() -> None:
    modules = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "terminal.py"]
    assert [place for path in modules for place in printing(path)] == []
    assert len(list(printing(PACKAGE / "cli" / "terminal.py"))) > 3


@pytest.mark.parametrize("error", ["PermissionError(13, 'Permission denied')", "RuntimeError('full')"])
def test_a_crash_of_the_report_on_a_crash_is_no_crash(
    error: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise ValueError

    def broken() -> None:
        raise eval(error)

    crashes = [ZeroDivisionError("zero"), Unprintable()]

    def crash(**_: object) -> None:
        raise crashes.pop()

    monkeypatch.setattr(cli, "_report_file", broken)
    monkeypatch.setattr(cli.command_line, "main", crash)
    while crashes:
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 70
        assert "a bug of ours: " in capsys.readouterr().err
