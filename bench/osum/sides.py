"""The two language models of the CPU and GPU benches: ours and the public one, on the same weights.

Both take the same requests (a voice, n text ids, m codec ids) and end them at the same length:
a random model never ends by itself, so the closing ids are forced and cannot come earlier.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import torch

from bench.osum.forced import Length, forced
from echat_eval.osum.checkpoint.weights import fill
from echat_eval.osum.decoding.sampling import GREEDY
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.model.config import (
    FULL,
    TINY_REAL_VOCABULARY,
    AdapterConfig,
    DecoderConfig,
    EncoderConfig,
    OsumConfig,
)
from echat_eval.osum.model.features import log_mel
from echat_eval.osum.model.tokenizer import TextTokenizer
from echat_eval.osum.prompts.modes import GenerationRequest

ROOT = Path(__file__).resolve().parents[2]
#: The CPU bench's fixed dimensions: a quarter of the layers or less, a quarter of the width, all of the ids.
BENCH = OsumConfig(
    encoder=EncoderConfig(width=384, layers=6, heads=6, ffn=1536),
    adapter=AdapterConfig(layers=2, heads=4, ffn=960),
    decoder=DecoderConfig(width=512, layers=8, heads=8, kv_heads=2, ffn=2752),
)
CONFIGS = {"bench": BENCH, "full": FULL, "tiny": TINY_REAL_VOCABULARY}


class Words(TextTokenizer):
    """A tokenizer for the one prompt of a bench and reads no reply: no vocabulary file is needed."""

    def __init__(self) -> None:
        ids = json.loads((ROOT / "tests" / "osum" / "model" / "prompt_ids.json").read_text(encoding="utf-8"))
        self.opening = [int(word) for word in ids["s2s"].split()]
        self.assistant = [151645, 198, 151644, 77091, 198]
        self.eos_token_id = 151645
        super().__init__(None, source="bench", fingerprint="bench")

    def encode(self, text: str) -> list[int]:
        return self.opening if "system" in text else self.assistant

    encode_plain = encode

    def decode(self, ids: Any) -> str:
        return ""

    # The interface that the public code expects of a tokenizer.
    def __call__(self, texts: list[str], **_: Any) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.tensor([self.encode(text) for text in texts])}

    def add_special_tokens(self, *_: Any) -> None:
        pass

    def batch_decode(self, rows: Any, **_: Any) -> list[str]:
        return ["" for _ in rows]


class PublicModel:
    """The public code's model and its `generate_s2s...` loop, one request at a time: it has no other way.

    Args:
        folder: `OSUM-EChat` of ASLP-lab/OSUM at commit f2bcfac.
        tensors: by official name.
        compiled: leave the public code's torch.compile of the decode step on.
        dtype: computed in; the public code uses bf16 on a GPU.
    """

    def __init__(
        self,
        folder: Path,
        tensors: dict[str, torch.Tensor],
        config: OsumConfig,
        *,
        compiled: bool,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        self.config, self.dtype, self.device = config, dtype, device
        module, encoder = public_module(folder, compiled=compiled)
        with torch.device(device):  # at full size, making it elsewhere and moving it takes minutes
            self.model = build_public(module, encoder, config, tensors, dtype=dtype).to(device).eval()
        llm = self.model.llama_model
        for layer in llm.model.layers:  # the table was rounded to bf16 when it was built
            rotary = layer.self_attn.rotary_emb
            rotary._set_cos_sin_cache(config.decoder.positions, torch.device(device), dtype)
        llm.speech_token_emded, llm.speech_head = self.model.speech_token_emded, self.model.speech_head
        self.model.add_embed_head = False  # what these two lines replace casts them to bf16
        self.greedy = False
        stock = type(llm).generate

        def generate(**given: Any) -> Any:
            if self.greedy:
                given |= {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
            self.ids = stock(llm, **given)
            return self.ids

        llm.generate = generate

    @torch.inference_mode()
    def answer(self, waves: list[torch.Tensor], length: Length, *, greedy: bool = False) -> list[list[int]]:
        """Return the ids of one reply a voice, one after the other."""
        self.greedy = greedy
        processors = self.model.s2s_repetition_penalty
        processors.append(public_forcing(length, self.config))
        replies = []
        for wave in waves:
            mel = log_mel(wave.to(self.device))[None].to(self.dtype)
            lengths = torch.tensor([mel.shape[1]], device=self.device)
            self.model.generate_s2s_no_stream_with_repetition_penalty(wavs=mel, wavs_len=lengths)
            replies.append(self.ids[0].tolist())
        del processors[-1]
        return replies


def public_forcing(length: Length, config: OsumConfig) -> Any:
    """Return a logits processor that ends a reply after `length` ids."""

    def force(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = input_ids.shape[1]
        wanted = length.forced(step, config)
        if wanted is None:
            scores[:, length.barred(step, config)] = -torch.inf
        else:
            scores = torch.full_like(scores, -torch.inf)
            scores[:, wanted] = 0.0
        return scores

    return force


def public_module(folder: Path, *, compiled: bool) -> tuple[Any, Any]:
    """Import the public model class; what it imports and does not use here is replaced by empty modules."""
    sys.path.insert(0, str(folder))
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401 - before the empty modules

    absent: dict[str, dict[str, Any]] = {
        "torchaudio": {},
        "peft": dict.fromkeys(("LoraConfig", "TaskType", "get_peft_model")),
        "gxl_ai_utils": {},
        "gxl_ai_utils.utils": {"utils_file": _Silent()},
        "whisper": {},
        "whisper.tokenizer": {"LANGUAGES": {}},
    }
    for name, content in absent.items():
        stand_in = types.ModuleType(name)
        stand_in.__dict__.update(content)
        sys.modules.setdefault(name, stand_in)
    from patches import modelling_qwen2_infer_gpu as patch

    patch._GPU_QWEN_TORCH_COMPILE = compiled
    from wenet.osum_echat import llmasr_model_instruct_version as module
    from wenet.transformer.encoder import TransformerEncoder

    words = Words()
    module.AutoTokenizer = types.SimpleNamespace(from_pretrained=lambda *_, **__: words)
    return module, TransformerEncoder


class _Silent:
    """Takes every call of the public code's logger."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def build_public(
    module: Any, encoder: Any, config: OsumConfig, tensors: dict[str, torch.Tensor], *, dtype: torch.dtype
) -> Any:
    """Return the public model with these weights, strictly loaded."""
    from transformers import Qwen2Config

    d, e, a = config.decoder, config.encoder, config.adapter
    qwen = Qwen2Config(
        vocab_size=d.vocab,
        hidden_size=d.width,
        intermediate_size=d.ffn,
        num_hidden_layers=d.layers,
        num_attention_heads=d.heads,
        num_key_value_heads=d.kv_heads,
        max_position_embeddings=d.positions,
        rms_norm_eps=d.norm_eps,
        rope_theta=d.rope_theta,
        tie_word_embeddings=True,
        use_sliding_window=False,
        sliding_window=None,
        output_hidden_states=True,
    )
    module.AutoConfig = types.SimpleNamespace(from_pretrained=lambda *_, **__: qwen)
    hears = encoder(
        e.mels,
        output_size=e.width,
        attention_heads=e.heads,
        linear_units=e.ffn,
        num_blocks=e.layers,
        input_layer="conv1d2",
        pos_enc_layer_type="abs_pos_whisper",
        activation_type="gelu",
        key_bias=False,
        normalize_before=True,
        static_chunk_size=-1,
        use_dynamic_chunk=False,
        gradient_checkpointing=False,
    )
    model = module.LLMASR_Model(
        hears,
        e.width,
        "",
        lora=False,
        is_inference=True,
        downsample_rate=4,
        adapter_type="osum_echat",
        speech_token_num=config.speech.tokens,
        train_speech_out=True,
    )
    model.speech_transformer = encoder(  # fixed at 4 layers with 2560 inside in the public code
        e.width,
        output_size=e.width,
        attention_heads=a.heads,
        linear_units=a.ffn,
        num_blocks=a.layers,
        input_layer="linear",
        pos_enc_layer_type="abs_pos",
        normalize_before=True,
    )
    model = model.to(dtype)
    state = model.state_dict()
    kept = {name: value for name, value in state.items() if name.endswith(".pe") or "ln_speech" in name}
    model.load_state_dict(tensors | kept, strict=True)
    return model


class OurModel:
    """The package's engine."""

    def __init__(
        self,
        tensors: dict[str, torch.Tensor],
        config: OsumConfig,
        *,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        profile: Any = "fixed",
    ) -> None:
        self.config = config
        self.engine = Engine(
            fill(tensors, config, dtype=dtype, source="bench").to(device), Words(), profile=profile
        )

    def answer(self, waves: list[torch.Tensor], length: Length, *, greedy: bool = False) -> list[list[int]]:
        """Return the ids of one reply a voice, all in one batch."""
        requests = [GenerationRequest(wave=wave, seed=seed) for seed, wave in enumerate(waves)]
        with forced(lambda seed: length):
            replies = self.engine.reply(
                requests, mode="s2s", max_new_tokens=length.ids, sampling=GREEDY if greedy else None
            )
        return [list(reply.ids) for reply in replies]
