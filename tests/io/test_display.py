"""Names from data are escaped and shortened by one function each, whatever prints them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import echat_eval
from echat_eval.analysis.compare_text import printable as compare_printable  # type: ignore[attr-defined]
from echat_eval.gate import report as gate_report
from echat_eval.io.display import (
    FIGURE_NAME_CHARACTERS,
    TABLE_NAME_CHARACTERS,
    markdown_text,
    one_line,
    printable,
    spelled,
    unique_labels,
)
from echat_eval.leaderboard import render
from echat_eval.report import figure_style, formats
from echat_eval.report.cells import Table

PACKAGE = Path(echat_eval.__file__).parent
HOSTILE = "a|b\n\x1b[31m<script>*x*_y_[z](u)`q`~s~ $m$ & #1 {}\\ ![i](j)"


def test_markdown_text_is_one_cell_without_markup_or_control_characters() -> None:
    escaped = markdown_text(HOSTILE)
    assert "\n" not in escaped
    assert "\x1b" not in escaped
    assert "<" not in escaped
    assert not re.search(r"(?<!\\)[|*_`~\[\]$#{}]", escaped.replace("\\\\", ""))


@pytest.mark.parametrize(
    "link",
    [
        "@team",
        "me@host.org",
        "http://a.b",
        "https://a.b/c?d",
        "www.a.b",
        "#12",
        "o/r#12",
        "GH-12",
        "mailto:a",
        "<http://a>",
    ],
)
def test_markdown_text_makes_no_link_and_no_mention(link: str) -> None:
    text = markdown_text(f"see {link}.")
    assert not re.search(r"@\w|://|www\.|#\d|GH-\d|mailto:\w|<", text.replace("&ZeroWidthSpace;", "\u200b"))
    assert text.count("&ZeroWidthSpace;") >= 1


def test_printable_shows_what_acts_on_a_terminal_and_keeps_letters() -> None:
    assert printable("\x1b]0;t\x07\x9b31m\r\n\u202e\u2066\u200b\x7f\ud800") == (
        r"\x1b]0;t\x07\x9b31m\r\n\u202e\u2066\u200b\x7f\ud800"
    )
    letters = "é 说话\u3000ə ไทย नमस्ते 👩\u200d🚀 a\tb \xa0"
    assert printable(letters) == letters
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_every_markdown_writer_uses_it() -> None:
    assert gate_report.markdown_text is render.markdown_text is formats.markdown_text is markdown_text  # type: ignore[attr-defined]
    assert gate_report.printable is compare_printable is printable  # type: ignore[attr-defined]


@pytest.mark.parametrize("length", [1, 23, 24, 25, 47, 48, 49, 500])
def test_names_have_the_same_limit_in_every_figure_and_table(length: int) -> None:
    name = "n" * length
    assert figure_style.shown_name(name, None) == one_line(name, FIGURE_NAME_CHARACTERS)
    table = Table(name="t", caption="", columns=(name,), blocks=())
    assert formats.short_names(table)[name] == one_line(name, TABLE_NAME_CHARACTERS)
    assert len(one_line(name, FIGURE_NAME_CHARACTERS)) == min(length, FIGURE_NAME_CHARACTERS)


# concurrency/retry.py is on the floor of io and may not import it.
def test_no_other_module_cuts_text_with_an_ellipsis() -> None:
    copies = [
        f"{path.relative_to(PACKAGE)}:{number}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"\[:.*\] \+ \"…\"", line) and path.name not in {"display.py", "retry.py"}
    ]
    assert copies == []


@pytest.mark.parametrize(
    "names",
    [
        [f"osum-echat-language-think-lora-r16-stage2-lr1e-4-step-{n}0000" for n in (1, 2)],
        [f"{'n' * 60}{number}{'m' * 60}" for number in range(12)],
        ["s" * 23 + "…", "s" * 30, "s" * 31],
        [f"osum-echat-second-stage-of-training-{c}" for c in "系统话"],
        ["a  b", "a b", "a\nb"],
    ],
)
def test_different_names_have_different_labels(names: list[str]) -> None:
    for limit in (FIGURE_NAME_CHARACTERS, TABLE_NAME_CHARACTERS):
        for write in (str, spelled):
            labels = unique_labels(names, limit, write)
            assert list(labels) == names
            assert len(set(labels.values())) == len(names)
            assert max(map(len, labels.values())) <= limit
            assert write is str or "".join(labels.values()).replace("…", "").isascii()


def test_a_name_that_nothing_resembles_is_cut_at_its_end() -> None:
    name = "n" * 60
    assert unique_labels([name, "short"], 24) == {name: one_line(name, 24), "short": "short"}
    assert figure_style.shown_names([name], None) == {name: figure_style.shown_name(name, None)}


def test_figures_spell_scripts_that_they_cannot_write() -> None:
    assert spelled("Grüße, Привет, Ωμέγα, ქართული") == "Grüße, Привет, Ωμέγα, ქართული"
    for text in ("नमूना", "مرحبا", "שלום", "ไทย", "ខ្មែរ"):
        assert set(spelled(text, chinese=True).split()) == {f"U+{ord(c):04X}" for c in text}
    assert spelled("日本", chinese=True) == "日本"
