"""The ways to use the model: what each says before the query, how it draws, and when it ends.

Profile `fixed` (default) uses the prompts of training and mends what the public inference code does wrong;
profile `upstream` keeps its prompts, its cut of a spoken reply, its missing repetition rule, its layout of
past turns and its caps. Crashes, half-loaded weights and noise in place of missing audio are in neither.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from echat_eval.errors import UnknownName, UsageError
from echat_eval.osum.decoding.sampling import Sampling
from echat_eval.osum.decoding.state import DecodingRules, split_ids
from echat_eval.osum.prompts.prompts import ASSISTANT, END, USER, system, task_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from echat_eval.osum.model.config import OsumConfig, SpeechIds

__all__ = [
    "MODES",
    "PROFILES",
    "AudioPrompt",
    "GenerationRequest",
    "Ids",
    "Mode",
    "PastTurn",
    "Piece",
    "Profile",
    "Spoken",
    "Words",
    "layout",
    "mode_named",
    "rules_of",
]

Profile = Literal["fixed", "upstream"]
PROFILES: tuple[Profile, ...] = ("fixed", "upstream")

#: Past turns that stay in the prompt, as in the public code.
TURNS_KEPT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTurn:
    """One finished exchange.

    Attributes:
        wave: (samples,) 16 kHz, what the user said.
        ids: everything the model generated then, if it was this model; taken before `text` and `speech`.
        text: what was written, think text included.
        speech: the codec ids that were spoken, if any.
    """

    wave: Tensor
    ids: tuple[int, ...] | None = None
    text: str = ""
    speech: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One request.

    Attributes:
        wave: (samples,) 16 kHz; for modes that hear.
        text: for modes that read.
        task: a name of `prompts.TASKS` for mode `understand`, or a wording of one's own.
        history: oldest first; only mode `s2s` was trained with it.
        seed: of the sampling.
    """

    wave: Tensor | None = None
    text: str | None = None
    task: str = "asr"
    history: tuple[PastTurn, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Words:
    """Text to be looked up in the text table; specials count only if `trusted`."""

    text: str
    trusted: bool = True


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids of the text table."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Spoken:
    """Ids of the speech table."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AudioPrompt:
    """The adapter's output for one waveform: 12.5 positions a second."""

    wave: Tensor


Piece = Words | Ids | Spoken | AudioPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One way to use the model.

    Attributes:
        name: on the command line.
        prompt: name of the system prompt.
        hears: takes audio; otherwise text.
        speaks: answers with speech tokens.
        sampling: the public code's numbers, kept in both profiles.
        cap: most new ids in profile `fixed`.
        upstream_cap: most new ids in profile `upstream`.
        in_turn: writes and speaks in turn; experimental.
    """

    name: str
    prompt: str
    hears: bool
    speaks: bool
    sampling: Sampling
    cap: int
    upstream_cap: int
    in_turn: bool = False


_SPEAKING = Sampling(top_k=10, top_p=0.9, temperature=1.2)
_CHATTING = Sampling(top_k=2, temperature=0.4, repetition_penalty=1.05)
_ANSWERING = Sampling(top_k=5, top_p=0.9, repetition_penalty=1.05)
_READING_OUT = Sampling(top_k=15, top_p=0.8, temperature=1.2)
_IN_TURN = Sampling(top_k=10, top_p=0.9)

#: The user's words in which the public code's deleted streaming inference asked for text and speech in turn.
_ASK_IN_TURN = (
    "实现语音与文字的即时交流，直接进行文字和语音token的交错回复，每回复6个文字,就转化为18个语音token。"
)


def _mode(name: str, sampling: Sampling, cap: int, upstream_cap: int) -> Mode:
    hears, speaks = name not in ("tts", "t2t"), name in ("tts", "s2s", "s2s-think", "s2s-stream")
    return Mode(
        name=name,
        prompt=name,
        hears=hears,
        speaks=speaks,
        sampling=sampling,
        cap=cap,
        upstream_cap=upstream_cap,
        in_turn=name == "s2s-stream",
    )


MODES: Mapping[str, Mode] = MappingProxyType(
    {
        mode.name: mode
        for mode in (
            _mode("s2s", _SPEAKING, 2000, 2000),
            _mode("s2s-think", _SPEAKING, 2000, 2000),
            _mode("s2t", _CHATTING, 1024, 8000),
            _mode("s2t-think", _CHATTING, 1024, 8000),
            _mode("understand", _ANSWERING, 1024, 8000),
            _mode("tts", _READING_OUT, 2000, 2000),
            _mode("t2t", Sampling(), 1024, 200),
            # Experimental: whether the released checkpoints were trained to speak in turn is not known.
            _mode("s2s-stream", _IN_TURN, 2000, 300),
        )
    }
)


def mode_named(name: str) -> Mode:
    """Return a mode.

    Raises:
        UnknownName: with the nearest one.
    """
    if name not in MODES:
        raise UnknownName("mode", name, MODES)
    return MODES[name]


def rules_of(mode: Mode, profile: Profile, *, cap: int | None = None) -> DecodingRules:
    """Return the rules of a mode's reply; `cap` lowers or raises the most new ids."""
    usual = mode.cap if profile == "fixed" else mode.upstream_cap
    rules = DecodingRules(max_new=usual if cap is None else cap)
    if mode.name == "tts":
        return replace(rules, starts_in_speech=True, edges=1)
    if not mode.speaks:
        return replace(rules, ends_with_text=True)
    if mode.in_turn:
        return replace(rules, blocks=(6, 18), edge_fills=profile == "fixed")
    # The public code means to block repeated speech tokens, but on GPUs never switches the rule on.
    return replace(rules, age_gate=True, block_repeats=profile == "fixed")


def layout(mode: Mode, ask: GenerationRequest, *, profile: Profile, config: OsumConfig) -> list[Piece]:
    """Return the prompt as pieces, in order.

    Raises:
        UsageError: the mode needs audio or text that the request lacks, or has no place for past turns.
    """
    if mode.hears and ask.wave is None:
        raise UsageError(f"mode '{mode.name}' needs audio")
    if not mode.hears and not ask.text:
        raise UsageError(f"mode '{mode.name}' needs text")
    if ask.history:
        if mode.name != "s2s":
            raise UsageError(
                f"mode '{mode.name}' has no place for past turns; mode 's2s' was trained with them"
            )
        return _dialogue(mode, ask, profile=profile, config=config)
    opening = system(mode.prompt) + USER
    if profile == "upstream":
        if mode.name == "understand":
            opening = system("understand-upstream") + USER
        elif mode.name == "s2t-think":
            opening = system(mode.prompt)
        elif mode.name == "s2s-stream":
            opening = system("qwen") + USER + _ASK_IN_TURN
    pieces: list[Piece] = [Words(opening)]
    if mode.name == "understand":
        pieces.append(_question(ask.task))
    if ask.wave is not None and mode.hears:
        pieces += _query(ask.wave, config.speech)
    elif ask.text:
        pieces += [Words(ask.text, trusted=False), Words(ASSISTANT)]
    if mode.name == "tts":
        pieces.append(Spoken((config.speech.edge,)))
    return pieces


def _question(task: str) -> Words:
    """Return the task's wording; anything with a space or no plain name is a wording of one's own."""
    own = not task.isascii() or " " in task
    return Words(task, trusted=False) if own else Words(task_named(task).prompt)


def _query(wave: Tensor, speech: SpeechIds) -> list[Piece]:
    return [Spoken((speech.query_begin,)), AudioPrompt(wave), Spoken((speech.query_end,)), Words(ASSISTANT)]


def _dialogue(mode: Mode, ask: GenerationRequest, *, profile: Profile, config: OsumConfig) -> list[Piece]:
    """Return a prompt with past turns: as in training, or as the public inference code lays them out."""
    assert ask.wave is not None  # checked by the caller
    pieces: list[Piece] = [Words(system(mode.prompt))]
    for turn in ask.history[-TURNS_KEPT:]:
        if profile == "upstream":
            # No user marker, no end of turn, and a text that lacks its last id.
            pieces += [*_query(turn.wave, config.speech), *_said(turn, config, verbatim=True)]
        else:
            said = _said(turn, config, verbatim=False)
            pieces += [Words(USER), AudioPrompt(turn.wave), Words(END + ASSISTANT), *said, Words(END)]
    return [*pieces, Words(USER), *_query(ask.wave, config.speech)]


def _said(turn: PastTurn, config: OsumConfig, *, verbatim: bool) -> list[Piece]:
    """Return an earlier reply; `verbatim` keeps its speech as it came, borders and all."""
    edge, rules = config.speech.edge, DecodingRules(max_new=0)
    if turn.ids is None:
        text: Piece = Words(turn.text, trusted=False)
        speech = (edge, *turn.speech, edge) if turn.speech else ()
    else:
        words, codec = split_ids(turn.ids, rules, config, upstream=verbatim)
        text = Ids(words)
        speech = (edge, *codec, edge) if codec else ()
        if verbatim and config.text.end in turn.ids:
            speech = turn.ids[turn.ids.index(config.text.end) + 1 :]
    return [text, Spoken(speech)] if speech else [text]
