"""The tensors of the slots: keys and values, and the state of every row; they grow with what is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from echat_eval.osum.decoding.row_states import RowStates
from echat_eval.osum.model.kv_cache import KVCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from echat_eval.osum.decoding.prompt_graph import CapturedPrompts
    from echat_eval.osum.decoding.setup import DecodingSetup
    from echat_eval.osum.decoding.step import Heads

__all__ = ["GRAPH_WIDTH", "GROWTH", "SlotTensors"]

#: Keys and values grow by at least this many positions.
GROWTH = 128
#: Captured steps attend to a multiple of this many positions, so that few shapes are captured.
GRAPH_WIDTH = 256


class SlotTensors:
    """Keys, values and state of a number of rows, the first of which are stepped.

    Plain steps take only what is needed and grow. Captured steps address fixed tensors: all slots, with room
    for whole replies, kept for the next run.

    Args:
        setup: model and settings.
        slots: the most rows.

    Attributes:
        active: the rows that are stepped.
    """

    def __init__(self, setup: DecodingSetup, slots: int) -> None:
        self.setup, self.slots, self.captured = setup, slots, setup.capture_graph is not None
        self.graphs: dict[tuple[Heads, int, int], Callable[[], None]] = {}
        self.prompts: dict[tuple[int, int, int], CapturedPrompts] = {}

    def open(self, rows: int, longest: int) -> None:
        """Allocate for `rows` rows whose longest prompt has `longest` positions; none is stepped yet."""
        max_new_tokens = self.setup.rules.max_new_tokens
        if self.captured:
            self._open_for_graphs(longest + max_new_tokens)
        else:
            self._allocate(rows, longest + min(max_new_tokens, GROWTH))
        self.active = self.states.first(0)

    def _allocate(self, rows: int, max_positions: int) -> None:
        setup, config = self.setup, self.setup.model.config
        like = torch.zeros(0, dtype=setup.model.dtype, device=setup.model.device)
        self.cache = KVCache.allocate(config.decoder, rows=rows, max_positions=max_positions, like=like)
        self.states = RowStates(setup.rules, setup.sampling, config, rows=rows, like=like)

    def _open_for_graphs(self, max_positions: int) -> None:
        """Reuse the tensors and graphs of an earlier run if they fit."""
        stored, key = self.setup.graph_cache, (self.setup.rules, self.setup.sampling, self.slots)
        if (
            stored.key == key
            and stored.kv_cache is not None
            and stored.kv_cache.max_positions > max_positions
        ):
            assert stored.states is not None  # stored together
            self.cache, self.states = stored.kv_cache, stored.states
            self.graphs, self.prompts = stored.graphs, stored.prompts
            self.states.decoding.stopped.fill_(True)  # no row is in use yet
            return
        stored.clear()
        # One position more than any step attends to: a compiled layer would note that both are equal.
        self._allocate(self.slots, -(-max_positions // GRAPH_WIDTH) * GRAPH_WIDTH + 1)
        stored.key, stored.kv_cache, stored.states = key, self.cache, self.states
        stored.graphs, stored.prompts = self.graphs, self.prompts

    @property
    def stepped(self) -> int:
        """Return the number of rows that are stepped."""
        return len(self.active.last)

    def widen(self, rows: int) -> int:
        """Step at least `rows` rows, the new ones not in use; return how many."""
        rows, stepped = self.rows_for(rows), self.stepped
        if rows > self.cache.rows:
            capacity = min(self.slots, max(rows, 2 * self.cache.rows))
            self.cache.grow(rows=capacity)
            self.states = self.states.grown(capacity)
        self.active = self.states.first(rows)
        self.active.decoding.stopped[stepped:] = True
        return rows

    def rows_for(self, count: int) -> int:
        """Return how many rows to step for `count` in use: captured steps have few shapes."""
        return min(self.slots, next_power_of_two(count)) if self.captured else count

    def compact(self, rows: list[int]) -> int:
        """Move these rows to the front and step only them; return how many are stepped."""
        numbers = torch.tensor(rows, device=self.setup.model.device)
        self.cache.gather(numbers)
        self.active.gather(numbers)
        stepped = self.rows_for(len(rows))
        self.active = self.states.first(stepped)
        self.active.decoding.stopped[len(rows) :] = True
        return stepped

    def reserve(self, reach: int, longest: int) -> int:
        """Return how many positions the next step attends to, after growing the cache to hold them.

        Args:
            reach: positions in use after the step.
            longest: positions of the longest prompt in use.
        """
        max_new_tokens, most = self.setup.rules.max_new_tokens, self.cache.max_positions
        required = longest + max_new_tokens + 1 if self.captured else max(reach, longest)
        if required > most:
            self.cache.grow(max_positions=max(required, most + max(GROWTH, most // 4)))
            self.graphs.clear()
            self.prompts.clear()
        if not self.captured:
            return reach
        return min(-(-reach // GRAPH_WIDTH) * GRAPH_WIDTH, self.cache.max_positions - 1)


def next_power_of_two(value: int) -> int:
    """Return the least power of two that is at least `value`."""
    return 1 << (value - 1).bit_length()
