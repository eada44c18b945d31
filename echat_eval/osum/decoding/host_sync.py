"""Looking from the host at where the rows stand, without making a GPU wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from echat_eval.osum.decoding.state import DecodingState

__all__ = ["HostSync", "Seen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Where the rows stood when they were looked at; see `DecodingState`."""

    over: tuple[bool, ...]
    done: tuple[bool, ...]
    speech: tuple[bool, ...]
    count: tuple[int, ...]
    spoken: tuple[int, ...]


def state_of(phases: DecodingState) -> Tensor:
    """Return (5, B) int64 on the device."""
    return torch.stack(
        [phases.over().long(), phases.done.long(), phases.speech.long(), phases.count, phases.spoken]
    )


class HostSync:
    """Sees the rows as they are; or, lagging, as they were when they were last noted.

    A row that is over stays as it is, so an old look is true of what it says is over. It is never so old that
    a row could have been refilled in between: rows are noted after they are filled.

    Args:
        device: where the rows are.
        lagging: note and look apart, so that the copy to the host is over before anybody waits for it.
    """

    def __init__(self, device: torch.device, *, lagging: bool) -> None:
        self.device, self.lagging = device, lagging
        self.noted: Tensor | None = None
        self.copied: torch.cuda.Event | None = None

    def note(self, phases: DecodingState) -> None:
        """Begin to copy where the rows stand."""
        if not self.lagging:
            return
        state = state_of(phases)
        if self.device.type != "cuda":
            self.noted = state
            return
        self.noted = torch.empty(state.shape, dtype=state.dtype, pin_memory=True)
        self.noted.copy_(state, non_blocking=True)
        self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.copied.record(torch.cuda.current_stream(self.device))

    def look(self, phases: DecodingState) -> Seen | None:
        """Return where the rows stand, or stood when last noted; None if they were not noted yet."""
        if self.lagging:
            if self.copied is not None:
                self.copied.synchronize()  # of a copy that was begun several steps ago
            state, self.noted = self.noted, None
        else:
            state = state_of(phases)
        if state is None:
            return None
        over, done, speech, count, spoken = state.tolist()
        return Seen(
            over=tuple(map(bool, over)),
            done=tuple(map(bool, done)),
            speech=tuple(map(bool, speech)),
            count=tuple(count),
            spoken=tuple(spoken),
        )
