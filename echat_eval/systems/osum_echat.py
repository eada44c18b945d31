"""OSUM-EChat as a system: opens the model when first asked, answers in batches.

Every released checkpoint builds on Qwen2.5-3B, whose research licence forbids commercial use.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import NotApplicable, NotInstalled, SystemFailure, UnknownName, UsageError
from echat_eval.records import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.osum.engine.engine import Token2Wav
    from echat_eval.osum.engine.engine_pool import EnginePool, EngineWorker, PoolReply
    from echat_eval.osum.model.tokenizer import TextTokenizer
    from echat_eval.osum.prompts.modes import GenerationRequest
    from echat_eval.records import Request

__all__ = ["RULES_VERSION", "OsumEChat"]

logger = logging.getLogger(__name__)

#: Changes whenever the same weights and settings would answer otherwise.
RULES_VERSION = "osum-1"


@dataclass(slots=True, kw_only=True)
class OsumEChat:
    """The re-implemented OSUM-EChat.

    Attributes:
        checkpoint: a released `.pt`, a converted `.safetensors`, or a folder with one of them.
        tokenizer: a folder or a hub name; empty for the checkpoint's folder if one is there, else the hub.
        mode: a name of `osum.modes.MODES` that hears.
        task: the question of mode `understand`.
        profile: "fixed" or "upstream".
        device: "auto", "cpu", "cuda", "cuda:1" ..., or several, "cuda:0,cuda:1": an engine on each.
        dtype: "auto" (bf16 on a GPU, fp32 on a CPU), "fp32", "bf16" or "fp16".
        batch_size: requests handed over at once; more than `slots`, so that slots are refilled.
        slots: requests decoded together on each device; halved when its memory is full.
        steps: "auto", "plain", "recorded" or "compiled", see `osum.record`; a CPU's are always plain.
        overlap: true, false or "auto": speak finished replies while others are decoded; "auto" on a GPU.
        greedy: always the likeliest id, in place of the mode's sampling.
        max_new: most ids of a reply; 0 for the profile's own cap.
        seed: with the request's audio it makes the request's own seed.
        token2wav: folder with flow.pt and hift.pt (and token2wav.json if they are of another size than the
            release); empty for text replies.
        voice: the voice file for it.
        speech_tokens: request id -> codec ids of its reply, kept whether or not there is a voice.
    """

    checkpoint: str
    name: str = "osum-echat"
    tokenizer: str = ""
    mode: str = "s2s"
    task: str = "asr"
    profile: str = "fixed"
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int = 32
    slots: int = 8
    steps: str = "auto"
    overlap: bool | str = "auto"
    greedy: bool = False
    max_new: int = 0
    seed: int = 0
    token2wav: str = ""
    voice: str = ""
    speech_tokens: dict[str, tuple[int, ...]] = field(default_factory=dict, init=False, repr=False)
    calls_at_once: int = field(default=1, init=False)
    _team: EnginePool | None = field(default=None, init=False, repr=False)
    _fingerprint: str | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.profile not in ("fixed", "upstream"):
            raise UnknownName("profile", self.profile, ("fixed", "upstream"))
        if self.mode in ("tts", "t2t"):
            raise UsageError(f"mode '{self.mode}' reads text; a benchmark asks by voice: use s2s, s2t, ...")
        if bool(self.token2wav) != bool(self.voice):
            raise UsageError("a voice needs both: token2wav=FOLDER and voice=FILE")
        for name in ("batch_size", "slots"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.steps not in ("auto", "plain", "recorded", "compiled"):
            raise UnknownName("steps", self.steps, ("auto", "plain", "recorded", "compiled"))
        if self.overlap not in ("auto", True, False):
            raise UsageError(f"overlap is '{self.overlap}'; expected auto, true or false")

    def load(self) -> None:
        """Read the weights; the first request does it otherwise.

        Raises:
            NotInstalled: no torch, no such file, no tokenizer.
            BadData: the checkpoint is not OSUM-EChat, or damaged.
        """
        if self._team is not None:
            return
        try:
            import torch

            from echat_eval.osum.checkpoint.checkpoint import find_file
            from echat_eval.osum.engine.engine_pool import EnginePool
            from echat_eval.osum.model.tokenizer import load_tokenizer
            from echat_eval.osum.prompts.modes import mode_named
        except ImportError as error:
            raise NotInstalled(f"osum-echat needs {error.name}: pip install 'echat-eval[osum]'") from error
        speaks = mode_named(self.mode).speaks
        auto = "cuda" if torch.cuda.is_available() else "cpu"
        devices = [auto if name == "auto" else name for name in self.device.replace(" ", "").split(",")]
        path = find_file(Path(self.checkpoint))
        tokenizer = load_tokenizer(self.tokenizer or self._tokenizer_beside(path))
        self._team = EnginePool([self._worker(path, tokenizer, device) for device in devices])
        if speaks and not self.token2wav:
            logger.warning("%s: no voice set, so replies are text; set token2wav and voice", self.name)

    def _worker(self, path: Path, tokenizer: TextTokenizer, device: str) -> EngineWorker:
        """Return an engine on a device, with its voice if one is set."""
        from echat_eval.osum.checkpoint.checkpoint import load_model
        from echat_eval.osum.engine.engine import Engine
        from echat_eval.osum.engine.engine_pool import EngineWorker

        check_device(device)
        gpu = device.startswith("cuda")
        dtype = ("bf16" if gpu else "fp32") if self.dtype == "auto" else self.dtype
        profile: Any = self.profile
        steps: Any = self.steps
        engine = Engine(
            load_model(path, dtype=dtype, device=device),
            tokenizer,
            profile=profile,
            slots=self.slots,
            steps=steps,
        )
        speaker = self._load_speaker(device) if self.token2wav else None
        overlap = gpu if self.overlap == "auto" else bool(self.overlap)
        return EngineWorker(engine=engine, speaker=speaker, overlap=overlap)

    @staticmethod
    def _tokenizer_beside(path: Path) -> Path | None:
        names = ("tokenizer.json", "vocab.json", "qwen.tiktoken")
        return path.parent if any((path.parent / name).is_file() for name in names) else None

    def _load_speaker(self, device: str) -> Token2Wav:
        # Another floor mate's module, named late: a text-only system must not need it.
        from importlib import import_module

        made: Token2Wav = import_module("echat_eval.osum.voice.token2wav").Token2Wav.load(
            Path(self.token2wav), Path(self.voice), device=device
        )
        return made

    def close(self) -> None:
        """Let go of the weights."""
        self._team = None

    def fingerprint(self) -> str:
        """Hash of the weights, the tokenizer, the voice and the version of the rules."""
        if self._fingerprint is None:
            from echat_eval.osum.checkpoint.checkpoint import file_sha256, find_file

            worker = self._loaded().workers[0]
            parts = [RULES_VERSION, file_sha256(find_file(Path(self.checkpoint)))]
            parts += [worker.engine.tokenizer.fingerprint, str(getattr(worker.speaker, "fingerprint", ""))]
            self._fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return self._fingerprint

    def settings(self) -> Mapping[str, Any]:
        """Everything that was set, without the machine's paths: the weights are in the fingerprint."""
        from echat_eval.osum.model.features import RESAMPLER

        names = (
            "mode",
            "task",
            "profile",
            "device",
            "dtype",
            "batch_size",
            "slots",
            "steps",
            "overlap",
            "greedy",
            "max_new",
            "seed",
        )
        voice = Path(self.voice).name if self.voice else "none: text replies"
        return {name: getattr(self, name) for name in names} | {
            "checkpoint": Path(self.checkpoint).name,
            "resampler": RESAMPLER,
            "voice": voice,
            "licence": "Qwen2.5-3B research licence: no commercial use",
        }

    def respond(self, request: Request) -> Reply:
        """Answer one request; see `respond_batch`."""
        return self.respond_batch([request])[0]

    def respond_batch(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer several requests, each as if it had been alone.

        Raises:
            SystemFailure: one's audio cannot be heard, or the memory holds not even one request; the caller
                asks one by one to learn whose.
            NotApplicable: a request has past turns without audio, or the mode has no place for them.
        """
        team = self._loaded()
        asks = [self._ask(request) for request in requests]
        sampling = None
        if self.greedy:
            from dataclasses import replace

            from echat_eval.osum.prompts.modes import mode_named

            sampling = replace(mode_named(self.mode).sampling, top_k=1)
        before = len(team.notes)
        made = team.answer(asks, mode=self.mode, sampling=sampling, cap=self.max_new or None)
        self.speech_tokens |= {q.id: answer.reply.speech for q, answer in zip(requests, made, strict=True)}
        return [self._reply(answer, out_of_memory=len(team.notes) - before) for answer in made]

    def _loaded(self) -> EnginePool:
        self.load()
        assert self._team is not None  # load() made it
        return self._team

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what happened that a reader of the results should know, such as a memory that was full."""
        return () if self._team is None else self._team.notes

    def _reply(self, answer: PoolReply, *, out_of_memory: int) -> Reply:
        made = answer.reply
        usage = {
            "prompt_tokens": made.prompt_positions,
            "completion_tokens": made.new_ids,
            "speech_tokens": len(made.speech),
        }
        if out_of_memory:
            # How often the batch this reply came in had to be made smaller.
            usage["out_of_memory"] = out_of_memory
        return Reply(
            text=made.text,
            audio=answer.wave,
            think=made.think,
            perceived=made.perceived,
            reply_emotion=made.reply_emotion,
            first_audio_seconds=answer.first_audio_seconds,
            finish_reason=made.finish_reason,
            usage=usage,
        )

    def _ask(self, request: Request) -> GenerationRequest:
        from echat_eval.osum.model.features import read_wave
        from echat_eval.osum.prompts.modes import GenerationRequest, PastTurn

        config = self._loaded().workers[0].engine.model.config
        if request.instruction is not None and self.mode != "understand":
            raise NotApplicable(f"mode '{self.mode}' converses; set mode=understand and task=...")
        past: list[PastTurn] = []
        for user, assistant in zip(request.history[::2], request.history[1::2], strict=False):
            if (
                user.audio is None
                or assistant.text is None
                or (user.role, assistant.role) != ("user", "assistant")
            ):
                raise NotApplicable("osum-echat needs past turns as user audio, then assistant text")
            past.append(PastTurn(wave=read_wave(user.audio.path), text=assistant.text))
        if past and self.mode != "s2s":
            raise NotApplicable(f"mode '{self.mode}' has no place for past turns; mode 's2s' has")
        limit = config.max_audio_seconds
        if request.audio.seconds > limit:
            # Said before the file is read: ten hours would fill the memory first.
            raise SystemFailure(
                f"request audio lasts {request.audio.seconds:.1f} s; "
                f"OSUM-EChat hears at most {limit:.0f} s: cut it"
            )
        digest = hashlib.sha256(f"{self.seed}:{request.audio.sha256}".encode()).digest()
        return GenerationRequest(
            wave=read_wave(request.audio.path),
            task=self.task,
            history=tuple(past),
            seed=int.from_bytes(digest[:8], "big"),
        )


def check_device(name: str) -> None:
    """Raise UsageError unless this machine has a device of that name."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"device '{name}'; expected auto, cpu, cuda or cuda:N, several with commas"
        ) from None
    there = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= there:
        raise UsageError(f"device '{name}'; this machine has {there} GPUs that torch can use")
