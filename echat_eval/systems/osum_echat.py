"""OSUM-EChat as a system: loads the model at the first request and answers in batches.

Every released checkpoint builds on Qwen2.5-3B, whose research licence forbids commercial use.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import NotApplicable, NotInstalled, SystemFailure, UnknownName, UsageError
from echat_eval.io.hashing import sha256_of
from echat_eval.plugins.packages import package_of
from echat_eval.records import Reply
from echat_eval.systems.osum_request import LICENCE, generation_request, reply_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from echat_eval.osum.decoding.sampling import Sampling
    from echat_eval.osum.engine.engine_pool import EnginePool, EngineWorker
    from echat_eval.osum.engine.types import Token2Wav
    from echat_eval.osum.model.tokenizer import TextTokenizer
    from echat_eval.osum.prompts.modes import GenerationRequest
    from echat_eval.records import Request

__all__ = ["RULES_VERSION", "OsumEChat"]

logger = logging.getLogger(__name__)

#: Change it whenever the same weights and settings would give other replies.
RULES_VERSION = "osum-2"


@dataclass(slots=True, kw_only=True)
class OsumEChat:
    """The re-implemented OSUM-EChat.

    Attributes:
        checkpoint: a released `.pt`, a converted `.safetensors`, an index of shards, or a folder with one.
        ignore: comma-separated patterns of unknown tensors of the checkpoint to leave out, such as "ctc.*".
        tokenizer: a folder or a hub name; empty for the checkpoint's folder if it has one, else the hub.
        mode: a name of `osum.prompts.modes.MODES` that takes audio.
        task: the question of mode `understand`.
        profile: "fixed" or "upstream".
        device: "auto", "cpu", "cuda", "cuda:1" ..., or several, "cuda:0,cuda:1": one engine on each.
        dtype: "auto" (bf16 on a GPU, fp32 on a CPU), "fp32", "bf16" or "fp16".
        voice_dtype: of the voice's flow estimator, which does most of its work: "auto" (fp16 on a GPU, fp32
            on a CPU), "fp32", "fp16" or "bf16". All else of the voice is fp32; on a GPU in TF32 unless
            `voice_dtype` or `dtype` is "fp32".
        batch_size: requests per batch; more than `slots`, so that slots are refilled. 0: four times `slots`;
            with `slots` "auto", 256 where a GPU is used and 32 on a CPU.
        slots: requests decoded together on each device; halved when its memory is full. "auto": on a GPU as
            many as fit its free memory, at most 64; 8 on a CPU.
        steps: "auto", "plain", "recorded" or "compiled", see `osum.decoding.cuda_graphs`; plain on a CPU.
        overlap: true, false or "auto": synthesise finished replies while others are decoded; "auto" on a GPU.
        stream: true or false: speak a reply while it is decoded, in windows of tokens. The sound differs a
            little from that of the whole reply, and `first_audio_seconds` is known. Profile "fixed" only.
        greedy: always choose the most likely id instead of sampling.
        max_new: limit on the ids of a reply; 0 for the limit of the profile.
        seed: combined with the request's audio into the seed of the request.
        token2wav: folder with flow.pt and hift.pt (and token2wav.json if their sizes differ from the
            release); empty for text replies.
        voice: the voice file for token2wav.
        speech_tokens: request id -> codec ids of its reply, stored with or without a voice.
    """

    checkpoint: str
    name: str = "osum-echat"
    tokenizer: str = ""
    mode: str = "s2s"
    task: str = "asr"
    profile: str = "fixed"
    device: str = "auto"
    dtype: str = "auto"
    voice_dtype: str = "auto"
    batch_size: int = 0
    slots: int | str = "auto"
    steps: str = "auto"
    overlap: bool | str = "auto"
    stream: bool = False
    greedy: bool = False
    max_new: int = 0
    seed: int = 0
    token2wav: str = ""
    voice: str = ""
    ignore: str = ""
    speech_tokens: dict[str, tuple[int, ...]] = field(default_factory=dict, init=False, repr=False)
    calls_at_once: int = field(default=1, init=False)
    _pool: EnginePool | None = field(default=None, init=False, repr=False)
    _fingerprint: str | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.profile not in ("fixed", "upstream"):
            raise UnknownName("profile", self.profile, ("fixed", "upstream"))
        if self.mode in ("tts", "t2t"):
            raise UsageError(f"mode '{self.mode}' takes text, but requests are audio: use s2s, s2t, ...")
        if bool(self.token2wav) != bool(self.voice):
            raise UsageError("a voice needs both: token2wav=FOLDER and voice=FILE")
        if self.slots != "auto" and (not isinstance(self.slots, int) or self.slots < 1):
            raise UsageError(f"slots is {self.slots}; expected auto, or 1 or more")
        if self.batch_size < 0:
            raise UsageError(f"batch_size is {self.batch_size}; expected 0 (choose) or more")
        if self.batch_size == 0:
            self.batch_size = self._batch_size()
        if self.voice_dtype not in ("auto", "fp32", "fp16", "bf16"):
            raise UnknownName("voice_dtype", self.voice_dtype, ("auto", "fp32", "fp16", "bf16"))
        if self.steps not in ("auto", "plain", "recorded", "compiled"):
            raise UnknownName("steps", self.steps, ("auto", "plain", "recorded", "compiled"))
        if self.overlap not in ("auto", True, False):
            raise UsageError(f"overlap is '{self.overlap}'; expected auto, true or false")
        if self.stream and (not self.token2wav or self.profile != "fixed"):
            raise UsageError("stream=true speaks: it needs token2wav=FOLDER, voice=FILE and profile=fixed")
        # Two batches in flight: while the replies of one end, the slots are filled from the next. Times to
        # the first sound hold only for single calls.
        timed = self.stream or self.mode == "s2s-stream"
        self.calls_at_once = 1 if timed or self.batch_size == 1 else 2

    def _batch_size(self) -> int:
        if isinstance(self.slots, int):
            return 4 * self.slots
        # Whether torch can use the GPU is known only after importing it; a batch of another size is no error.
        gpu = "cuda" in self.device or (self.device == "auto" and Path("/dev/nvidiactl").exists())
        return 256 if gpu else 32

    def load(self, on_progress: Callable[[int, int], None] | None = None) -> None:
        """Load the weights, if they are not loaded yet; the first request calls this.

        Args:
            on_progress: called with the bytes read so far and all bytes, for each device.

        Raises:
            NotInstalled: torch, the checkpoint or the tokenizer is missing.
            BadData: the checkpoint is damaged or not OSUM-EChat.
        """
        if self._pool is not None:
            return
        try:
            import torch

            from echat_eval.osum.checkpoint.files import find_file
            from echat_eval.osum.engine.engine_pool import EnginePool
            from echat_eval.osum.model.tokenizer import load_tokenizer
            from echat_eval.osum.prompts.modes import check_task, mode_named
        except ImportError as error:
            raise NotInstalled(
                f"osum-echat needs {package_of(error)}: pip install 'echat-eval[osum]'"
            ) from error
        speaks = mode_named(self.mode).speaks
        if self.mode == "understand":
            check_task(self.task)
        auto = "cuda" if torch.cuda.is_available() else "cpu"
        devices = [auto if name == "auto" else name for name in self.device.replace(" ", "").split(",")]
        path = find_file(Path(self.checkpoint))
        tokenizer = load_tokenizer(self.tokenizer or self._tokenizer_beside(path))
        workers = [self._worker(path, tokenizer, device, on_progress) for device in devices]
        self._pool = EnginePool(workers, stream=self.stream)
        if speaks and not self.token2wav:
            logger.warning("%s: no voice set, so replies are text; set token2wav and voice", self.name)

    def _worker(
        self,
        path: Path,
        tokenizer: TextTokenizer,
        device: str,
        on_progress: Callable[[int, int], None] | None,
    ) -> EngineWorker:
        """Return an engine on a device, with a vocoder if a voice is set."""
        import torch

        from echat_eval.osum.checkpoint.checkpoint import dtype_named, load_model
        from echat_eval.osum.engine.engine import Engine
        from echat_eval.osum.engine.engine_pool import EngineWorker
        from echat_eval.osum.engine.gpu_settings import dtype_fault, prepare_gpu
        from echat_eval.osum.engine.slot_budget import PROMPT_POSITIONS, free_slots
        from echat_eval.osum.prompts.modes import mode_named, rules_of

        check_device(device)
        gpu = device.startswith("cuda")
        dtype = self.dtype
        if dtype == "auto":
            computes = gpu and dtype_fault(dtype_named("bf16"), torch.device(device)) is None
            dtype = "bf16" if computes else "fp16" if gpu else "fp32"
        elif fault := dtype_fault(dtype_named(dtype), torch.device(device)):
            raise UsageError(f"dtype '{dtype}' on {device}: {fault}; set dtype to auto or another type")
        if gpu:
            prepare_gpu(tf32="fp32" not in (dtype, self.voice_dtype))
        profile: Any = self.profile
        steps: Any = self.steps
        model = load_model(
            path, dtype=dtype, device=device, ignore=_patterns(self.ignore), on_progress=on_progress
        )
        speaker = self._load_speaker(device) if self.token2wav else None
        rules = rules_of(mode_named(self.mode), profile, max_new_tokens=self.max_new or None)
        if rules.max_new_tokens >= (positions := model.config.decoder.positions):
            raise UsageError(
                f"max_new is {rules.max_new_tokens}; the model has {positions:,} positions for a prompt and "
                "its reply together: lower max_new"
            )
        slots = self.slots
        if not isinstance(slots, int):
            slots = free_slots(model, max_new_tokens=rules.max_new_tokens)
        engine = Engine(model, tokenizer, profile=profile, slots=slots, steps=steps)
        # Now, not beside the thread of the voice.
        engine.capture_steps(
            engine.kind(self.mode, sampling=self.sampling(), max_new_tokens=self.max_new or None),
            longest=PROMPT_POSITIONS,
        )
        overlap = gpu if self.overlap == "auto" else bool(self.overlap)
        return EngineWorker(engine=engine, speaker=speaker, overlap=overlap)

    @staticmethod
    def _tokenizer_beside(path: Path) -> Path | None:
        names = ("tokenizer.json", "vocab.json", "qwen.tiktoken")
        return path.parent if any((path.parent / name).is_file() for name in names) else None

    def _load_speaker(self, device: str) -> Token2Wav:
        from echat_eval.osum.engine.gpu_settings import voice_dtype_of
        from echat_eval.osum.voice import token2wav

        voice_dtype: Any = self.voice_dtype
        return token2wav.Token2Wav.load(
            Path(self.token2wav),
            Path(self.voice),
            device=device,
            estimator_dtype=voice_dtype_of(voice_dtype, gpu=device.startswith("cuda")),
        )

    def close(self) -> None:
        """Drop the weights."""
        if self._pool is not None:
            self._pool.close()
        self._pool = None

    def fingerprint(self) -> str:
        """Return a hash of the weights, the tokenizer, the voice and `RULES_VERSION`."""
        if self._fingerprint is None:
            from echat_eval.osum.checkpoint.files import checkpoint_sha256, find_file

            worker = self.loaded().workers[0]
            parts = [RULES_VERSION, checkpoint_sha256(find_file(Path(self.checkpoint)))]
            parts += [
                worker.engine.tokenizer.fingerprint,
                worker.speaker.fingerprint if worker.speaker else "",
            ]
            self._fingerprint = sha256_of("\n".join(parts))
        return self._fingerprint

    def settings(self) -> Mapping[str, Any]:
        """Return all settings, without local paths; the weights are part of the fingerprint."""
        from echat_eval.osum.model.features import RESAMPLER

        names = (
            "mode",
            "task",
            "profile",
            "device",
            "dtype",
            "voice_dtype",
            "batch_size",
            "slots",
            "steps",
            "overlap",
            "stream",
            "greedy",
            "max_new",
            "seed",
        )
        voice = Path(self.voice).name if self.voice else "none: text replies"
        return {name: getattr(self, name) for name in names} | {
            "checkpoint": Path(self.checkpoint).name,
            "resampler": RESAMPLER,
            "voice": voice,
            "licence": LICENCE,
        }

    def respond(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            SystemFailure: its audio cannot be used, it is too long, or the memory is full.
            NotApplicable: it has past turns without audio, the mode takes no past turns, or it is in a
                language that the model was not trained on.
        """
        (outcome,) = self._answers([request], [self.generation_request(request)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def respond_batch(self, requests: Sequence[Request]) -> list[Reply | None]:
        """Answer several requests, in fp32 each as if it were alone; None for those that cannot be.

        Decoding begins with the first whose audio is read. Calls from several threads share the slots.
        """
        usable: list[Request] = []

        def prompts() -> Iterator[GenerationRequest]:
            for request in requests:
                try:
                    prompt = self.generation_request(request)
                except (SystemFailure, NotApplicable):  # it fails alone, not with its neighbours
                    continue
                usable.append(request)
                yield prompt

        outcomes = self._answers(usable, prompts())
        answered = {
            id(request): outcome
            for request, outcome in zip(usable, outcomes, strict=True)
            if isinstance(outcome, Reply)
        }
        return [answered.get(id(request)) for request in requests]

    def _answers(
        self, requests: Sequence[Request], prompts: Iterable[GenerationRequest]
    ) -> list[Reply | Exception]:
        """Return the reply to each prompt or its failure; `requests` belong to them when all are taken."""
        pool = self.loaded()
        notes_before = len(pool.notes)
        answers = pool.answer_each(
            prompts, mode=self.mode, sampling=self.sampling(), max_new_tokens=self.max_new or None
        )
        full = len(pool.notes) - notes_before
        replies: list[Reply | Exception] = []
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(answer, Exception):
                replies.append(answer)
            else:
                self.speech_tokens[request.id] = answer.reply.speech
                first = answer.first_audio_seconds
                replies.append(
                    reply_of(answer.reply, answer.wave, first_audio_seconds=first, out_of_memory=full)
                )
        return replies

    def sampling(self, *, greedy: bool | None = None) -> Sampling | None:
        """Return what replaces the sampling of the mode; None for nothing.

        Args:
            greedy: replaces the system's setting.
        """
        if not (self.greedy if greedy is None else greedy):
            return None
        from dataclasses import replace

        from echat_eval.osum.prompts.modes import mode_named

        return replace(mode_named(self.mode).sampling, top_k=1)

    def loaded(self) -> EnginePool:
        """Return the engines, which are loaded if necessary."""
        self.load()
        assert self._pool is not None  # load() sets it
        return self._pool

    @property
    def notes(self) -> tuple[str, ...]:
        """Return events to report with the results, such as a full memory."""
        return () if self._pool is None else self._pool.notes

    def generation_request(self, request: Request, *, seed: int | None = None) -> GenerationRequest:
        """Return a request as the engine takes it, with its audio read; loads the model if necessary.

        Args:
            seed: replaces the system's.

        Raises:
            SystemFailure, NotApplicable: as `respond`, but the engine checks the length of its prompt.
        """
        return generation_request(
            request,
            config=self.loaded().workers[0].engine.model.config,
            mode=self.mode,
            task=self.task,
            seed=self.seed if seed is None else seed,
        )


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def check_device(name: str) -> None:
    """Raise UsageError unless this machine has the device."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"device '{name}'; expected auto, cpu, cuda or cuda:N, or several separated by commas"
        ) from None
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UsageError(f"device '{name}'; this machine has {count} GPUs that torch can use")
