"""Checks and stores a reply before its row is written."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, SystemFailure, Unavailable, scrub
from echat_eval.io.audio import audio_ref, check_waveform, read_noted, write_wav
from echat_eval.io.schema import is_number, is_text, is_whole, shorten
from echat_eval.labels import UNKNOWN, cues_with, labels_of_tags, split_tags
from echat_eval.osum.prompts.parse_reply import read_labels, split_think, take_leading_tag
from echat_eval.records import Reply, Waveform

if TYPE_CHECKING:
    from echat_eval.records import AudioRef, Cue
    from echat_eval.store.run_folder import RunFolder

__all__ = ["MAX_REPLY_CHARACTERS", "validate_and_store_reply", "visible_reply"]

logger = logging.getLogger(__name__)

#: A spoken reply has hundreds of characters. A longer text than this is a fault.
MAX_REPLY_CHARACTERS = 100_000
#: Control characters, except tab and line breaks.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def validate_and_store_reply(
    reply: Reply, run: RunFolder, own_cues: Mapping[str, Cue] | None = None
) -> Reply:
    """Return the reply with its words alone as text, and with its audio stored in the run folder.

    Args:
        reply: as the system returned it.
        run: stores the audio.
        own_cues: cues that the task defines.

    Raises:
        SystemFailure: it is empty, too long, or its audio is broken.
        Unavailable: its audio could not be stored.
    """
    if not isinstance(reply, Reply):
        raise SystemFailure(f"the system returned a {type(reply).__name__}; expected a Reply")
    reply = visible_reply(_cleaned(reply, own_cues), own_cues)
    if reply.audio is None:
        if not (reply.text or "").strip():
            raise SystemFailure("empty reply: neither text nor audio")
        return reply
    return replace(reply, audio=_stored(reply.audio, run))


def _cleaned(reply: Reply, own_cues: Mapping[str, Cue] | None) -> Reply:
    """Return a reply whose fields can all be written, without control characters.

    Raises:
        SystemFailure: a field has the wrong type, is too long or holds a lone surrogate.
    """
    texts = {
        "text": reply.text,
        "think": reply.think,
        "reply_emotion": reply.reply_emotion,
        "finish_reason": reply.finish_reason,
    }
    clean = {name: _clean_text(text, name) for name, text in texts.items()}
    for name, values in (("perceived", reply.perceived), ("usage", reply.usage)):
        if not isinstance(values, Mapping):
            raise SystemFailure(f"reply {name} is a {type(values).__name__}; expected a mapping")
    known = cues_with(own_cues)
    for cue, label in reply.perceived.items():
        if cue not in known or label not in (*known[cue].labels, UNKNOWN):
            whose = "task's" if own_cues else "benchmark's"
            raise SystemFailure(f"perceived {shorten(cue)} {shorten(label)} is not one of the {whose} labels")
    for unit, count in reply.usage.items():
        if not is_text(unit) or not is_number(count):
            raise SystemFailure(
                f"reply usage {shorten(unit)} is {shorten(count)}; expected a name and a finite number"
            )
    timings = {
        "first_audio_seconds": reply.first_audio_seconds,
        "first_audible_seconds": reply.first_audible_seconds,
        "round_trip_seconds": reply.round_trip_seconds,
    }
    for name, seconds in timings.items():
        if seconds is not None and not is_number(seconds, low=0):
            raise SystemFailure(f"reply {name} is {shorten(seconds)}; expected seconds from 0")
    if reply.interruptions is not None and not is_whole(reply.interruptions, low=0):
        raise SystemFailure(f"reply interruptions is {shorten(reply.interruptions)}; expected a whole number")
    usage = {scrub(unit): count for unit, count in reply.usage.items()}
    if clean == texts and usage == reply.usage:
        return reply
    return replace(
        reply,
        usage=usage,
        text=clean["text"],
        think=clean["think"],
        reply_emotion=clean["reply_emotion"],
        finish_reason=clean["finish_reason"],
    )


def _clean_text(text: object, name: str) -> str | None:
    """Return a text of a reply without control characters, which are no words, and without our secrets."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise SystemFailure(f"reply {name} is a {type(text).__name__}; expected text")
    if len(text) > MAX_REPLY_CHARACTERS:
        raise SystemFailure(
            f"reply {name} of {len(text):,} characters; the limit is {MAX_REPLY_CHARACTERS:,}"
        )
    if not text.isascii():
        _check_encodable(text, name)
    clean, count = _CONTROLS.subn("", scrub(text))
    if count:
        logger.warning("%d control characters were removed from a reply's %s", count, name)
    return clean


def visible_reply(reply: Reply, own_cues: Mapping[str, Cue] | None = None) -> Reply:
    """Return the reply with think text and recogniser's tags taken out of its text.

    Think text joins `think`. Tags such as <|HAPPY|>, and the labels of OSUM-EChat's think template, join
    `perceived`; what the system itself reports there wins. Text of tags alone, such as the answer to a
    question about a label, becomes the labels that they name.

    Raises:
        SystemFailure: the think text never ends or nothing follows it, and there is no audio.
    """
    if not reply.text:
        return reply
    think, text = split_think(reply.text)
    words, tags = split_tags(text)
    emotion, rest = take_leading_tag(words)
    if (think is None and words.isascii()) or not any(c.isalnum() for c in rest):
        emotion, rest = None, words  # no mark of OSUM-EChat but an answer such as <SAD>
    if think is None and not tags and emotion is None:
        return reply
    if think is not None and not text and reply.audio is None:
        cut = ", cut off by the token limit" if reply.finish_reason == "length" else ""
        raise SystemFailure(f"no visible reply: the whole text is think text{cut}")
    named = labels_of_tags(tags, own_cues)
    if not rest.strip():
        rest = " ".join(named.values())
        if text and not rest and reply.audio is None:
            raise SystemFailure("no visible reply: the text holds only tags")
    thoughts = [part for part in (reply.think, think) if part]
    return replace(
        reply,
        text=rest or None,
        think="\n".join(thoughts) or None,
        perceived={**read_labels(think or ""), **named, **reply.perceived},
        reply_emotion=reply.reply_emotion or emotion,
    )


def _check_encodable(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SystemFailure(f"reply {name} holds a lone surrogate and cannot be written as UTF-8") from error


def _stored(audio: AudioRef | Waveform, run: RunFolder) -> AudioRef:
    try:
        if isinstance(audio, Waveform):
            check_waveform(audio)
            return write_wav(audio, run.audio_folder)
        # Read the file: the duration and hash that a system reports are not evidence.
        stored = audio_ref(audio.path)
        mono, rate, note = read_noted(audio.path)
        if note:  # what people and annotators hear must be the same sound
            logger.warning("reply audio %s is stored as one channel: %s", audio.path, note)
            return write_wav(Waveform(samples=mono, sample_rate=rate), run.audio_folder)
        return run.adopt_audio(stored, "audio")
    except BadData as error:
        raise SystemFailure(f"broken reply audio: {error}") from error
    except OSError as error:
        # A full disk is not the system's fault: a good reply must not become a failed one.
        raise Unavailable(f"the reply's audio could not be stored: {error.strerror or error}") from error
