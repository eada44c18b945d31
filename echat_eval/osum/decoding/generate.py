"""Batch decoding: prompts as embeddings in, text ids and speech ids out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from echat_eval.osum.decoding.jobs import GenerationResult, Job
from echat_eval.osum.decoding.loop import DecodeLoop, ListedJobs
from echat_eval.osum.decoding.reply_splitter import split_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.decoding.state import DecodingRules
    from echat_eval.osum.decoding.step import Hook
    from echat_eval.osum.model.config import OsumConfig
    from echat_eval.osum.model.model import OsumModel

__all__ = ["ReplyIds", "generate", "split"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyIds:
    """The ids of one reply.

    Attributes:
        ids: all generated ids in order, with the closing token.
        text: text ids, without the one that ends the text.
        speech: codec ids, without begin-or-end tokens.
        finish_reason: "stop", or "length" if the reply reached the limit on new ids.
    """

    ids: tuple[int, ...]
    text: tuple[int, ...]
    speech: tuple[int, ...]
    finish_reason: Literal["stop", "length"]


def generate(
    model: OsumModel,
    prompts: Sequence[Tensor],
    *,
    rules: DecodingRules,
    sampling: Sampling,
    seeds: Sequence[int],
    upstream: bool = False,
    hook: Hook | None = None,
    slots: int = 0,
) -> list[ReplyIds]:
    """Return one reply per prompt.

    Args:
        model: on its device, in its dtype.
        prompts: one (L_i, D) tensor of embeddings per row.
        rules: the same for all rows; their state is per row.
        sampling: the same for all rows.
        seeds: one per row.
        upstream: cut replies as the public code does, see `split_ids`.
        hook: called with the logits and ids of every step; returns the ids to continue with.
        slots: rows decoded together; 0 for all.

    Raises:
        SystemFailure: a prompt and its reply exceed the decoder's positions.
    """
    loop = DecodeLoop(model, rules=rules, sampling=sampling, slots=slots or len(prompts), hook=hook)
    pairs = enumerate(zip(prompts, seeds, strict=True))
    jobs = ListedJobs(Job(number=number, prompt=prompt, seed=seed) for number, (prompt, seed) in pairs)
    by_number = {event.job.number: event for event in loop.run(jobs) if isinstance(event, GenerationResult)}
    return [
        split(by_number[number], rules, model.config, upstream=upstream) for number in range(len(prompts))
    ]


def split(
    result: GenerationResult, rules: DecodingRules, config: OsumConfig, *, upstream: bool = False
) -> ReplyIds:
    """Return the ids of a result, split into text and speech."""
    text, speech = split_ids(result.ids, rules, config, upstream=upstream)
    reason: Literal["stop", "length"] = "stop" if result.stopped else "length"
    return ReplyIds(ids=result.ids, text=text, speech=speech, finish_reason=reason)
