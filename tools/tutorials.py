"""Run the tutorials of the documentation, and compare the output that they show with what is printed.

    python -m tools.tutorials [--write] [PAGE ...]

A block after `<!-- file: NAME -->` is written to that file. Blocks without a language hold commands, `python`
blocks run in one namespace per page, and a `text` block is the output of the block before it. There a line of
`...` stands for any lines and `…` for any characters. Numbers with decimals may differ by 0.16, because their
last digits depend on the processor. `--write` puts the printed numbers into the pages.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from tests.support.command_line import call_here

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
_BLOCK = re.compile(r"(?:<!-- file: (\S+) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
#: Commands that set a machine up, which the tests have done.
_SETUP = ("git clone", "cd ", "make ", "source ", "pip install", "python -m venv")
#: Port of a server in the pages; another one stands for it here, where it may be taken.
_PORT = "8000"


@dataclass
class Shown:
    """An output in a page: its lines, and what was printed in its place."""

    lines: list[str]
    printed: list[str]
    start: int

    def matches(self, tolerance: float) -> list[str | None]:
        """Return for each shown line the printed line that it stands for, or None; they come in this order.

        Args:
            tolerance: by which numbers with decimals may differ; infinite: any numbers may.
        """
        found: list[str | None] = []
        position = 0
        for line in self.lines:
            place = next(
                (n for n in range(position, len(self.printed)) if alike(line, self.printed[n], tolerance)),
                None,
            )
            found.append(None if place is None else self.printed[place])
            position = position if place is None else place + 1
        return found

    def faults(self, tolerance: float = 0.16) -> list[str]:
        """Return the shown lines that were not printed."""
        pairs = zip(self.lines, self.matches(tolerance), strict=True)
        return [line for line, match in pairs if match is None and line.strip() not in ("", "...")]


def numbers_of(shown: str, printed: str) -> list[str] | None:
    """Return the printed numbers in the places of the shown ones; None if the lines have other words.

    Spaces and the lengths of rules do not matter.
    """
    pieces = {"…": ".*?", "─": "─+"}
    pattern = r"\s*".join(
        "".join(
            rf"({_NUMBER.pattern})" if _NUMBER.fullmatch(token) else pieces.get(token[:1], re.escape(token))
            for token in re.split(rf"(…|─+|{_NUMBER.pattern})", word)
        )
        for word in shown.split()
    )
    match = re.fullmatch(pattern, printed.strip())
    return None if match is None else list(match.groups())


def alike(shown: str, printed: str, tolerance: float) -> bool:
    """Return whether a printed line is the shown one, but for spaces, `…` and last digits of numbers."""
    found = numbers_of(shown, printed)
    return found is not None and all(
        a == b or tolerance == inf or ("." in a and abs(_value(a) - _value(b)) <= tolerance)
        for a, b in zip(_NUMBER.findall(shown), found, strict=True)
    )


def _value(number: str) -> float:
    return float(number.replace(",", ""))


@dataclass
class Walk:
    """One page, run block by block in a folder."""

    folder: Path
    names: dict[str, object] = field(default_factory=lambda: {"__name__": "__main__"})
    exit_code: int = 0
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    port: str = field(default_factory=lambda: _free_port())

    def run(self, page: str) -> list[Shown]:
        """Run the blocks of a page; return its outputs.

        Raises:
            AssertionError: a command failed, and the page does not show its exit code.
        """
        outputs: list[Shown] = []
        printed = ""
        try:
            for block in _BLOCK.finditer(page):
                name, language, text = block.groups()
                if language == "text":
                    lines = printed.replace(self.port, _PORT).splitlines()
                    outputs.append(Shown(text.splitlines(), lines, block.start(3)))
                elif name:
                    path = self.folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text.replace(_PORT, self.port), encoding="utf-8")
                elif language == "python":
                    printed = self._python(text)
                elif not language:
                    printed = self._commands(text.replace("\\\n", " ").replace(_PORT, self.port))
        finally:
            for server in self.servers:
                server.kill()
                server.wait()
        return outputs

    def _python(self, code: str) -> str:
        out = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out):
            exec(compile(code, "tutorial", "exec"), self.names)
        return out.getvalue()

    def _commands(self, block: str) -> str:
        lines = [line for line in block.splitlines() if line.strip() and not line.startswith(_SETUP)]
        printed = []
        for line, following in zip(lines, [*lines[1:], ""][: len(lines)], strict=True):
            printed.append(self._command(line))
            if self.exit_code and following != "echo $?":
                raise AssertionError(f"exit code {self.exit_code}: {line}\n{printed[-1]}")
        return "".join(printed)

    def _command(self, line: str) -> str:
        words = shlex.split(line, comments=True)
        if words == ["echo", "$?"]:
            code, self.exit_code = self.exit_code, 0
            return f"{code}\n"
        if words[-1] == "&":
            self._serve(words[:-1])
            return ""
        if words[0] == "echat-eval":
            done = call_here(*words[1:], cwd=self.folder)
        else:
            done = subprocess.run(_named(words), cwd=self.folder, capture_output=True, text=True, timeout=120)
        self.exit_code = done.returncode
        return done.stdout + done.stderr

    def _serve(self, words: list[str]) -> None:
        self.servers.append(subprocess.Popen(_named(words), cwd=self.folder))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(self.port)), 1):
                return
            time.sleep(0.05)
        raise AssertionError(f"no server after 30 s: {words}")


def _named(words: list[str]) -> list[str]:
    """Return a command with this Python in the place of `python`."""
    return [sys.executable, *words[1:]] if words[0] == "python" else words


def _free_port() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


def _renewed(line: str, printed: str) -> str:
    """Return a shown line with the printed numbers; the whole printed line if nothing is left out of it."""
    if "…" not in line:
        return printed.rstrip()
    numbers = iter(numbers_of(line, printed) or ())
    return _NUMBER.sub(lambda shown: next(numbers, shown.group()), line)


def renewed(page: str, outputs: list[Shown]) -> tuple[str, list[str]]:
    """Return the page with the printed lines in its outputs, and the shown lines that were not printed."""
    faults: list[str] = []
    for shown in reversed(outputs):
        matches = shown.matches(inf)
        lines = [
            line if match is None else _renewed(line, match)
            for line, match in zip(shown.lines, matches, strict=True)
        ]
        old = "".join(f"{line}\n" for line in shown.lines)
        page = page[: shown.start] + "".join(f"{line}\n" for line in lines) + page[shown.start + len(old) :]
        faults += shown.faults(inf)
    return page, faults


def walked(page: Path) -> Iterator[tuple[str, list[Shown]]]:
    """Yield the text of a page and its outputs, run in a folder that is then removed."""
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as folder:
        os.environ["ECHAT_EVAL_CACHE"] = cache
        text = page.read_text(encoding="utf-8")
        yield text, Walk(Path(folder)).run(text)


def main() -> None:
    """Run the named pages, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("pages", nargs="*", type=Path, default=PAGES)
    parser.add_argument("--write", action="store_true", help="put the printed lines into the pages")
    parser.add_argument("--print", action="store_true", help="print the whole output of each block")
    options = parser.parse_args()
    for page in options.pages:
        for text, outputs in walked(page):
            new, faults = renewed(text, outputs) if options.write else (text, [])
            page.write_text(new, encoding="utf-8")
            faults = faults or [
                line for shown in outputs for line in ([] if options.write else shown.faults())
            ]
            for shown in outputs if options.print else []:
                print(*shown.printed, "=" * 20, sep="\n")
            print(
                f"{page.name}: {len(outputs)} outputs",
                *(f"not printed: {line}" for line in faults),
                sep="\n  ",
            )


if __name__ == "__main__":
    main()
