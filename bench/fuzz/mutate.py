"""Mutations of files: bytes, lines, JSON values, YAML scalars, CSV cells, and the file itself."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["mutate"]

#: Stand-ins in JSON text for tokens that `json.dumps` does not write.
_RAW = {
    '"@1e999@"': "1e999",
    '"@-1e999@"': "-1e999",
    '"@nan@"': "NaN",
    '"@inf@"': "Infinity",
    '"@digits@"': "9" * 400,
    '"@manydigits@"': "9" * 6000,
    '"@1e400@"': "1" + "0" * 400 + ".5",
    '"@deep@"': "[" * 900 + "]" * 900,
    '"@deeper@"': "[" * 60_000 + "]" * 60_000,
}
TEXTS = (
    "",
    " ",
    "\x00",
    "\ud800",
    "a\udc00b",
    "\x1b[31mred\x07",
    "\u202e\u200b",
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "~",
    "a\nb\r\nc",
    "=1+1",
    "＝1+1",
    "<script>",
    "{{x}}",
    "%s{0}",
    "constructor",
    "__proto__",
    "None",
    "null",
    "nan",
    "inf",
    "1e999",
    "-0",
    "०१",
    "x" * 300,
    "长" * 5000,
    "<think>",
    "</think>",
    "<|HAPPY|>",
    "USD",
    "2026-13-45",
    "9999-12-31",
    "é" * 130,
    "value",
    "missing",
    "failed",
    "not applicable",
    "http://[::1",
    "a:b=c",
)
NUMBERS = (0, -1, 1, 2, 0.5, -0.0, 1e-320, 1e308, -1e308, 2**31, 2**53 + 1, 2**63, 10**30, 1_000_000_000, 7)
OTHERS: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"": ""},
    {"a": {"b": [1]}},
    [1, "x", None],
)
BYTES = (
    b"",
    b"\x00",
    b"\xff",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xc3",
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n\n",
    b'"',
    b"'",
    b"{",
    b"}",
    b"[",
    b",",
    b":",
    b"#",
    b"&a ",
    b"*a",
    b"!!python/none ",
    b"- ",
    b"\t",
    b"\\",
    b"\\ud800",
    b"1e999",
    b"NaN",
    b"\x85",
    b"\xe2\x80\xa8",
    b"<<: ",
    b"|",
    b"%",
    b"0x10",
    b"1_000",
    b"2026-01-01",
    b"12:30:45",
    b"yes",
)


def mutate(path: Path, dice: random.Random) -> str:
    """Change a file in one way; return a description."""
    if dice.random() < 0.04:
        return _replace_file(path, dice)
    content = path.read_bytes()
    kinds: list[Callable[[bytes, random.Random], tuple[bytes, str]]] = [_bytes]
    if path.suffix in (".json", ".jsonl", ".list"):
        kinds = [_bytes, _json, _json, _json, _json, _lines] if content else [_bytes]
    elif path.suffix in (".yaml", ".csv", ".tsv", ".txt"):
        kinds = [_bytes, _scalars, _scalars, _scalars, _lines]
    try:
        new, what = dice.choice(kinds)(content, dice)
    except RecursionError:  # an earlier change nested it deeply
        new, what = _bytes(content, dice)
    path.write_bytes(new)
    return what


def _replace_file(path: Path, dice: random.Random) -> str:
    """Remove the file, or put something else in its place."""
    what = dice.choice(["removed", "empty", "folder", "link to /etc/passwd", "broken link", "loop"])
    path.unlink()
    if what == "empty":
        path.touch()
    elif what == "folder":
        path.mkdir()
    elif what != "removed":
        target = {"link to /etc/passwd": "/etc/passwd", "broken link": "nowhere", "loop": path.name}[what]
        path.symlink_to(target)
    return what


def _bytes(content: bytes, dice: random.Random) -> tuple[bytes, str]:
    """Cut, repeat, flip, overwrite or insert bytes."""
    at = dice.randrange(len(content) + 1)
    # Headers decide how the rest is read.
    at = min(at, dice.randrange(64)) if dice.random() < 0.3 else at
    how = dice.choice(["cut", "drop", "repeat", "flip", "insert", "insert", "overwrite"])
    if how == "cut":
        return content[:at], f"cut at {at}"
    span = dice.choice([1, 1, 2, 4, 16, 200])
    if how == "drop":
        return content[:at] + content[at + span :], f"dropped {span} bytes at {at}"
    if how == "repeat":
        times = dice.choice([2, 3, 50])
        return content[:at] + content[at : at + span] * times + content[at + span :], f"repeated at {at}"
    if how == "flip":
        changed = bytearray(content)
        for place in range(at, min(at + span, len(content))):
            changed[place] ^= 1 << dice.randrange(8)
        return bytes(changed), f"flipped {span} bytes at {at}"
    piece = dice.choice(BYTES) if dice.random() < 0.8 else dice.randbytes(span)
    skip = len(piece) if how == "overwrite" else 0
    return content[:at] + piece + content[at + skip :], f"{how} {piece[:12]!r} at {at}"


def _lines(content: bytes, dice: random.Random) -> tuple[bytes, str]:
    """Drop, repeat, swap or join lines."""
    lines = content.splitlines(keepends=True) or [b""]
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    how = dice.choice(["drop", "repeat", "swap", "join", "same everywhere"])
    if how == "drop":
        del lines[one]
    elif how == "repeat":
        lines.insert(other, lines[one])
    elif how == "swap":
        lines[one], lines[other] = lines[other], lines[one]
    elif how == "join":
        lines[one] = lines[one].rstrip(b"\r\n")
    else:
        lines = [lines[one]] * len(lines)
    return b"".join(lines), f"lines: {how} {one + 1} {other + 1}"


def _scalars(content: bytes, dice: random.Random) -> tuple[bytes, str]:
    """Replace what follows a colon, a comma or a tab by another scalar."""
    text = content.decode("utf-8", "replace")
    places = [n for n, c in enumerate(text) if c in ":,\t\n"]
    if not places:
        return _bytes(content, dice)
    start = dice.choice(places) + 1
    end = next((n for n in range(start, len(text)) if text[n] in ",\t\n}]"), len(text))
    value = _value(dice)
    new = value if isinstance(value, str) else json.dumps(value)
    new = _RAW.get(f'"{new}"', new)
    if dice.random() < 0.3:
        new = json.dumps(new)
    changed = f"{text[:start]} {new}{text[end:]}" if dice.random() < 0.5 else text[:start] + new + text[end:]
    return changed.encode("utf-8", "surrogatepass"), f"scalar at {start}: {new[:40]!r}"


def _json(content: bytes, dice: random.Random) -> tuple[bytes, str]:
    """Replace, remove, add, rename or move a value of one JSON document or row."""
    text = content.decode("utf-8", "replace")
    try:
        whole = [json.loads(text)]
        ending = ""
    except (ValueError, RecursionError):
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            whole = [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            return _bytes(content, dice)
        ending = "\n"
    # The same change in every row reaches what one row among many does not.
    selected = range(len(whole)) if dice.random() < 0.15 else [dice.randrange(len(whole))]
    state, what = dice.getstate(), ""
    for number in selected:
        dice.setstate(state)
        whole[number], what = _changed(whole[number], dice)
    written = ending.join(json.dumps(row, ensure_ascii=dice.random() < 0.7) for row in whole) + ending
    for stand_in, token in _RAW.items():
        written = written.replace(stand_in, token)
    if dice.random() < 0.05 and "{" in written:
        written = written.replace("{", '{"id":"twice",', 1)
    return written.encode("utf-8", "surrogatepass"), what


def _changed(row: Any, dice: random.Random) -> tuple[Any, str]:
    """Return a JSON value with one value in it changed, and what was done."""
    places = list(_places(row, ()))
    path = dice.choice(places)
    if not path:
        return _value(dice), "the whole value"
    parent = row
    for key in path[:-1]:
        parent = parent[key]
    key = path[-1]
    how = dice.choice(["value", "value", "value", "value", "remove", "rename", "copy", "nest"])
    shown = "/".join(map(str, path))[-60:]
    if how == "remove":
        del parent[key]
    elif how == "rename" and isinstance(parent, dict):
        parent[dice.choice(TEXTS)] = parent.pop(key)
    elif how == "copy":
        source = row
        for step in dice.choice(places):
            source = source[step]
        parent[key] = json.loads(json.dumps(source))
    elif how == "nest":
        parent[key] = [parent[key]] if dice.random() < 0.5 else {"a": parent[key]}
    else:
        parent[key] = _value(dice)
        return row, f"{shown}: {str(parent[key])[:40]!r}"
    return row, f"{how} {shown}"


def _places(value: Any, path: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Return the path of every value inside a JSON value, its own included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in _places(child, (*path, key)))]


def _value(dice: random.Random) -> Any:
    """Return an odd value."""
    pool = dice.choice([TEXTS, NUMBERS, OTHERS, [stand_in[1:-1] for stand_in in _RAW]])
    return dice.choice(list(pool))


def clean(folder: Path) -> None:
    """Remove a folder with everything in it, whatever a mutation made of it."""
    shutil.rmtree(folder, ignore_errors=True)
