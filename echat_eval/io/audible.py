"""Where sound begins: the first samples that a listener would hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["AUDIBLE_LEVEL", "first_audible"]

#: Root mean square of a frame, of full scale 1: -50 dB. Noise of a synthesizer's silence is below -60 dB.
AUDIBLE_LEVEL = 10 ** (-50 / 20)
#: Seconds of a frame.
_FRAME = 0.01


def first_audible(samples: NDArray[np.float32], rate: int) -> float | None:
    """Return the seconds until the first frame of 10 ms that is audible; None if none is.

    Args:
        samples: (frames,) in [-1, 1].
        rate: Hz.

    >>> import numpy as np
    >>> first_audible(np.concatenate([np.zeros(800), np.full(800, 0.1)]).astype(np.float32), 8000)
    0.1
    >>> first_audible(np.zeros(800, dtype=np.float32), 8000) is None
    True
    """
    import numpy as np

    size = max(1, round(rate * _FRAME))
    rest = -len(samples) % size
    frames = np.pad(samples.astype(np.float64), (0, rest)).reshape(-1, size)
    audible = np.flatnonzero(np.sqrt(np.mean(frames**2, axis=1)) >= AUDIBLE_LEVEL)
    return float(audible[0] * size / rate) if len(audible) else None
