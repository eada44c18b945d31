"""Invalid settings are reported by name before the system is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from echat_eval.errors import UsageError
from echat_eval.plugins import construct
from echat_eval.systems import build_system


@dataclass
class CustomSystem:
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
        ("command:true", "keep_env", 3, "text; put text in quotes: --set keep_env='\"3\"'"),
        ("command:true", "keep_env", ["A", "B_*"], "text; several go into one text: keep_env: A,B_*"),
        ("http://127.0.0.1:9/", "calls_at_once", 0, "1 or more"),
        ("http://127.0.0.1:9/", "send", "xml", "audio or json"),
        ("openai-chat:m", "max_tokens", "lots", "a whole number"),
        ("openai-chat:m", "temperature", "hot", "a number"),
        ("openai-chat:m", "audio_in", "mp3", "input_audio, audio_url or none"),
        ("openai-chat:m", "stream", 2, "true or false"),
    ],
)
def test_an_invalid_setting_is_named(spec: str, name: str, value: object, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_system(spec, {name: value})
    assert f"{name}=" in str(caught.value)
    assert str(caught.value).endswith(f"expected {expected}")


def test_settings_are_converted_by_the_annotations_of_the_class() -> None:
    built = construct(
        "system", "mine", CustomSystem, {"temperature": 2, "device": None, "mode": "good", "batch_size": 3}
    )
    assert (built.temperature, type(built.temperature), built.mode) == (2.0, float, "good")
    with pytest.raises(UsageError, match="temperature='hot': expected a number"):
        construct("system", "mine", CustomSystem, {"temperature": "hot"})


def test_settings_with_other_annotations_are_passed_unchanged() -> None:
    built = construct("system", "mine", CustomSystem, {"layers": "3+4", "unknown": "x"})
    assert (built.layers, built.unknown) == ("3+4", "x")
