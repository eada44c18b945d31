"""Qwen2.5-Omni in this process, with the classes of transformers: audio in, text and audio out.

The prompt is built here and not by a chat template, so that a checkpoint without a template works and no
extra packages are needed. Its form is that of the published template: ChatML with one placeholder per audio.
Weights are read from this machine only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echat_eval.errors import NotApplicable, NotInstalled, SystemFailure, UsageError
from echat_eval.io.audio import read_mono
from echat_eval.io.hashing import digest, file_sha256, sha256_of
from echat_eval.records import AudioRef, Reply, Request, Turn, Waveform

__all__ = ["SYSTEM_PROMPT", "QwenOmni"]

#: The model card requires this exact prompt for audio output.
SYSTEM_PROMPT = (
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, "
    "capable of perceiving auditory and visual inputs, as well as generating text and speech."
)
#: Sample rates in Hz of input and output.
RATE_IN, RATE_OUT = 16_000, 24_000
_PLACEHOLDER = "<|AUDIO|>"


class QwenOmni:
    """A system that runs one checkpoint.

    Args:
        model: folder of the checkpoint, or a name in the local hub cache.
        audio_out: generate speech with the talker; if False, only the thinker is loaded.
        speaker: name of a voice.
        system_prompt: the first message.
        max_new_tokens: limit of the text.
        device, dtype: torch names.
        name: the system's name in tables; by default the last part of `model`, in lower case.
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
        self._feature_extractor: Any = None

    def settings(self) -> Mapping[str, Any]:
        """Return all settings that determine the reply; device and folder are not among them."""
        return {
            "audio_out": self.audio_out,
            "speaker": self.speaker if self.audio_out else None,
            "system_prompt": self.system_prompt,
            "max_new_tokens": self.max_new_tokens,
            "dtype": self.dtype,
        }

    def fingerprint(self) -> str | None:
        """Return the hash of all files of the checkpoint; None if it is not a folder on this machine."""
        folder = Path(self.model)
        if not folder.is_dir():
            return None
        files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
        content = (
            block
            for path in files
            for block in (path.relative_to(folder).as_posix().encode(), bytes.fromhex(file_sha256(path)))
        )
        return digest("qwen-omni", ["1", sha256_of(content)])

    def load(self) -> None:
        """Read the weights.

        Raises:
            NotInstalled: torch or transformers is not installed, or the checkpoint is not on this machine.
            UsageError: the checkpoint belongs to another model.
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
            model = getattr(transformers, f"Qwen2_5Omni{kind}").from_pretrained(
                self.model, dtype=getattr(torch, self.dtype), local_files_only=True
            )
            local = {"local_files_only": True}
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(self.model, **local)
            self._feature_extractor = transformers.WhisperFeatureExtractor.from_pretrained(
                self.model, **local
            )
        except OSError as error:
            raise NotInstalled(
                f"no checkpoint of Qwen2.5-Omni at '{self.model}': {' '.join(str(error).split())[:200]}; "
                "download it and set model to its folder"
            ) from error
        except (ValueError, RuntimeError, AttributeError) as error:
            raise UsageError(
                f"'{self.model}' is not a Qwen2.5-Omni checkpoint: {' '.join(str(error).split())[:200]}"
            ) from error
        self._model = model.to(self.device).eval()

    def close(self) -> None:
        """Free the weights."""
        self._model = self._tokenizer = self._feature_extractor = None

    def respond(self, request: Request) -> Reply:
        """Return the reply to one request; decoding is greedy, so that the text is reproducible."""
        self.load()
        import torch

        inputs = self._inputs(*self._conversation(request))
        with torch.inference_mode():
            if self.audio_out:
                output = self._model.generate(
                    **inputs,
                    thinker_max_new_tokens=self.max_new_tokens,
                    thinker_do_sample=False,
                    talker_do_sample=False,
                    speaker=self.speaker,
                    return_audio=True,
                )
                tokens, speech = output if isinstance(output, tuple) else (output, None)
            else:
                tokens, speech = (
                    self._model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False),
                    None,
                )
        prompt_length = inputs["input_ids"].shape[1]
        new = tokens[0, prompt_length:]
        text = self._tokenizer.decode(new, skip_special_tokens=True).strip()
        return Reply(
            text=text or None,
            audio=_waveform(speech),
            finish_reason="length" if len(new) >= self.max_new_tokens else "stop",
            usage={"prompt_tokens": float(prompt_length), "completion_tokens": float(len(new))},
        )

    def _inputs(self, prompt: str, waves: list[Any]) -> dict[str, Any]:
        """Return the arguments of `generate`; each audio placeholder is repeated once per frame."""
        import torch

        inputs: dict[str, Any] = {}
        if waves:
            features = self._feature_extractor(
                waves,
                sampling_rate=RATE_IN,
                padding="max_length",
                return_attention_mask=True,
                return_tensors="pt",
            )
            inputs["input_features"] = features["input_features"].to(getattr(torch, self.dtype))
            inputs["feature_attention_mask"] = features["attention_mask"]
            frames = iter(_frames(int(length)) for length in features["attention_mask"].sum(-1))
            prompt = re.sub(re.escape(_PLACEHOLDER), lambda _: _PLACEHOLDER * next(frames), prompt)
        tokens = self._tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        inputs |= {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}
        return {name: value.to(self.device) for name, value in inputs.items()}

    def _conversation(self, request: Request) -> tuple[str, list[Any]]:
        """Return the prompt, and the waveforms in the order of their placeholders."""
        waves: list[Any] = []

        def content(audio: AudioRef | None, text: str | None) -> str:
            if audio is not None:
                waves.append(read_mono(audio.path, rate=RATE_IN)[0])
            return (f"<|audio_bos|>{_PLACEHOLDER}<|audio_eos|>" if audio is not None else "") + (text or "")

        parts = [_turn("system", self.system_prompt)]
        for turn in request.history:
            parts.append(_turn(turn.role, content(*_audio_or_text(turn))))
        parts.append(_turn("user", content(request.audio, request.instruction)))
        return "".join(parts) + "<|im_start|>assistant\n", waves


def _audio_or_text(turn: Turn) -> tuple[AudioRef | None, str | None]:
    """Return the content of an earlier turn: the audio of a user's turn if it has any, else the text."""
    if turn.role == "user" and turn.audio is not None:
        return turn.audio, None
    if turn.text is None:
        raise NotApplicable(
            "an earlier assistant turn has no text, and the model takes assistant turns as text only"
        )
    return None, turn.text


def _frames(length: int) -> int:
    """Return the number of placeholders of an audio of `length` 10 ms steps, which are halved twice."""
    return ((length - 1) // 2 + 1 - 2) // 2 + 1


def _turn(role: str, content: str) -> str:
    return f"<|im_start|>{role}\n{content}<|im_end|>\n"


def _waveform(speech: Any) -> Waveform | None:
    if speech is None:
        return None
    samples = speech.reshape(-1).float().cpu().numpy()
    if samples.size == 0:
        raise SystemFailure("the talker generated no audio")
    return Waveform(samples=samples, sample_rate=RATE_OUT)
