"""A scripted model for the server: replies made of the question, in pieces that a test may hold back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from echat_eval.errors import Unavailable
from echat_eval.records import Reply, Waveform
from echat_eval.serve.answerer import Delta, Load, ModelFacts, Outcome, Question

RATE = 22_050


def scripted_voice(seconds: float = 0.5) -> Waveform:
    time = np.arange(int(seconds * RATE)) / RATE
    return Waveform(samples=(0.4 * np.sin(2 * np.pi * 220 * time)).astype(np.float32), sample_rate=RATE)


class ScriptedTicket:
    """A question of the scripted model."""

    def __init__(self, model: ScriptedAnswerer, question: Question) -> None:
        self.model, self.question = model, question
        self.given_up = threading.Event()

    def cancel(self) -> None:
        self.given_up.set()
        with self.model.changed:
            self.model.changed.notify_all()


class ScriptedAnswerer:
    """A model of two slots and a queue of two.

    Attributes:
        questions: all that were accepted.
        words: of every reply.
        hold: replies wait in their middle until it is set.
        fault: raised in the middle of every reply, if set.
    """

    def __init__(self, *, slots: int = 2, max_waiting: int = 2, voice: str | None = "ann") -> None:
        self.facts = ModelFacts(
            name="tiny",
            fingerprint="f" * 64,
            licence="research only",
            mode="s2s",
            voice=voice,
            sample_rate=RATE if voice else 0,
            max_audio_seconds=100.0,
            max_tokens=500,
            takes_history=True,
            takes_instruction=False,
            settings={"mode": "s2s"},
        )
        self.slots, self.max_waiting = slots, max_waiting
        self.questions: list[Question] = []
        self.words = ("I hear ", "you.")
        self.hold = threading.Event()
        self.hold.set()
        self.fault: Exception | None = None
        self.refusal: Exception | None = None
        self.changed = threading.Condition()
        self.running: list[ScriptedTicket] = []
        self.waiting: list[ScriptedTicket] = []
        self._threads = ThreadPoolExecutor(32)

    def submit(self, question: Question, listener: Callable[[Outcome], None]) -> ScriptedTicket:
        if self.refusal is not None:
            raise self.refusal
        with self.changed:
            if len(self.running) >= self.slots and len(self.waiting) >= self.max_waiting:
                raise Unavailable("the queue is full", retry_after=0.2, overloaded=True)
            self.questions.append(question)
            ticket = ScriptedTicket(self, question)
            self.waiting.append(ticket)
        self._threads.submit(self._answer, ticket, listener)
        return ticket

    def _answer(self, ticket: ScriptedTicket, listener: Callable[[Outcome], None]) -> None:
        with self.changed:
            self.changed.wait_for(lambda: len(self.running) < self.slots or ticket.given_up.is_set())
            self.waiting.remove(ticket)
            self.running.append(ticket)
        try:
            if ticket.given_up.is_set():
                return
            listener(Delta(think="a thought", text=self.words[0]))
            voice = scripted_voice() if ticket.question.spoken else None
            if voice is not None and ticket.question.streamed:
                listener(Delta(samples=voice.samples[:3000]))
            while not self.hold.wait(0.02) and not ticket.given_up.is_set():
                pass
            if ticket.given_up.is_set():
                return
            if self.fault is not None:
                listener(self.fault)
                return
            for words in self.words[1:]:
                listener(Delta(text=words))
            if voice is not None and ticket.question.streamed:
                listener(Delta(samples=voice.samples[3000:]))
            usage = {"prompt_tokens": 10, "completion_tokens": 20, "speech_tokens": 15}
            listener(
                Reply(
                    text="".join(self.words),
                    audio=voice,
                    think="a thought",
                    perceived={"emotion": "happy"},
                    finish_reason="stop",
                    usage=usage,
                )
            )
        finally:
            with self.changed:
                self.running.remove(ticket)
                self.changed.notify_all()

    def load(self) -> Load:
        return Load(running=len(self.running), waiting=len(self.waiting), slots=self.slots)

    def close(self) -> None:
        for ticket in [*self.running, *self.waiting]:
            ticket.cancel()
        self._threads.shutdown(wait=True)
