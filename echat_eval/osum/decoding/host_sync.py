"""Reading the status of the rows on the host without stalling a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from echat_eval.osum.decoding.state import DecodingState

__all__ = ["HostSync", "RowStatus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStatus:
    """A host copy of the rows' status, one entry per row; see `DecodingState`."""

    finished: tuple[bool, ...]
    stopped: tuple[bool, ...]
    speech: tuple[bool, ...]
    id_count: tuple[int, ...]
    speech_count: tuple[int, ...]


def pack(state: DecodingState) -> Tensor:
    """Return the fields of `RowStatus` as (5, B) int64 on the device."""
    return torch.stack(
        [
            state.finished().long(),
            state.stopped.long(),
            state.speech.long(),
            state.id_count,
            state.speech_count,
        ]
    )


class HostSync:
    """Reads the current status of the rows, or, if delayed, the status at the last `begin`.

    A finished row never changes, so a delayed status is correct for every row that it reports as finished.
    A row is never refilled between `begin` and `read`: copies begin after rows are filled.

    Args:
        device: device of the rows.
        delayed: copy in the background, so that `read` does not wait for the device.
    """

    def __init__(self, device: torch.device, *, delayed: bool) -> None:
        self.device, self.delayed = device, delayed
        self.pending: Tensor | None = None
        self.copied: torch.cuda.Event | None = None

    def begin(self, state: DecodingState) -> None:
        """Begin to copy the status; do nothing unless delayed."""
        if not self.delayed:
            return
        packed = pack(state)
        if self.device.type != "cuda":
            self.pending = packed
            return
        self.pending = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
        self.pending.copy_(packed, non_blocking=True)
        self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.copied.record(torch.cuda.current_stream(self.device))

    def read(self, state: DecodingState) -> RowStatus | None:
        """Return the current status; if delayed, the status at the last `begin`, None before the first."""
        if self.delayed:
            if self.copied is not None:
                self.copied.synchronize()  # the copy began several steps ago
            packed, self.pending = self.pending, None
        else:
            packed = pack(state)
        if packed is None:
            return None
        finished, stopped, speech, id_count, speech_count = packed.tolist()
        return RowStatus(
            finished=tuple(map(bool, finished)),
            stopped=tuple(map(bool, stopped)),
            speech=tuple(map(bool, speech)),
            id_count=tuple(id_count),
            speech_count=tuple(speech_count),
        )
