"""Batch decoding: prompts as embeddings in, text ids and speech ids out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from echat_eval.osum.decoding.loop import DecodeLoop
from echat_eval.osum.decoding.scheduler import Job
from echat_eval.osum.decoding.state import split_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.decoding.scheduler import GenerationResult
    from echat_eval.osum.decoding.state import DecodingRules
    from echat_eval.osum.decoding.step import Hook
    from echat_eval.osum.model.config import OsumConfig
    from echat_eval.osum.model.model import OsumModel

__all__ = ["Generated", "generate", "split"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """One row's reply as ids.

    Attributes:
        ids: everything generated, in order, with the closing token.
        text: text ids, without the one that ends the text.
        speech: codec ids, without the begin and end tokens.
        finish_reason: "stop", or "length" where the cap cut the reply off.
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
) -> list[Generated]:
    """Answer some prompts.

    Args:
        model: on its device, in its dtype.
        prompts: one (L_i, D) tensor of embeddings per row.
        rules: the same for all rows; their state is per row.
        sampling: the same for all rows.
        seeds: one per row.
        upstream: cut replies as the public code does, see `split_ids`.
        hook: sees every step's logits and ids and returns the ids to go on with.
        slots: rows decoded together; 0 for all.

    Raises:
        SystemFailure: prompt and reply do not fit the decoder's positions.
    """
    loop = DecodeLoop(model, rules=rules, sampling=sampling, slots=slots or len(prompts), hook=hook)
    pairs = enumerate(zip(prompts, seeds, strict=True))
    jobs = iter([Job(number=number, prompt=prompt, seed=seed) for number, (prompt, seed) in pairs])
    made = {
        m.job.number: m for m in loop.run(lambda count: [j for _, j in zip(range(count), jobs, strict=False)])
    }
    return [split(made[number], rules, model.config, upstream=upstream) for number in range(len(prompts))]


def split(
    made: GenerationResult, rules: DecodingRules, config: OsumConfig, *, upstream: bool = False
) -> Generated:
    """Return a reply's ids taken apart."""
    text, speech = split_ids(made.ids, rules, config, upstream=upstream)
    reason: Literal["stop", "length"] = "stop" if made.ended else "length"
    return Generated(ids=made.ids, text=text, speech=speech, finish_reason=reason)
