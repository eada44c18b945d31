"""Automatic instruments that hear a reply. Names are looked up in the table here; nothing is imported."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ANNOTATORS"]

#: Name -> "module:Class".
ANNOTATORS: Mapping[str, str] = MappingProxyType(
    {
        "whisper": "echat_eval.annotators.whisper:Whisper",
        "acoustics": "echat_eval.annotators.acoustics:Acoustics",
    }
)
