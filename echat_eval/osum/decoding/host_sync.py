"""Reading the status of the rows on the host without stalling a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from echat_eval.osum.decoding.row_states import RowStates

__all__ = ["HostSync", "RowStatus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStatus:
    """A host copy of the rows' status, one entry per row; see `DecodingState`.

    Attributes:
        last_ids: the newest ids of each row, newest last, as many as there are steps between two reads; what
            precedes the first id of a reply is undefined.
    """

    finished: tuple[bool, ...]
    stopped: tuple[bool, ...]
    speech: tuple[bool, ...]
    id_count: tuple[int, ...]
    last_ids: tuple[tuple[int, ...], ...]


def pack(states: RowStates, steps: int) -> Tensor:
    """Return the fields of `RowStatus` as (4 + steps, B) int64 on the device."""
    state = states.decoding
    status = torch.stack([state.finished().long(), state.stopped.long(), state.speech.long(), state.id_count])
    back = torch.arange(-steps, 0, device=status.device)
    columns = (state.id_count[:, None] + back).clamp(min=0)
    return torch.cat([status, states.ids.gather(1, columns).T])


class HostSync:
    """Reads the current status of the rows, or, if delayed, the status at the last `begin`.

    A finished row never changes, so a delayed status is correct for every row that it reports as finished.
    A row is never refilled between `begin` and `read`: copies begin after rows are filled.

    Args:
        device: device of the rows.
        delayed: copy in the background, so that `read` does not wait for the device.
        steps: decode steps between two reads.
    """

    def __init__(self, device: torch.device, *, delayed: bool, steps: int = 1) -> None:
        self.device, self.delayed, self.steps = device, delayed, steps
        self.pending: Tensor | None = None
        self.copied: torch.cuda.Event | None = None

    def begin(self, states: RowStates) -> None:
        """Begin to copy the status; do nothing unless delayed."""
        if not self.delayed:
            return
        packed = pack(states, self.steps)
        if self.device.type != "cuda":
            self.pending = packed
            return
        self.pending = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
        self.pending.copy_(packed, non_blocking=True)
        self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.copied.record(torch.cuda.current_stream(self.device))

    def read(self, states: RowStates) -> RowStatus | None:
        """Return the current status; if delayed, the status at the last `begin`, None before the first."""
        if self.delayed:
            if self.copied is not None:
                self.copied.synchronize()  # the copy began several steps ago
            packed, self.pending = self.pending, None
        else:
            packed = pack(states, self.steps)
        if packed is None:
            return None
        finished, stopped, speech, id_count, *last_ids = packed.tolist()
        return RowStatus(
            finished=tuple(map(bool, finished)),
            stopped=tuple(map(bool, stopped)),
            speech=tuple(map(bool, speech)),
            id_count=tuple(id_count),
            last_ids=tuple(zip(*last_ids, strict=True)),
        )
