"""Token counts and names that servers report in any form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from echat_eval.clients.chat_answer import MAX_NAME, read_object, reported_name, token_counts
from echat_eval.cost.prices import Tokens
from echat_eval.cost.tokens import MessageSize
from echat_eval.errors import remember_secret

#: Forms of `usage` that are legal JSON, and the tokens that they report.
USAGES: list[tuple[str, dict[str, float]]] = [
    ('{"prompt_tokens": 7, "completion_tokens": 5}', {"prompt_tokens": 7, "completion_tokens": 5}),
    ('{"prompt_tokens": "7", "completion_tokens": "5"}', {"prompt_tokens": 7, "completion_tokens": 5}),
    ('{"input_tokens": 7, "output_tokens": 5}', {"prompt_tokens": 7, "completion_tokens": 5}),
    ('{"prompt_tokens": 6.5, "completion_tokens": 5.0}', {"prompt_tokens": 6.5, "completion_tokens": 5.0}),
    ('{"prompt_tokens": 0, "completion_tokens": 0}', {"prompt_tokens": 0, "completion_tokens": 0}),
    ('{"prompt_tokens": 1e999, "completion_tokens": -1e999}', {}),
    (f'{{"prompt_tokens": {"9" * 5000}, "completion_tokens": 1e12}}', {}),
    ('{"prompt_tokens": -7, "completion_tokens": -0.5}', {}),
    ('{"prompt_tokens": true, "completion_tokens": false}', {}),
    ('{"prompt_tokens": null, "completion_tokens": NaN}', {}),
    ('{"prompt_tokens": {"a": 1}, "completion_tokens": [5]}', {}),
    ('{"prompt_tokens": "many", "completion_tokens": "٣"}', {}),
    ('{"\\ud800": 5, "a b": 1, "\\u0000": 2}', {}),
    ("[1, 2]", {}),
    ('"12"', {}),
    ("null", {}),
    ("1e999", {}),
]


@pytest.mark.parametrize(("usage", "expected"), USAGES)
def test_token_counts_of_any_form(usage: str, expected: dict[str, float]) -> None:
    counts = token_counts(read_object(usage))
    assert {k: v for k, v in counts.items() if k in ("prompt_tokens", "completion_tokens")} == expected
    json.dumps(counts, allow_nan=False).encode()
    used = MessageSize(texts=("x",), max_tokens=5).used(counts)
    expected_tokens = Tokens(text_in=7, text_out=5) if expected.get("completion_tokens") else Tokens()
    assert used == (expected_tokens if expected else None)


@pytest.mark.parametrize(
    "details", [None, 5, [], {"audio_tokens": "3"}, {"audio_tokens": -3}, {"audio_tokens": 3}]
)
def test_audio_tokens_of_any_form(details: Any) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": details}
    counts = token_counts(usage)
    valid = isinstance(details, dict) and details["audio_tokens"] in (3, "3")
    assert counts.get("prompt_audio_tokens") == (3 if valid else None)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("fp_1", "fp_1"),
        ("", None),
        (" \n", None),
        (None, None),
        (7, "7"),
        (True, "true"),
        (float("inf"), "Infinity"),
        ({"b": [1], "a": None}, '{"a": null, "b": [1]}'),
        ("a\ud800b\x00c\x1b[31m", "a\\ud800b�c�[31m"),
        ("two\nlines", "two lines"),
    ],
)
def test_names_of_any_form_are_writable(value: Any, name: str | None) -> None:
    found = reported_name(value)
    assert found == name
    (found or "").encode()


def test_long_names_stay_different() -> None:
    names = {reported_name("x" * 10_000 + end) for end in "ab"}
    assert len(names) == 2
    assert all(len(name or "") <= MAX_NAME for name in names)


def test_a_server_that_echoes_a_secret_reports_none() -> None:
    remember_secret("sk-echoed-key-1")
    assert reported_name({"auth": "Bearer sk-echoed-key-1"}) == '{"auth": "Bearer [secret]"}'
    assert token_counts({"sk-echoed-key-1": 3}) == {}


def test_numbers_of_any_length_and_repeated_keys_are_read() -> None:
    value = read_object('\ufeff{"a": 1, "a": 2}'.encode())
    assert value == {"a": 2}
    with pytest.raises(ValueError, match="deeply"):
        read_object("[" * 200_000)
