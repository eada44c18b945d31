"""Names are found in every usual spelling, places in every usual form, and long texts take no longer than others."""

from __future__ import annotations

import time

import pytest

from echat_eval.report.name_search import NameSearch

SEARCH = NameSearch(
    {"Qwen-Omni": "A", "QwenOmni2": "B", "小语": "C", "千问": "D", "Émile": "E", "zephyr_lab": "F"}
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("QwenOmni, qwen_omni, qwen omni and QWEN-OMNI", "A, A, A and A"),
        ("Qwen-Omni_v2 and qwenomni-7.1", "A and A"),
        ("ＱＷＥＮ－Omni, qwen\u200bomni", "A, A"),
        ("qwen omni 2", "B"),
        ("xqwenomni qwenomnis qwen. Omni", "xqwenomni qwenomnis qwen. Omni"),
        ("我是小语，不是千问。", "我是C，不是D。"),
        ("I am E\u0301mile; \u00e9mile", "I am E; E"),
        ("我是Zephyr-Lab的", "我是F的"),
        ("全角，标点……stay as they are", "全角，标点……stay as they are"),
    ],
)
def test_spellings_of_a_name(text: str, expected: str) -> None:
    assert SEARCH.text(text) == expected


@pytest.mark.parametrize(
    "place",
    [
        "https://lab.example.edu/v1?k=1",
        "node7.lab",
        "ada.example/x",
        "gpu7.lab.example.edu:80",
        "node17:8000",
        "10.11.12.13:80",
        "[2001:db8::1]:80",
        "2001:db8::1",
        r"\\srv\share\x",
        r"c:\weights",
        "/home/ada/ckpt",
        "~/ckpt",
        "ada@lab.example.edu",
    ],
)
def test_places(place: str) -> None:
    assert SEARCH.text(f"see {place} now") == "see [withheld] now"
    assert place not in SEARCH.text(f"在{place} now")


def test_times_and_sentences_are_no_places() -> None:
    text = "At 12:30:45, and/or 3/4 of it. I left today.I am sad; e.g. 3.5 a.m. std::vector 他/她/它"
    assert SEARCH.text(text) == text


@pytest.mark.parametrize("unit", ["A", "a.", "a-", "A1-", "a@", " /a", "::", "a:", "qwen", "小"])
def test_the_time_grows_with_the_length_alone(unit: str) -> None:
    start = time.process_time()
    assert SEARCH.text(unit * (100_000 // len(unit)))
    assert time.process_time() - start < 5, "half a second; minutes, if it grew with the square"
