"""Qwen2.5-Omni in this process, by transformers' own classes: sound in, words and a voice out.

The conversation is put together here rather than by a chat template, so that a checkpoint without one
works and nothing depends on extra packages; the form is that of the published template (ChatML with an
audio place per sound). Weights are read from this machine only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echat_eval.errors import NotApplicable, NotInstalled, SystemFailure, UsageError
from echat_eval.io.audio import read_mono
from echat_eval.io.hashing import digest
from echat_eval.records import AudioRef, Reply, Request, Turn, Waveform

__all__ = ["SYSTEM_PROMPT", "QwenOmni"]

#: Without this very prompt the model's voice does not work as intended (its model card).
SYSTEM_PROMPT = (
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, "
    "capable of perceiving auditory and visual inputs, as well as generating text and speech."
)
#: Hz of sound in and out.
RATE_IN, RATE_OUT = 16_000, 24_000
_PLACE = "<|AUDIO|>"


class QwenOmni:
    """Asks one checkpoint.

    Args:
        model: folder of the checkpoint, or a name that lies in the local hub cache.
        audio_out: whether the talker speaks; off, the thinker alone is loaded.
        speaker: name of a voice.
        system_prompt: what the model is told first.
        max_new_tokens: of the words.
        device, dtype: as torch names them.
        name: as in tables.
    """

    calls_at_once = 1

    def __init__(
        self,
        model: str,
        audio_out: bool = True,
        speaker: str = "Chelsie",
        system_prompt: str = SYSTEM_PROMPT,
        max_new_tokens: int = 256,
        device: str = "cpu",
        dtype: str = "float32",
        name: str | None = None,
    ) -> None:
        self.model, self.audio_out, self.speaker = model, bool(audio_out), speaker
        self.system_prompt, self.max_new_tokens = system_prompt, int(max_new_tokens)
        self.device, self.dtype = device, dtype
        self.name = name or Path(model).name.lower()
        self._model: Any = None
        self._tokenizer: Any = None
        self._ear: Any = None

    def settings(self) -> Mapping[str, Any]:
        """Return everything that decides the answer; the device and the folder do not, the type does."""
        return {
            "audio_out": self.audio_out,
            "speaker": self.speaker if self.audio_out else None,
            "system_prompt": self.system_prompt,
            "max_new_tokens": self.max_new_tokens,
            "dtype": self.dtype,
        }

    def fingerprint(self) -> str | None:
        """Return the hash of every file of the checkpoint; None if it is not a folder on this machine."""
        folder = Path(self.model)
        if not folder.is_dir():
            return None
        whole = hashlib.sha256()
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
            whole.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        return digest("qwen-omni", ["1", whole.hexdigest()])

    def load(self) -> None:
        """Read the weights.

        Raises:
            NotInstalled: torch or transformers is missing, or the checkpoint is not on this machine.
            UsageError: the checkpoint is another model's.
        """
        if self._model is not None:
            return
        try:
            import torch
            import transformers
        except ImportError as error:
            raise NotInstalled(
                "qwen-omni needs torch and transformers; pip install 'echat-eval[osum]'"
            ) from error
        kind = "ForConditionalGeneration" if self.audio_out else "ThinkerForConditionalGeneration"
        try:
            made = getattr(transformers, f"Qwen2_5Omni{kind}").from_pretrained(
                self.model, dtype=getattr(torch, self.dtype), local_files_only=True
            )
            here = {"local_files_only": True}
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(self.model, **here)
            self._ear = transformers.WhisperFeatureExtractor.from_pretrained(self.model, **here)
        except OSError as error:
            raise NotInstalled(
                f"no checkpoint of Qwen2.5-Omni at '{self.model}': {' '.join(str(error).split())[:200]}; "
                "fetch it, and give its folder as model"
            ) from error
        except (ValueError, RuntimeError, AttributeError) as error:
            raise UsageError(
                f"'{self.model}' is no Qwen2.5-Omni: {' '.join(str(error).split())[:200]}"
            ) from error
        self._model = made.to(self.device).eval()

    def close(self) -> None:
        """Let the weights go."""
        self._model = self._tokenizer = self._ear = None

    def respond(self, request: Request) -> Reply:
        """Answer one request, greedily: the same question has the same words."""
        self.load()
        import torch

        inputs = self._inputs(*self._conversation(request))
        with torch.inference_mode():
            if self.audio_out:
                given = self._model.generate(
                    **inputs,
                    thinker_max_new_tokens=self.max_new_tokens,
                    thinker_do_sample=False,
                    talker_do_sample=False,
                    speaker=self.speaker,
                    return_audio=True,
                )
                tokens, sound = given if isinstance(given, tuple) else (given, None)
            else:
                tokens, sound = (
                    self._model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False),
                    None,
                )
        asked = inputs["input_ids"].shape[1]
        new = tokens[0, asked:]
        text = self._tokenizer.decode(new, skip_special_tokens=True).strip()
        return Reply(
            text=text or None,
            audio=_voice(sound),
            finish_reason="length" if len(new) >= self.max_new_tokens else "stop",
            usage={"prompt_tokens": float(asked), "completion_tokens": float(len(new))},
        )

    def _inputs(self, prompt: str, sounds: list[Any]) -> dict[str, Any]:
        """Return what `generate` takes: every place for a sound repeated once per frame of it."""
        import torch

        inputs: dict[str, Any] = {}
        if sounds:
            heard = self._ear(
                sounds,
                sampling_rate=RATE_IN,
                padding="max_length",
                return_attention_mask=True,
                return_tensors="pt",
            )
            inputs["input_features"] = heard["input_features"].to(getattr(torch, self.dtype))
            inputs["feature_attention_mask"] = heard["attention_mask"]
            frames = iter(_frames(int(length)) for length in heard["attention_mask"].sum(-1))
            prompt = re.sub(re.escape(_PLACE), lambda _: _PLACE * next(frames), prompt)
        asked = self._tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        inputs |= {"input_ids": asked["input_ids"], "attention_mask": asked["attention_mask"]}
        return {name: value.to(self.device) for name, value in inputs.items()}

    def _conversation(self, request: Request) -> tuple[str, list[Any]]:
        """Return the prompt, and the sounds in the order of their places."""
        sounds: list[Any] = []

        def told(audio: AudioRef | None, text: str | None) -> str:
            if audio is not None:
                sounds.append(read_mono(audio.path, rate=RATE_IN)[0])
            return (f"<|audio_bos|>{_PLACE}<|audio_eos|>" if audio is not None else "") + (text or "")

        parts = [_turn("system", self.system_prompt)]
        for turn in request.history:
            parts.append(_turn(turn.role, told(*_content(turn))))
        parts.append(_turn("user", told(request.audio, request.instruction)))
        return "".join(parts) + "<|im_start|>assistant\n", sounds


def _content(turn: Turn) -> tuple[AudioRef | None, str | None]:
    """Return what of an earlier turn is told: of a user the sound if there is one, of the model its words."""
    if turn.role == "user" and turn.audio is not None:
        return turn.audio, None
    if turn.text is None:
        raise NotApplicable(
            "an earlier assistant turn has no words, and the model is told its own turns in words"
        )
    return None, turn.text


def _frames(length: int) -> int:
    """Return the places that a sound of so many 10 ms steps takes: it is halved twice."""
    return ((length - 1) // 2 + 1 - 2) // 2 + 1


def _turn(role: str, content: str) -> str:
    return f"<|im_start|>{role}\n{content}<|im_end|>\n"


def _voice(sound: Any) -> Waveform | None:
    if sound is None:
        return None
    samples = sound.reshape(-1).float().cpu().numpy()
    if samples.size == 0:
        raise SystemFailure("the talker made no sound")
    return Waveform(samples=samples, sample_rate=RATE_OUT)
