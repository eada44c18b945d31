"""The port of the server's model: questions in, pieces of a reply out, and a way to take a question back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from echat_eval.records import Reply

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from echat_eval.records import Request

__all__ = ["Answerer", "Delta", "Load", "ModelFacts", "Outcome", "Question", "Ticket"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The public facts of the model.

    Attributes:
        name: under which it is served.
        fingerprint: hash of everything that determines a reply, besides the settings.
        licence: of the weights.
        mode: of all replies.
        voice: name of its voice; None without one.
        sample_rate: Hz of the voice; 0 without one.
        max_audio_seconds: of one recording.
        max_tokens: of one reply, text and speech together.
        takes_history: a question may have earlier turns.
        takes_instruction: a question may have an instruction.
        settings: that determine a reply.
    """

    name: str
    fingerprint: str
    licence: str
    mode: str
    voice: str | None
    sample_rate: int
    max_audio_seconds: float
    max_tokens: int
    takes_history: bool
    takes_instruction: bool
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request for a reply.

    Attributes:
        spoken: the client wants the voice.
        streamed: the client wants the voice while the reply is decoded.
        max_tokens: limit on the reply; None for the model's.
        seed: replaces the model's; None for none.
        greedy: choose the most likely id each time; None for the model's own way.
    """

    request: Request
    spoken: bool
    streamed: bool = False
    max_tokens: int | None = None
    seed: int | None = None
    greedy: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of a reply.

    Attributes:
        samples: of the voice, (frames,) in [-1, 1]; None for none.
    """

    think: str = ""
    text: str = ""
    samples: NDArray[np.float32] | None = None


#: Results of a question: pieces, then the whole reply or an error.
Outcome = Delta | Reply | BaseException


class Ticket(Protocol):
    """A question that was accepted."""

    def cancel(self) -> None:
        """Take it back: its place is free again soon, and nothing more arrives. May be called twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy the model is.

    Attributes:
        running: questions being answered.
        waiting: questions without a slot.
        slots: questions that are answered at once.
    """

    running: int
    waiting: int
    slots: int


class Answerer(Protocol):
    """A model that answers questions at any time, several at once.

    All methods may be called on any thread.
    """

    @property
    def facts(self) -> ModelFacts:
        """Return what clients may know of it."""

    def submit(self, question: Question, listener: Callable[[Outcome], None]) -> Ticket:
        """Check and accept a question.

        Args:
            question: its audio is read before this returns.
            listener: called on any thread, with every piece of the reply and then once with the whole reply
                or an error.

        Raises:
            SystemFailure, NotApplicable: the model does not take such a question.
            Unavailable: too many questions wait, with `retry_after`.
        """

    def load(self) -> Load:
        """Return how busy the model is."""

    def close(self) -> None:
        """Give up all questions and free the model."""
