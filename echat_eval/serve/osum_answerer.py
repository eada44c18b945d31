"""OSUM-EChat as the model of the server: one queue for all clients, and the voice beside decoding."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.errors import SystemFailure, Unavailable
from echat_eval.osum.engine.background_voice import ReplyVoice
from echat_eval.osum.engine.engine_pool import codec_ids
from echat_eval.osum.prompts.modes import history_fault, mode_named, rules_of
from echat_eval.osum.prompts.streamed_reply import StreamedReply
from echat_eval.osum.voice.config import SAMPLE_RATE, SPEECH_IDS
from echat_eval.records import Reply
from echat_eval.serve.answerer import Delta, Load, ModelFacts
from echat_eval.serve.voice_queue import Spoken, VoiceQueue
from echat_eval.serve.waiting_time import WaitingTime
from echat_eval.systems.osum_request import LICENCE, instruction_fault, reply_of

if TYPE_CHECKING:
    from echat_eval.osum.engine.online import OnlineEngine
    from echat_eval.osum.engine.online import Ticket as EngineTicket
    from echat_eval.osum.engine.types import OsumReply
    from echat_eval.osum.prompts.modes import GenerationRequest
    from echat_eval.records import Waveform
    from echat_eval.serve.answerer import Outcome, Question
    from echat_eval.systems.osum_echat import OsumEChat

__all__ = ["OsumAnswerer"]

logger = logging.getLogger(__name__)


class OsumAnswerer:
    """One model, on one device or several, which answers the questions of all clients together.

    Args:
        system: in-process replies to the same questions equal those of this server.
        name: under which it is served.
        max_waiting: questions beyond those in slots, after which further ones are refused.
    """

    def __init__(self, system: OsumEChat, *, name: str = "osum-echat", max_waiting: int = 64) -> None:
        self.system, self.max_waiting = system, max_waiting
        voices = [worker.voice for worker in system.loaded().workers]
        self.voices = [None if voice is None else VoiceQueue(voice) for voice in voices]
        self._engine = system.loaded().online
        self._lock = threading.Lock()
        self._open: set[_Answer] = set()
        self._time = WaitingTime()
        self._facts = self._described(name)

    def _described(self, name: str) -> ModelFacts:
        system, mode = self.system, mode_named(self.system.mode)
        engine = system.loaded().workers[0].engine
        rules = rules_of(mode, engine.profile, max_new_tokens=system.max_new or None)
        speaks = self.voices[0] is not None and mode.speaks
        return ModelFacts(
            name=name,
            fingerprint=system.fingerprint(),
            licence=LICENCE,
            mode=mode.name,
            voice=Path(system.voice).stem if speaks else None,
            sample_rate=SAMPLE_RATE if speaks else 0,
            max_audio_seconds=engine.model.config.max_audio_seconds,
            max_tokens=rules.max_new_tokens,
            takes_history=history_fault(mode) is None,
            takes_instruction=instruction_fault(mode.name) is None,
            settings=system.settings(),
        )

    @property
    def facts(self) -> ModelFacts:
        """Return what clients may know of it."""
        return self._facts

    def submit(self, question: Question, listener: Callable[[Outcome], None]) -> _Answer:
        """Check and accept a question; see `Answerer.submit`."""
        answer = _Answer(self, question, listener)
        with self._lock:
            self._admit()
            self._open.add(answer)
        try:
            prompt = self.system.generation_request(question.request, seed=question.seed)
            answer.start(self._engine, prompt)
        except BaseException:
            self.ended(answer, None)
            raise
        return answer

    def _admit(self) -> None:
        slots = self._engine.counts().slots
        if len(self._open) < slots + self.max_waiting:
            return
        wait = self._time.seconds(waiting=self.max_waiting, slots=slots)
        raise Unavailable(
            f"{self.max_waiting} questions wait, which is the limit; try again in {wait} s",
            retry_after=wait,
            overloaded=True,
            refused=True,
        )

    def ended(self, answer: _Answer, seconds: float | None) -> None:
        """Count an answer that has ended.

        Args:
            seconds: that it took in its slot; None if it is no measure.
        """
        with self._lock:
            self._open.discard(answer)
            if seconds is not None:
                self._time.add(seconds)

    def load(self) -> Load:
        """Return how busy the model is; replies whose voice is being made count as running."""
        counts = self._engine.counts()
        with self._lock:
            count = len(self._open)
        running = max(counts.running + counts.releasing, count - counts.waiting)
        return Load(running=running, waiting=counts.waiting, slots=counts.slots)

    def close(self) -> None:
        """Give up all questions, and end the threads."""
        with self._lock:
            answers = list(self._open)
        for answer in answers:
            answer.cancel()
        self.system.close()


class _Answer:
    """One question in the engine, then in the voice's thread."""

    def __init__(self, model: OsumAnswerer, question: Question, listener: Callable[[Outcome], None]) -> None:
        self._model, self._question, self._listener = model, question, listener
        self._tokenizer = model.system.loaded().workers[0].engine.tokenizer
        self._words = StreamedReply(model.system.mode)
        self._text_ids: list[int] = []
        self._ticket: EngineTicket | None = None
        self._has_ticket = threading.Event()
        self._speech: ReplyVoice | None = None
        self._is_alone = False
        #: Samples handed out, and those of a second decoding that were handed out before.
        self._sent = self._skipped = 0
        #: Profile `upstream` cuts a reply at its end, so that nothing can be sent before.
        self._is_early = question.streamed and model.system.profile == "fixed"
        self._seed = 0
        self._lock = threading.Lock()
        self._is_over = False

    def start(self, engine: OnlineEngine, prompt: GenerationRequest) -> None:
        """Hand the question to the engine.

        Raises:
            SystemFailure, Unavailable: as `OnlineEngine.submit`.
        """
        question, system = self._question, self._model.system
        self._seed = prompt.seed
        kind = engine.engines[0].kind(
            system.mode,
            sampling=system.sampling(greedy=question.greedy),
            max_new_tokens=system.max_new or None,
        )
        self._ticket = engine.submit(
            prompt,
            kind=kind,
            max_new_tokens=question.max_tokens or 0,
            on_text=self._take_text if self._is_early else None,
            on_codec=self._take_codec if self._is_early and question.spoken else None,
        )
        self._has_ticket.set()
        self._ticket.future.add_done_callback(self._take_reply)

    def cancel(self) -> None:
        """Take the question back; its slot is free after the present step."""
        self._end()
        if self._ticket is not None:
            self._ticket.cancel()
        if self._speech is not None:
            self._speech.drop()

    # -- on the engine's thread --------------------------------------------------------

    def _take_text(self, ids: tuple[int, ...]) -> None:
        self._notice_restart()
        self._text_ids += ids
        think, text = self._words.push(self._tokenizer.decode(self._text_ids))
        if think or text:
            self._hand_out(Delta(think=think, text=text))

    def _take_codec(self, ids: tuple[int, ...]) -> None:
        self._notice_restart()
        voice = self._voice
        if voice is None or self._is_over:
            return
        if self._speech is None:
            self._speech = ReplyVoice(voice.thread, seed=self._seed, on_piece=self._take_piece)
        self._speech.feed([token for token in ids if token < SPEECH_IDS])

    def _notice_restart(self) -> None:
        """Begin again if the reply is decoded again, alone: its ids arrive from the first."""
        self._has_ticket.wait()
        if self._ticket is None or self._ticket.alone == self._is_alone:
            return
        self._is_alone, self._text_ids = True, []
        if (speech := self._speech) is not None:
            speech.drop()
            self._speech = None
            # After what the dropped one still does in the voice's thread.
            speech.thread.submit(self._skip_sent)

    def _take_reply(self, future: Future[OsumReply]) -> None:
        try:
            reply = future.result()
        except CancelledError:
            self._end()
            return
        except BaseException as error:  # noqa: BLE001  whatever it is, the client gets an answer
            self._end(error)
            return
        if not self._sends_last_words(reply):
            return
        voice = self._voice
        if not self._question.spoken or voice is None:
            self._end(reply_of(reply, None))
        elif self._question.streamed:
            self._finish_speech(reply)
        else:
            spoken = Spoken(codec_ids(reply), self._seed, lambda: not self._is_over)
            voice.put(spoken, lambda wave: self._take_wave(reply, wave))

    def _sends_last_words(self, reply: OsumReply) -> bool:
        """Hand out what is left of the words; return False if they contradict what was handed out."""
        if not self._question.streamed:
            return True
        try:
            think, text = self._words.end(reply.think, reply.text)
        except SystemFailure as error:
            self._end(error)
            return False
        if think or text:
            self._hand_out(Delta(think=think, text=text))
        return True

    @property
    def _voice(self) -> VoiceQueue | None:
        self._has_ticket.wait()
        assert self._ticket is not None  # set before the event
        return self._model.voices[max(0, self._ticket.engine)]

    def _finish_speech(self, reply: OsumReply) -> None:
        if not self._is_early and reply.speech:
            self._take_codec(reply.speech)
        if (speech := self._speech) is None:  # no speech was decoded
            self._end(reply_of(reply, None))
            return

        def finished(future: Future[Waveform | None]) -> None:
            if not future.cancelled():  # as when the server ends
                self._take_wave(reply, future.exception())

        speech.finish().add_done_callback(finished)

    # -- on the voice's thread ---------------------------------------------------------

    def _take_piece(self, piece: Waveform) -> None:
        skipped = min(self._skipped, len(piece.samples))
        self._skipped -= skipped
        if len(samples := piece.samples[skipped:]):
            self._sent += len(samples)
            self._hand_out(Delta(samples=samples))

    def _skip_sent(self) -> None:
        self._skipped = self._sent

    def _take_wave(self, reply: OsumReply, wave: Waveform | BaseException | None) -> None:
        self._end(wave if isinstance(wave, BaseException) else reply_of(reply, wave))

    # -- results -----------------------------------------------------------------------

    def _hand_out(self, delta: Delta) -> None:
        if not self._is_over:
            self._listener(delta)

    def _end(self, outcome: Outcome | None = None) -> None:
        """End the answer, once; None: it was given up."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
        begun = 0.0 if self._ticket is None else self._ticket.started
        took = time.monotonic() - begun if isinstance(outcome, Reply) and begun else None
        self._model.ended(self, took)
        if outcome is not None:
            self._listener(outcome)
