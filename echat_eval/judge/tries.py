"""How often a question has come back without a verdict, so that nobody asks it for ever."""

from __future__ import annotations

from echat_eval.errors import Unavailable, Withheld

__all__ = ["Tries"]


class Tries:
    """Counts, per question, the calls that gave no verdict and were or may have been paid.

    Args:
        most: a question that was asked so often is not asked again; None: there is no such number.
    """

    def __init__(self, most: int | None) -> None:
        self.most = most
        self._failed: dict[str, tuple[int, Unavailable]] = {}

    def note(self, asked: str, error: BaseException | None) -> None:
        """Count a call that ended in an error, unless the server refused it or we did not make it."""
        if isinstance(error, Unavailable) and not error.refused and not isinstance(error, Withheld):
            count, _ = self._failed.get(asked, (0, error))
            self._failed[asked] = count + 1, type(error)(str(error))

    def check(self, asked: str) -> None:
        """Raise the last error of a question that was asked often enough."""
        if self.most is not None and asked in self._failed:
            count, error = self._failed[asked]
            if count >= self.most:
                raise type(error)(str(error))
