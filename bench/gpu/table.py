"""Section name -> what measures it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from bench.gpu.measure import WAYS, Bench
from bench.gpu.probe import attention, full_memory, invariance, kernels, step_parts, versions
from bench.gpu.s2s import first_audio, s2s, streaming
from bench.gpu.sections import card, decode_section, hear, steps
from bench.gpu.voice import FAST, USUAL, prompt, public, token2wav

TABLE: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "card": card,
    "versions": versions,
    "attention": attention,
    "step parts": step_parts,
    "kernels": kernels,
    "invariance": invariance,
    "full memory": full_memory,
    "first audio": first_audio,
    **{f"steps {way}": partial(steps, way=way) for way in WAYS},
    "decode 1 text": decode_section(1, "text"),
    "decode 1 speech": decode_section(1, "speech"),
    "decode 64 text": decode_section(None, "text"),
    "decode 64 speech": decode_section(None, "speech"),
    "s2s": partial(s2s, kind=USUAL),
    "s2s fast voice": partial(s2s, kind=FAST),
    "token2wav": token2wav,
    "token2wav compiled": partial(token2wav, compiled=True),
    "hear": hear,
    "prompt": prompt,
    "streaming": streaming,
    "public": partial(public, compiled=False),
    "public compiled": partial(public, compiled=True),
}
