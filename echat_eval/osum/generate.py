"""Batch decoding: prompts as embeddings in, text ids and speech ids out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from torch.nn.utils.rnn import pad_sequence

from echat_eval.errors import SystemFailure
from echat_eval.osum.decoder import Cache
from echat_eval.osum.phase import Phases, Rules, split_ids
from echat_eval.osum.sampling import Sampling, draw_uniforms, penalise, pick

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from echat_eval.osum.config import OsumConfig
    from echat_eval.osum.decoder import Decoder
    from echat_eval.osum.model import OsumModel

    #: (step, logits (B, V), ids (B,)) -> ids (B,): sees every choice, and may overrule it.
    Hook = Callable[[int, Tensor, Tensor], Tensor]

__all__ = ["Generated", "generate"]

#: On a GPU, looking whether all rows are done stops the pipeline; so it is done this often.
LOOK_EVERY = 8


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


def _logits(decoder: Decoder, last: Tensor, speech: Tensor, *, all_speech: bool) -> Tensor:
    """Return (B, V) float32 by each row's phase; once every row speaks, V is the speech vocabulary."""
    spoken = decoder.speech_logits(last)
    if all_speech:
        return spoken
    text = decoder.text_logits(last)
    width = max(text.shape[1], spoken.shape[1])
    spoken = F.pad(spoken, (0, width - spoken.shape[1]), value=-torch.inf)
    text = F.pad(text, (0, width - text.shape[1]), value=-torch.inf)
    return torch.where(speech[:, None], spoken, text)


@torch.inference_mode()
def generate(
    model: OsumModel,
    prompts: Sequence[Tensor],
    *,
    rules: Rules,
    sampling: Sampling,
    seeds: Sequence[int],
    upstream: bool = False,
    hook: Hook | None = None,
) -> list[Generated]:
    """Answer a batch of prompts.

    Args:
        model: on its device, in its dtype.
        prompts: one (L_i, D) tensor of embeddings per row.
        rules: the same for all rows; their state is per row.
        sampling: the same for all rows.
        seeds: one per row.
        upstream: cut replies as the public code does, see `split_ids`.
        hook: sees every step's logits and ids and returns the ids to go on with.

    Raises:
        SystemFailure: prompt and reply do not fit the decoder's positions.
    """
    decoder, config, device = model.decoder, model.config, model.device
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    rows, longest = len(prompts), max(len(p) for p in prompts)
    if longest + rules.max_new > config.decoder.positions:
        raise SystemFailure(
            f"a prompt of {longest} positions and a reply of {rules.max_new} do not fit "
            f"{config.decoder.positions}: shorten the history"
        )
    x = pad_sequence([p.to(model.dtype) for p in prompts], batch_first=True)  # (B, L, D)
    cache = Cache.allocate(config.decoder, rows=rows, slots=longest + rules.max_new, like=x)
    positions = torch.arange(longest, device=device).expand(rows, longest)
    states = decoder(x, positions, cache, slots=longest)
    last = states[torch.arange(rows, device=device), lengths - 1]  # (B, D)
    uniforms = draw_uniforms(seeds, rules.max_new).to(device)
    phases = Phases(rules, config, rows=rows, device=device)
    chosen, seen, all_speech = [], None, rules.starts_in_speech
    for step in range(rules.max_new):
        logits = phases.restrict(_logits(decoder, last, phases.speech, all_speech=all_speech))
        if sampling.repetition_penalty != 1:
            seen = torch.zeros_like(logits, dtype=torch.bool) if seen is None else seen
            logits = penalise(logits, seen, sampling.repetition_penalty)
        ids = pick(logits, sampling, uniforms[:, step])
        if hook is not None:
            ids = hook(step, logits, ids)
        if seen is not None:
            seen.scatter_(1, ids[:, None], True)
        chosen.append(ids)
        as_speech = phases.accept(ids)
        if device.type == "cpu" or (step + 1) % LOOK_EVERY == 0:
            if bool(phases.done.all()):
                break
            all_speech = bool(phases.speech.all())
        x = decoder.embed(ids, as_speech)[:, None]
        last = decoder(x, (lengths + step)[:, None], cache, slots=longest + step + 1)[:, 0]
    return _collect(torch.stack(chosen, dim=1), phases, rules, config, upstream=upstream)


def _collect(
    ids: Tensor, phases: Phases, rules: Rules, config: OsumConfig, *, upstream: bool
) -> list[Generated]:
    """Return the rows' replies out of ids (B, steps), each cut where its row was done."""
    replies = []
    for row, count, done in zip(ids.tolist(), phases.count.tolist(), phases.done.tolist(), strict=True):
        text, speech = split_ids(row[:count], rules, config, upstream=upstream)
        reason: Literal["stop", "length"] = "stop" if done else "length"
        replies.append(Generated(ids=tuple(row[:count]), text=text, speech=speech, finish_reason=reason))
    return replies
