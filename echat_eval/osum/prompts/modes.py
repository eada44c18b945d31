"""Modes of the model: the prompt, the sampling parameters and the end of a reply in each.

Profile `fixed` (default) uses the training prompts and corrects errors of the public inference code. Profile
`upstream` keeps that code's prompts, its cut of a spoken reply, its missing repetition rule, its layout of
past turns and its length limits. Neither reproduces its crashes, its partly loaded weights or its noise in
place of missing audio.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from echat_eval.errors import UnknownName, UsageError
from echat_eval.osum.decoding.reply_splitter import split_ids
from echat_eval.osum.decoding.sampling import Sampling
from echat_eval.osum.decoding.state import DecodingRules
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
    "Mode",
    "PastTurn",
    "Piece",
    "Profile",
    "SpeechIdPrompt",
    "TextIdPrompt",
    "TextPrompt",
    "history_fault",
    "layout",
    "mode_named",
    "rules_of",
]

Profile = Literal["fixed", "upstream"]
PROFILES: tuple[Profile, ...] = ("fixed", "upstream")

#: Past turns kept in the prompt, as in the public code.
MAX_PAST_TURNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTurn:
    """One finished exchange.

    Attributes:
        wave: (samples,) 16 kHz, the user's speech.
        ids: all ids that this model generated in reply, if known; preferred over `text` and `speech`.
        text: the text of the reply, think text included.
        speech: the codec ids of the reply, if any.
    """

    wave: Tensor
    ids: tuple[int, ...] | None = None
    text: str = ""
    speech: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One request.

    Attributes:
        wave: (samples,) 16 kHz; for modes with audio input.
        text: for modes with text input.
        task: for mode `understand`, a name from `prompts.TASKS` or a custom prompt.
        history: past turns, oldest first; only mode `s2s` was trained with them.
        seed: of the sampling.
    """

    wave: Tensor | None = None
    text: str | None = None
    task: str = "asr"
    history: tuple[PastTurn, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """Text to tokenize; special tokens in it are recognised only if `trusted`."""

    text: str
    trusted: bool = True


@dataclass(frozen=True, slots=True)
class TextIdPrompt:
    """Ids in the text vocabulary."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SpeechIdPrompt:
    """Ids in the speech vocabulary."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AudioPrompt:
    """One waveform (samples,) at 16 kHz; the adapter turns it into 12.5 positions per second."""

    wave: Tensor


Piece = TextPrompt | TextIdPrompt | SpeechIdPrompt | AudioPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One way to use the model.

    Attributes:
        name: on the command line.
        prompt: name of the system prompt.
        takes_audio: the query is audio; otherwise text.
        speaks: replies with speech tokens.
        sampling: parameters of the public code, used in both profiles.
        max_new_tokens: limit on new ids in profile `fixed`.
        upstream_max_new_tokens: limit on new ids in profile `upstream`.
        interleaved: generates text and speech in alternating blocks; experimental.
    """

    name: str
    prompt: str
    takes_audio: bool
    speaks: bool
    sampling: Sampling
    max_new_tokens: int
    upstream_max_new_tokens: int
    interleaved: bool = False


_SPEAKING = Sampling(top_k=10, top_p=0.9, temperature=1.2)
_CHATTING = Sampling(top_k=2, temperature=0.4, repetition_penalty=1.05)
_ANSWERING = Sampling(top_k=5, top_p=0.9, repetition_penalty=1.05)
_READING_OUT = Sampling(top_k=15, top_p=0.8, temperature=1.2)
_INTERLEAVED = Sampling(top_k=10, top_p=0.9)

#: User text with which the public code's deleted streaming inference asked for interleaved text and speech.
_ASK_INTERLEAVED = (
    "实现语音与文字的即时交流，直接进行文字和语音token的交错回复，每回复6个文字,就转化为18个语音token。"
)


def _mode(name: str, sampling: Sampling, max_new_tokens: int, upstream_max_new_tokens: int) -> Mode:
    return Mode(
        name=name,
        prompt=name,
        takes_audio=name not in ("tts", "t2t"),
        speaks=name in ("tts", "s2s", "s2s-think", "s2s-stream"),
        sampling=sampling,
        max_new_tokens=max_new_tokens,
        upstream_max_new_tokens=upstream_max_new_tokens,
        interleaved=name == "s2s-stream",
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
            # Experimental: the released checkpoints may not have been trained for interleaved replies.
            _mode("s2s-stream", _INTERLEAVED, 2000, 300),
        )
    }
)


def mode_named(name: str) -> Mode:
    """Return a mode.

    Raises:
        UnknownName: no such mode; the message suggests the nearest name.
    """
    if name not in MODES:
        raise UnknownName("mode", name, MODES)
    return MODES[name]


def history_fault(mode: Mode) -> str | None:
    """Return why a mode takes no past turns, or None if it takes them."""
    if mode.name == "s2s":
        return None
    return f"mode '{mode.name}' takes no past turns; use mode 's2s', which was trained with them"


def rules_of(mode: Mode, profile: Profile, *, max_new_tokens: int | None = None) -> DecodingRules:
    """Return the decoding rules of a mode; `max_new_tokens` replaces the limit of the profile."""
    if max_new_tokens is None:
        fixed = profile == "fixed"
        max_new_tokens = mode.max_new_tokens if fixed else mode.upstream_max_new_tokens
    rules = DecodingRules(max_new_tokens=max_new_tokens)
    if mode.name == "tts":
        return replace(rules, starts_in_speech=True, bos_eos_count=1)
    if not mode.speaks:
        return replace(rules, ends_with_text=True)
    if mode.interleaved:
        return replace(rules, blocks=(6, 18), bos_eos_in_blocks=profile == "fixed")
    # The public code intends to block repeated speech tokens, but never enables the rule on GPUs.
    return replace(rules, age_gate=True, block_repeats=profile == "fixed")


def layout(mode: Mode, request: GenerationRequest, *, profile: Profile, config: OsumConfig) -> list[Piece]:
    """Return the prompt as pieces, in order.

    Raises:
        UsageError: the request has no audio or text for a mode that needs it, or has past turns for a mode
            that does not take them.
    """
    if mode.takes_audio and request.wave is None:
        raise UsageError(f"mode '{mode.name}' needs audio")
    if not mode.takes_audio and not request.text:
        raise UsageError(f"mode '{mode.name}' needs text")
    if request.history:
        if fault := history_fault(mode):
            raise UsageError(fault)
        return _dialogue(mode, request, profile=profile, config=config)
    opening = system(mode.prompt) + USER
    if profile == "upstream":
        if mode.name == "understand":
            opening = system("understand-upstream") + USER
        elif mode.name == "s2t-think":
            opening = system(mode.prompt)
        elif mode.name == "s2s-stream":
            opening = system("qwen") + USER + _ASK_INTERLEAVED
    pieces: list[Piece] = [TextPrompt(opening)]
    if mode.name == "understand":
        pieces.append(_task_prompt(request.task))
    if request.wave is not None and mode.takes_audio:
        pieces += _query(request.wave, config.speech)
    elif request.text:
        pieces += [TextPrompt(request.text, trusted=False), TextPrompt(ASSISTANT)]
    if mode.name == "tts":
        pieces.append(SpeechIdPrompt((config.speech.bos_eos,)))
    return pieces


def check_task(task: str) -> None:
    """Raise UnknownName unless a task of mode `understand` is known or a custom prompt."""
    _task_prompt(task)


def _task_prompt(task: str) -> TextPrompt:
    """Return the prompt of a task; text with spaces or non-ASCII characters is a custom prompt."""
    custom = not task.isascii() or " " in task
    return TextPrompt(task, trusted=False) if custom else TextPrompt(task_named(task).prompt)


def _query(wave: Tensor, speech: SpeechIds) -> list[Piece]:
    return [
        SpeechIdPrompt((speech.query_begin,)),
        AudioPrompt(wave),
        SpeechIdPrompt((speech.query_end,)),
        TextPrompt(ASSISTANT),
    ]


def _dialogue(mode: Mode, request: GenerationRequest, *, profile: Profile, config: OsumConfig) -> list[Piece]:
    """Return a prompt with past turns, laid out as in training or as in the public inference code."""
    assert request.wave is not None  # checked by the caller
    pieces: list[Piece] = [TextPrompt(system(mode.prompt))]
    for turn in request.history[-MAX_PAST_TURNS:]:
        if profile == "upstream":
            # No user marker, no end of turn, and a text without its last id.
            pieces += [*_query(turn.wave, config.speech), *_past_reply(turn, config, verbatim=True)]
        else:
            reply = _past_reply(turn, config, verbatim=False)
            pieces += [
                TextPrompt(USER),
                AudioPrompt(turn.wave),
                TextPrompt(END + ASSISTANT),
                *reply,
                TextPrompt(END),
            ]
    return [*pieces, TextPrompt(USER), *_query(request.wave, config.speech)]


def _past_reply(turn: PastTurn, config: OsumConfig, *, verbatim: bool) -> list[Piece]:
    """Return the reply of a past turn; `verbatim` keeps all its speech ids as generated."""
    speech_bos_eos, rules = config.speech.bos_eos, DecodingRules(max_new_tokens=0)
    if turn.ids is None:
        text: Piece = TextPrompt(turn.text, trusted=False)
        speech = (speech_bos_eos, *turn.speech, speech_bos_eos) if turn.speech else ()
    else:
        text_ids, codec = split_ids(turn.ids, rules, config, upstream=verbatim)
        text = TextIdPrompt(text_ids)
        speech = (speech_bos_eos, *codec, speech_bos_eos) if codec else ()
        if verbatim and config.text.end in turn.ids:
            speech = turn.ids[turn.ids.index(config.text.end) + 1 :]
    return [text, SpeechIdPrompt(speech)] if speech else [text]
