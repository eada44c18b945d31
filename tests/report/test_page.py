"""The files of the page, checked without a browser."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

import echat_eval
from echat_eval.report.page import data_script, page_assets
from echat_eval.store.run_folder import RunFolder
from tests.support.report_runs import make_page

PACKAGE = Path(echat_eval.__file__).parent


def test_every_distinct_sound_is_stored_once(usual_run: RunFolder, tmp_path: Path) -> None:
    page = make_page([usual_run], tmp_path / "out")
    sounds = {s.audio.sha256: s.audio.path.stat().st_size for s in usual_run.samples()}
    for response in usual_run.responses().values():
        if response.reply is not None and response.reply.audio is not None:
            sounds[response.reply.audio.sha256] = response.reply.audio.path.stat().st_size  # type: ignore[union-attr]
    stored = sum(path.stat().st_size for path in (page / "audio").iterdir())
    assert len(sounds) > 30
    assert sum(sounds.values()) <= stored <= 1.05 * sum(sounds.values())


def test_assets_use_no_network_and_never_build_markup_from_data() -> None:
    for path in page_assets("page"):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.", text), path.name
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "fetch(",
            "XMLHttpRequest",
            "@import",
            "url(",
        ):
            assert word not in text.replace("there is no innerHTML on this page", ""), (path.name, word)


def test_data_is_escaped_in_its_script() -> None:
    hostile = {
        "a": '"); alert(1); ("',
        "b": "</script><script>",
        "c": "\u2028\u2029\\",
        "__proto__": {"x": 1},
    }
    script = data_script("x", hostile)
    assert not any(sign in script.rstrip("\n") for sign in "<\u2028\n")
    inner = script.removeprefix('EChat.receive("x",').removesuffix(");\n")
    assert json.loads(json.loads(inner)) == hostile


def test_both_languages_have_the_same_strings() -> None:
    words = next(p for p in page_assets("page") if p.name == "words.js").read_text(encoding="utf-8")
    english, chinese = words.split("  zh: {")
    names = [
        re.findall(r"(?:^|[ {])(\w+): \"", part.split("  en: {")[-1].split("\n  },")[0])
        for part in (english, chinese)
    ]
    assert names[0] == names[1]
    assert len(names[0]) > 80


def test_every_string_that_the_scripts_print_is_in_both_languages() -> None:
    scripts = {p.name: p.read_text(encoding="utf-8") for p in page_assets("page") if p.suffix == ".js"}
    english = scripts["words.js"].split("  zh: {")[0]
    known = set(re.findall(r"(?:^|[ {])(\w+): \"", english.split("  en: {")[1], re.MULTILINE))
    used = {
        found
        for name, text in scripts.items()
        if name != "words.js"
        for call in re.findall(r"\bt\(([^()]*)", text)
        for found in re.findall(r"\"(\w+)\"", call.split(", {")[0])
    }
    assert len(used) > 100
    assert used - known == set()


def test_every_text_that_the_report_makes_is_translated() -> None:
    phrases = next(p for p in page_assets("page") if p.name == "phrases.js").read_text(encoding="utf-8")
    table, rest = phrases.split("EChat.phrases = EChat.bare({")[1].split("});\n", 1)
    chinese = json.loads("{" + table.strip().rstrip(",") + "}")
    made = set(templates())
    assert made == set(chinese)
    for english, text in chinese.items():
        assert set(re.findall(r"{(\w+)}", english)) == set(re.findall(r"{(\w+)}", text)), english
    patterns = [re.compile(pattern) for pattern in re.findall(r"\[/(\^.+?\$)/,", rest)]
    untranslated = [t for t in metric_titles() if not any(pattern.search(t) for pattern in patterns)]
    assert untranslated == []


def templates() -> Iterator[str]:
    """Yield the templates of all phrases of the package: literals, constants, and values of tables."""
    for path in sorted(Path(echat_eval.__file__).parent.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "import phrase" not in text and "import joined, phrase" not in text:
            continue
        module = importlib.import_module(
            ".".join(("echat_eval", *path.relative_to(PACKAGE).with_suffix("").parts))
        )
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "phrase":
                (template,) = node.args
                if isinstance(template, ast.Subscript):
                    yield from filter(None, vars(module)[ast.unparse(template.value)].values())
                else:
                    yield eval(ast.unparse(template), vars(module))


def metric_titles() -> Iterator[str]:
    """Yield the titles of the metrics that ship with the package; what is not known yet is "text"."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Metric":
                title = next(k.value for k in node.keywords if k.arg == "title")
                yield from (text for text in texts(title) if text != "text")


def texts(node: ast.expr) -> list[str]:
    """Return the texts that an expression can have."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.IfExp):
        return [*texts(node.body), *texts(node.orelse)]
    if isinstance(node, ast.FormattedValue):
        return texts(node.value)
    if isinstance(node, ast.JoinedStr):
        return ["".join(parts) for parts in product(*map(texts, node.values))]
    return ["text"]


def test_page_is_byte_identical(usual_run: RunFolder, tmp_path: Path) -> None:
    first, second = (make_page([usual_run], tmp_path / name) for name in "ab")
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    assert all((first / f).read_bytes() == (second / f).read_bytes() for f in files)


@pytest.mark.parametrize("word", ["api_key", "sk-secret"])
def test_settings_of_systems_are_not_on_the_page(usual_run: RunFolder, tmp_path: Path, word: str) -> None:
    page = make_page([usual_run], tmp_path / "out")
    assert all(word not in p.read_text(encoding="utf-8") for p in (page / "data").iterdir())
