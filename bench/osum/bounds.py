"""Lower bounds of memory traffic and arithmetic of a decode step of OSUM-EChat, and the goals.

A step reads every weight of the layers and of one head once, and every row's keys and values. The bound is
the slower of reading at the card's bandwidth and computing at its peak.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from echat_eval.osum.model.config import OsumConfig

Head = Literal["text", "speech"]


@dataclass(frozen=True)
class Card:
    """A GPU as its maker describes it: bytes a second, bf16 operations a second (dense)."""

    name: str
    bandwidth: float
    flops: float


#: Looked for in the device's name, first hit counts.
CARDS = (
    Card("H200", 4.8e12, 989e12),
    Card("H100", 3.35e12, 989e12),
    Card("A100", 2.04e12, 312e12),
    Card("L40S", 0.864e12, 362e12),
    Card("4090", 1.008e12, 165e12),
)


def card_named(name: str) -> Card | None:
    """Return the card whose name is part of this one."""
    return next((card for card in CARDS if card.name in name), None)


def layer_weights(config: OsumConfig) -> int:
    """Return the matrix weights of all decoder layers, biases and norms included."""
    c = config.decoder
    heads = (c.heads + 2 * c.kv_heads) * c.head_dim
    one = (c.width + 1) * heads + c.heads * c.head_dim * c.width + 3 * c.width * c.ffn + 2 * c.width
    return c.layers * one


def head_weights(config: OsumConfig, head: Head) -> int:
    """Return the weights of one head."""
    width = config.decoder.width
    return config.decoder.vocab * width if head == "text" else config.speech.tokens * (width + 1)


def step_bytes(config: OsumConfig, *, rows: int, context: float, head: Head, itemsize: int) -> float:
    """Return the bytes that one step of `rows` rows reads at this mean context."""
    c = config.decoder
    cache = 2 * c.layers * c.kv_heads * c.head_dim * context * rows
    return itemsize * (layer_weights(config) + head_weights(config, head) + cache)


def step_flops(config: OsumConfig, *, rows: int, context: float, head: Head) -> float:
    """Return the operations of one step: two a weight and row, and the attention."""
    c = config.decoder
    attention = 4 * c.layers * c.heads * c.head_dim * context
    return rows * (2 * (layer_weights(config) + head_weights(config, head)) + attention)


def bound(
    config: OsumConfig,
    *,
    rows: int,
    context: float,
    head: Head,
    itemsize: int,
    bandwidth: float,
    flops: float,
) -> float:
    """Return the most tokens a second."""
    reading = step_bytes(config, rows=rows, context=context, head=head, itemsize=itemsize) / bandwidth
    computing = step_flops(config, rows=rows, context=context, head=head) / flops
    return rows / max(reading, computing)


@dataclass(frozen=True)
class Target:
    """One demand: a number of a section, at least or below so much; `h200` if it was set for that card."""

    name: str
    section: str
    entry: str
    limit: float
    below: bool = False
    h200: bool = False


TARGETS = (
    Target("batch 1, text: share of the bandwidth bound", "decode 1 text", "share_of_nominal", 0.6),
    Target("batch 1, speech: share of the bandwidth bound", "decode 1 speech", "share_of_nominal", 0.6),
    Target("batch 64, speech: share of the roofline", "decode 64 speech", "share_of_nominal", 0.5),
    Target("S2S with token2wav: replies a second", "s2s fast voice", "replies_per_second", 20.0, h200=True),
    Target(
        "batch 1: seconds to the first audio",
        "first audio",
        "first_audio_seconds",
        0.4,
        below=True,
        h200=True,
    ),
    Target("peak memory at batch 64, GB", "s2s fast voice", "reserved_gb", 40.0, below=True),
    Target("half precision: share of replies the same alone and together", "invariance", "equal_share", 1.0),
)


def judge(sections: dict[str, dict[str, Any]], *, card: str, full: bool) -> list[dict[str, Any]]:
    """Return every target as reached, not reached, or not measured with the reason."""
    made = []
    for target in TARGETS:
        section = sections.get(target.section, {"skipped": "was not asked for"})
        got = section.get(target.entry)
        if not full:
            verdict = "not measured: not the full size"
        elif got is None:
            verdict = f"not measured: {section.get('failed') or section.get('skipped') or 'no such number'}"
        elif target.h200 and "H200" not in card:
            verdict = f"not comparable: set for an H200, measured on {card}"
        else:
            verdict = "reached" if (got < target.limit) == target.below else "not reached"
        made.append({"target": target.name, "limit": target.limit, "got": got, "verdict": verdict})
    return made


def stages(sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the seconds of a spoken reply by stage at the large batch, and which stage is the longest.

    Each stage is timed alone, so their sum may exceed what the whole takes where the voice is overlapped.
    """
    needed = ("hear", "prompt", "decode 64 text", "decode 64 speech", "token2wav", "s2s")
    lacking = [
        name for name in needed if not sections.get(name) or {"failed", "skipped"} & set(sections[name])
    ]
    if lacking:
        return {"not_measured": f"without {', '.join(lacking)}"}
    whole = sections["s2s"]
    voice = sections["token2wav"][whole["token2wav"]]
    by_stage = {
        "hear": largest(sections["hear"])["seconds_per_request"],
        "read the prompt": whole["mean_prompt"] / largest(sections["prompt"])["positions_per_second"],
        "decode text": (whole["mean_text"] + 1) / sections["decode 64 text"]["tokens_per_second"],
        "decode speech": (whole["mean_codes"] + 2) / sections["decode 64 speech"]["tokens_per_second"],
        "token2wav": largest(voice)["seconds_per_reply"],
    }
    return {
        "seconds_per_reply": by_stage,
        "sum": sum(by_stage.values()),
        "measured_whole": whole["seconds_per_reply"],
        "next_bottleneck": max(by_stage, key=lambda name: by_stage[name]),
    }


def largest(section: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of the largest batch of a section that has several."""
    batches = {name: value for name, value in section.items() if name.startswith("batch ")}
    found: dict[str, Any] = batches[max(batches, key=lambda name: int(name.split()[1]))]
    return found
