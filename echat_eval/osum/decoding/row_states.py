"""The tensors that a decode step reads and writes, one row per slot: allocated once, updated in place.

Shapes: B rows, D width, N maximum new ids, V logits. All tensors are on the model's device, so a step needs
nothing from the host and can be captured as a CUDA graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from echat_eval.osum.decoding.sampling import draw_uniforms, penalise, pick
from echat_eval.osum.decoding.state import DecodingState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.decoding.state import DecodingRules
    from echat_eval.osum.model.config import OsumConfig

__all__ = ["RowStates"]


class RowStates:
    """The state of every row, without its keys and values.

    Attributes:
        decoding: the decoding state of each reply.
        hidden: (B, D), the state that the next id is drawn from.
        last: (B,) int64, the last drawn id.
        as_speech: (B,) bool, embed the last id as speech.
        position: (B,) int64, position of the last id.
        uniforms: (B, N) float64, one number per draw.
        ids: (B, N + 1) int64, the drawn ids; the last column takes the draws after a row has finished.
        seen: (B, V) bool, ids that the repetition penalty applies to; None without a penalty.
    """

    STATE = ("hidden", "last", "as_speech", "position", "uniforms", "ids")

    def __init__(
        self, rules: DecodingRules, sampling: Sampling, config: OsumConfig, *, rows: int, like: Tensor
    ) -> None:
        device = like.device
        self.rules, self.sampling, self.config = rules, sampling, config
        self.decoding = DecodingState(rules, config, rows=rows, device=device)
        self.decoding.stopped.fill_(True)  # no row is in use yet
        self.hidden = like.new_zeros(rows, config.decoder.width)
        self.last, self.position = (torch.zeros(rows, dtype=torch.long, device=device) for _ in range(2))
        self.as_speech = torch.zeros(rows, dtype=torch.bool, device=device)
        self.uniforms = torch.zeros(rows, rules.max_new_tokens, dtype=torch.float64, device=device)
        self.ids = torch.zeros(rows, rules.max_new_tokens + 1, dtype=torch.long, device=device)
        self.seen: Tensor | None = None
        if sampling.repetition_penalty != 1:
            width = max(config.decoder.vocab, config.speech.tokens)
            self.seen = torch.zeros(rows, width, dtype=torch.bool, device=device)

    def start(self, rows: Tensor, hidden: Tensor, positions: Tensor, seeds: Sequence[int]) -> None:
        """Start new replies in the rows with these numbers (R,).

        Args:
            rows: int64, on the device.
            hidden: (R, D), the last states of the prompts.
            positions: (R,) int64, the lengths of the prompts.
            seeds: one per row.
        """
        self.decoding.start(rows)
        self.hidden[rows], self.position[rows] = hidden, positions
        uniforms = draw_uniforms(seeds, self.rules.max_new_tokens)
        self.uniforms[rows] = uniforms.to(self.uniforms.device, non_blocking=True)
        if self.seen is not None:
            self.seen[rows] = False

    def tensors(self) -> list[Tensor]:
        """Return all state without keys and values."""
        return [
            *(getattr(self, name) for name in self.STATE),
            *(getattr(self.decoding, name) for name in DecodingState.STATE),
            *([] if self.seen is None else [self.seen]),
        ]

    def gather(self, rows: Tensor) -> None:
        """Move the rows with these numbers (R,), in ascending order, to the front."""
        for tensor in self.tensors():
            tensor[: len(rows)] = tensor[rows]

    def grown(self, rows: int) -> RowStates:
        """Return a larger state whose first rows are these; the others are not in use."""
        larger = RowStates(self.rules, self.sampling, self.config, rows=rows, like=self.hidden.new_zeros(0))
        for target, source in zip(larger.tensors(), self.tensors(), strict=True):
            target[: len(source)] = source
        return larger

    def first(self, rows: int) -> RowStates:
        """Return the first rows as a view on the same memory."""
        view = object.__new__(RowStates)
        view.rules, view.sampling, view.config = self.rules, self.sampling, self.config
        view.decoding = self.decoding.first(rows)
        for name in self.STATE:
            setattr(view, name, getattr(self, name)[:rows])
        view.seen = None if self.seen is None else self.seen[:rows]
        return view

    def draw(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return one id (R,) per row of restricted logits (R, V); `rows` are row numbers, None for all."""
        step = self.decoding.id_count.clamp(max=self.rules.max_new_tokens - 1)
        if rows is None:
            return pick(logits, self.sampling, self.uniforms.gather(1, step[:, None])[:, 0])
        return pick(logits, self.sampling, self.uniforms[rows, step[rows]])

    def penalised(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return logits (R, V) after the repetition penalty."""
        if self.seen is None:
            return logits
        seen = self.seen if rows is None else self.seen[rows]
        return penalise(logits, seen[:, : logits.shape[1]], self.sampling.repetition_penalty)

    def accept(self, ids: Tensor) -> None:
        """Store the drawn ids (B,) and advance every row that has not finished."""
        column = torch.where(self.decoding.finished(), self.rules.max_new_tokens, self.decoding.id_count)
        self.ids.scatter_(1, column[:, None], ids[:, None])
        if self.seen is not None:
            self.seen.scatter_(1, ids[:, None], True)
        self.last.copy_(ids)
        self.as_speech.copy_(self.decoding.accept(ids))
