"""The text normaliser, against expected words written by hand."""

from __future__ import annotations

import pytest

from echat_eval.scorers.normalize import NORMALISER, characters, normalised, words

CASES = [
    ("Hello, World!", "hello world"),
    ("It’s John's and 'tis theirs'.", "its johns and tis theirs"),
    ("well-known  e-mail", "well known e mail"),
    ("ＡＢＣ　１２３", "abc 123"),
    ("ﬁne…  really?!", "fine really"),
    ("你好，世界！“好的”。", "你好 世界 好的"),
    ("I have 7 cats, not seven.", "i have 7 cats not seven"),
    ("3.5 % of $10", "3 5 of 10"),
    ("naïve café", "naïve café"),
    ("cafe\u0301", "café"),
    ("a\u200bb\ufeff \x00c\n\td", "ab c d"),
    ("🙂 …", ""),
    ("", ""),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[repr(c[0])[:20] for c in CASES])
def test_normalised(text: str, expected: str) -> None:
    assert normalised(text) == expected
    assert normalised(normalised(text)) == expected


def test_chinese_units_are_characters_and_english_units_are_words() -> None:
    assert words("我很难过。", "zh") == list("我很难过")
    assert words("我用 iPhone", "zh") == characters("我用iphone")
    assert words("So, sad.", "en") == ["so", "sad"]


def test_rule_matches_its_versioned_name() -> None:
    # If a change of the rule changes this hash, change the name as well.
    everything = "".join(map(chr, range(0x20, 0x3000)))
    import hashlib

    assert NORMALISER == "echat-norm-1"
    assert hashlib.sha256(normalised(everything[:0x250]).encode()).hexdigest()[:12] == "b0455e5574df"


@pytest.mark.parametrize(
    ("language", "text", "units"),
    [
        ("ja", "すごい です。", ["す", "ご", "い", "で", "す"]),
        ("th", "ดี!", ["ด", "ี"]),
        ("zh-Latn", "nǐ hǎo", ["nǐ", "hǎo"]),
        ("de-AT", "Grüß Gott!", ["grüß", "gott"]),
        ("ar", "شكراً، جزيلاً", ["شكراً", "جزيلاً"]),
        ("hi", "बहुत अच्छा है।", ["बहुत", "अच्छा", "है"]),
    ],
)
def test_the_script_decides_what_is_counted(language: str, text: str, units: list[str]) -> None:
    assert words(text, language) == units
    assert words(text, language, "cer") == list("".join(units))
    assert words(text, language, "wer") == normalised(text).split()
