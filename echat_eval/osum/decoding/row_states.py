"""What a decode step reads and writes, a row a slot: allocated once, changed in place, refilled row by row.

Shapes: B rows, D width, N most new ids, V logits. All of it lies on the model's device, so that a step needs
nothing from the host and can be recorded.
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

__all__ = ["Slots"]


class Slots:
    """The state of every row.

    Attributes:
        phases: where each reply stands.
        hidden: (B, D), the state that the next id is drawn from.
        last: (B,) int64, the id that was drawn last.
        as_speech: (B,) bool, it is embedded as speech.
        position: (B,) int64, where it goes.
        uniforms: (B, N) float64, one number a draw.
        made: (B, N + 1) int64, the ids; the last column takes what comes after a row's end.
        seen: (B, V) bool, ids that the repetition penalty is for; None without one.
    """

    STATE = ("hidden", "last", "as_speech", "position", "uniforms", "made")

    def __init__(
        self, rules: DecodingRules, sampling: Sampling, config: OsumConfig, *, rows: int, like: Tensor
    ) -> None:
        device = like.device
        self.rules, self.sampling, self.config = rules, sampling, config
        self.phases = DecodingState(rules, config, rows=rows, device=device)
        self.phases.done.fill_(True)  # no row is in use yet
        self.hidden = like.new_zeros(rows, config.decoder.width)
        self.last, self.position = (torch.zeros(rows, dtype=torch.long, device=device) for _ in range(2))
        self.as_speech = torch.zeros(rows, dtype=torch.bool, device=device)
        self.uniforms = torch.zeros(rows, rules.max_new, dtype=torch.float64, device=device)
        self.made = torch.zeros(rows, rules.max_new + 1, dtype=torch.long, device=device)
        self.seen: Tensor | None = None
        if sampling.repetition_penalty != 1:
            width = max(config.decoder.vocab, config.speech.tokens)
            self.seen = torch.zeros(rows, width, dtype=torch.bool, device=device)

    def start(self, rows: Tensor, hidden: Tensor, positions: Tensor, seeds: Sequence[int]) -> None:
        """Put new replies into the rows with these numbers (R,).

        Args:
            rows: int64, on the device.
            hidden: (R, D), the prompts' last states.
            positions: (R,) int64, the prompts' lengths.
            seeds: R of them.
        """
        self.phases.start(rows)
        self.hidden[rows], self.position[rows] = hidden, positions
        uniforms = draw_uniforms(seeds, self.rules.max_new)
        self.uniforms[rows] = uniforms.to(self.uniforms.device, non_blocking=True)
        if self.seen is not None:
            self.seen[rows] = False

    def tensors(self) -> list[Tensor]:
        """Return all state but keys and values."""
        mine = [getattr(self, name) for name in self.STATE]
        return [
            *mine,
            *(getattr(self.phases, n) for n in DecodingState.STATE),
            *([] if self.seen is None else [self.seen]),
        ]

    def gather(self, rows: Tensor) -> None:
        """Move the rows with these numbers (R,), in rising order, to the front."""
        for tensor in self.tensors():
            tensor[: len(rows)] = tensor[rows]

    def head(self, rows: int) -> Slots:
        """Return the first rows, on the same memory."""
        part = object.__new__(Slots)
        part.rules, part.sampling, part.config = self.rules, self.sampling, self.config
        part.phases = self.phases.head(rows)
        for name in self.STATE:
            setattr(part, name, getattr(self, name)[:rows])
        part.seen = None if self.seen is None else self.seen[:rows]
        return part

    def draw(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return one id (R,) per row of restricted logits (R, V); `rows` are their numbers, None for all."""
        step = self.phases.count if rows is None else self.phases.count[rows]
        uniforms = self.uniforms if rows is None else self.uniforms[rows]
        drawn = uniforms.gather(1, step.clamp(max=self.rules.max_new - 1)[:, None])[:, 0]
        return pick(logits, self.sampling, drawn)

    def penalised(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return logits (R, V) less likely where the row already said the id."""
        if self.seen is None:
            return logits
        seen = self.seen if rows is None else self.seen[rows]
        return penalise(logits, seen[:, : logits.shape[1]], self.sampling.repetition_penalty)

    def accept(self, ids: Tensor) -> None:
        """Write down the drawn ids (B,), and move every row on that is not over."""
        over = self.phases.over()
        place = torch.where(over, self.rules.max_new, self.phases.count)
        self.made.scatter_(1, place[:, None], ids[:, None])
        if self.seen is not None:
            self.seen.scatter_(1, ids[:, None], True)
        self.last.copy_(ids)
        self.as_speech.copy_(self.phases.accept(ids))
