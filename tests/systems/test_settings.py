"""Settings of a wrong type or size are told by name before anything is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from echat_eval.errors import UsageError
from echat_eval.plugins import construct
from echat_eval.systems import build_system


@dataclass
class Mine:
    temperature: float = 1.0
    device: str | None = None
    mode: Literal["fast", "good"] = "fast"
    layers: tuple[int, ...] = (1,)
    batch_size: int = 1
    unknown: Nowhere | None = None  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("spec", "name", "value", "expected"),
    [
        ("command:true", "timeout", "soon", "a number"),
        ("command:true", "timeout", True, "a number"),
        ("command:true", "timeout", -1, "seconds above 0"),
        ("command:true", "timeout", float("nan"), "a number"),
        ("command:true", "start_timeout", "soon", "a number"),
        ("command:true", "batch_size", "x", "a whole number"),
        ("command:true", "batch_size", -1, "1 or more"),
        ("command:true", "calls_at_once", 1.5, "a whole number"),
        ("command:true", "keep_env", 3, "text; in quotes, it is: --set keep_env='\"3\"'"),
        ("http://127.0.0.1:9/", "calls_at_once", 0, "1 or more"),
        ("http://127.0.0.1:9/", "send", "xml", "audio or json"),
        ("openai-chat:m", "max_tokens", "lots", "a whole number"),
        ("openai-chat:m", "temperature", "hot", "a number"),
        ("openai-chat:m", "audio_in", "mp3", "input_audio, audio_url or none"),
        ("openai-chat:m", "stream", 2, "true or false"),
    ],
)
def test_a_setting_of_a_wrong_type_or_size_is_named(
    spec: str, name: str, value: object, expected: str
) -> None:
    with pytest.raises(UsageError) as caught:
        build_system(spec, {name: value})
    assert f"{name}=" in str(caught.value)
    assert str(caught.value).endswith(f"expected {expected}")


def test_a_class_of_the_users_gets_what_its_annotations_say() -> None:
    made = construct(
        "system", "mine", Mine, {"temperature": 2, "device": None, "mode": "good", "batch_size": 3}
    )
    assert (made.temperature, type(made.temperature), made.mode) == (2.0, float, "good")
    with pytest.raises(UsageError, match="temperature='hot': expected a number"):
        construct("system", "mine", Mine, {"temperature": "hot"})


def test_what_is_annotated_otherwise_is_left_to_the_class() -> None:
    made = construct("system", "mine", Mine, {"layers": "3+4", "unknown": "x"})
    assert (made.layers, made.unknown) == ("3+4", "x")
