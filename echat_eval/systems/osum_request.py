"""Requests and replies of OSUM-EChat's engine: shared by the system `osum-echat` and the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.errors import NotApplicable
from echat_eval.io.hashing import sha256_of
from echat_eval.languages import supports
from echat_eval.records import Reply

if TYPE_CHECKING:
    from echat_eval.osum.engine.types import OsumReply
    from echat_eval.osum.model.config import OsumConfig
    from echat_eval.osum.prompts.modes import GenerationRequest
    from echat_eval.records import Request, Waveform

__all__ = ["LANGUAGES", "LICENCE", "generation_request", "instruction_fault", "reply_of"]

#: Languages of the model; "und" where it is not stated.
LANGUAGES = ("en", "zh", "und")
LICENCE = "Qwen2.5-3B research licence: no commercial use"


def instruction_fault(mode: str) -> str | None:
    """Return why a mode takes no instruction, or None if it takes one."""
    if mode == "understand":
        return None
    return f"mode '{mode}' takes no instruction; set mode=understand and task=..."


def generation_request(
    request: Request, *, config: OsumConfig, mode: str, task: str, seed: int
) -> GenerationRequest:
    """Return the engine's form of a request, with its audio read.

    Args:
        config: of the model.
        mode: a name of `osum.prompts.modes.MODES`.
        task: the question of mode `understand`.
        seed: combined with the request's audio into the seed of its sampling.

    Raises:
        SystemFailure: the audio is too long or cannot be decoded.
        NotApplicable: the mode does not take such a request, or the model does not speak its language.
    """
    from echat_eval.osum.model.features import check_seconds, read_wave
    from echat_eval.osum.prompts.modes import GenerationRequest, PastTurn, history_fault, mode_named

    if not supports(LANGUAGES, request.language):
        raise NotApplicable(f"OSUM-EChat speaks English and Chinese, not '{request.language}'")
    if request.instruction is not None and (fault := instruction_fault(mode)):
        raise NotApplicable(fault)
    past: list[PastTurn] = []
    if len(request.history) % 2:
        raise NotApplicable("osum-echat needs past turns in pairs: user audio, then assistant text")
    for user, assistant in zip(request.history[::2], request.history[1::2], strict=True):
        if (
            user.audio is None
            or assistant.text is None
            or (user.role, assistant.role) != ("user", "assistant")
        ):
            raise NotApplicable("osum-echat needs past turns as user audio, then assistant text")
        check_seconds(user.audio.seconds, max_seconds=config.max_audio_seconds, name="audio of a past turn")
        past.append(PastTurn(wave=read_wave(user.audio.path), text=assistant.text))
    if past and (fault := history_fault(mode_named(mode))):
        raise NotApplicable(fault)
    # Check before reading the file: ten hours of audio would fill the memory.
    check_seconds(request.audio.seconds, max_seconds=config.max_audio_seconds, name="request audio")
    hashed = sha256_of(f"{seed}:{request.audio.sha256}")
    return GenerationRequest(
        wave=read_wave(request.audio.path), task=task, history=tuple(past), seed=int(hashed[:16], 16)
    )


def reply_of(
    reply: OsumReply,
    wave: Waveform | None,
    *,
    first_audio_seconds: float | None = None,
    out_of_memory: int = 0,
) -> Reply:
    """Return the reply of the engine, with its sound.

    Args:
        out_of_memory: how often the batch of this reply had to shrink.
    """
    usage = {
        "prompt_tokens": reply.prompt_positions,
        "completion_tokens": reply.new_ids,
        "speech_tokens": len(reply.speech),
    }
    if out_of_memory:
        usage["out_of_memory"] = out_of_memory
    return Reply(
        text=reply.text,
        audio=wave,
        think=reply.think,
        perceived=reply.perceived,
        reply_emotion=reply.reply_emotion,
        first_audio_seconds=first_audio_seconds,
        finish_reason=reply.finish_reason,
        usage=usage,
    )
