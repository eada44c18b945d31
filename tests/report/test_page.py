"""The files of the page, checked without a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from echat_eval.report.page import data_script, page_assets
from echat_eval.store.run_folder import RunFolder
from tests.support.report_runs import make_page


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


def test_page_is_byte_identical(usual_run: RunFolder, tmp_path: Path) -> None:
    first, second = (make_page([usual_run], tmp_path / name) for name in "ab")
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    assert all((first / f).read_bytes() == (second / f).read_bytes() for f in files)


@pytest.mark.parametrize("word", ["api_key", "sk-secret"])
def test_settings_of_systems_are_not_on_the_page(usual_run: RunFolder, tmp_path: Path, word: str) -> None:
    page = make_page([usual_run], tmp_path / "out")
    assert all(word not in p.read_text(encoding="utf-8") for p in (page / "data").iterdir())
