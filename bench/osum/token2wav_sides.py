"""The two token2wav programs of the CPU bench: ours and the public modules, on the same random weights.

The public modules are those of the folder `OSUM-EChat/tts` of ASLP-lab/OSUM at commit f2bcfac; they import
einops, conformer, diffusers 0.27 and omegaconf, which must be importable.

Half width: flow encoder 6 x 256 with 4 heads, estimator of 128 channels with 4 heads and 12 middle stages,
HiFT 256; float32, nothing compiled.
"""

from __future__ import annotations

import logging
import sys
import time
import types
from pathlib import Path
from typing import Any

import torch

from echat_eval.osum.voice.config import FULL_VOICE, FlowConfig, HiftConfig, VoiceConfig
from echat_eval.osum.voice.tiny import random_flow_state, random_hift_state
from echat_eval.osum.voice.token2wav import Token2Wav
from echat_eval.osum.voice.weights import build_flow, build_hift

HALF = VoiceConfig(
    flow=FlowConfig(
        width=256,
        layers=6,
        heads=4,
        feed_forward=1024,
        channels=128,
        blocks=4,
        mid_stages=12,
        estimator_heads=4,
        head_size=64,
    ),
    hift=HiftConfig(channels=256, pitch_channels=256),
)
SIZES = {"half": HALF, "full": FULL_VOICE}


class Ours:
    """The package."""

    def __init__(self, config: VoiceConfig, voice: Any, public: str) -> None:
        flow = build_flow(random_flow_state(config.flow), config.flow, source="bench")
        hift = build_hift(random_hift_state(config.hift), config.hift, source="bench")
        self.model = Token2Wav(flow, hift, voice)

    def speak(self, rows: list[torch.Tensor], seeds: list[int]) -> tuple[float, float, torch.Tensor]:
        """Return CPU seconds in the flow (with the noise), seconds in the vocoder, and the last wave."""
        begin = time.process_time()
        noise = [self.model.noise(len(row), seed) for row, seed in zip(rows, seeds, strict=True)]
        mels = self.model.mels(rows, noise)
        middle = time.process_time()
        waves = self.model.vocode(mels, noise)
        return middle - begin, time.process_time() - middle, waves[-1]


class Public:
    """The public modules, called one reply at a time, as its own program calls them."""

    def __init__(self, config: VoiceConfig, voice: Any, public: str) -> None:
        self.flow, self.hift = public_modules(Path(public), config)
        self.flow.load_state_dict(random_flow_state(config.flow), strict=True)
        self.hift.load_state_dict(random_hift_state(config.hift), strict=True)
        self.tokens, self.mel, self.embedding = (
            torch.from_numpy(value)[None] for value in (voice.tokens, voice.mel, voice.embedding)
        )

    def speak(self, rows: list[torch.Tensor], seeds: list[int]) -> tuple[float, float, torch.Tensor]:
        """As in Ours."""
        spent = [0.0, 0.0]
        for row, seed in zip(rows, seeds, strict=True):
            torch.manual_seed(seed)
            begin = time.process_time()
            mel, _ = self.flow.inference(
                token=row[None],
                token_len=torch.tensor([len(row)]),
                prompt_token=self.tokens,
                prompt_token_len=torch.tensor([self.tokens.shape[1]]),
                prompt_feat=self.mel,
                prompt_feat_len=torch.tensor([self.mel.shape[1]]),
                embedding=self.embedding,
                flow_cache=torch.zeros(1, 80, 0, 2),
            )
            middle = time.process_time()
            wave, _ = self.hift.inference(speech_feat=mel)
            spent[0] += middle - begin
            spent[1] += time.process_time() - middle
        return spent[0], spent[1], wave[0]


def public_modules(folder: Path, config: VoiceConfig) -> tuple[Any, Any]:
    """Build the public flow and vocoder of this size from the folder."""
    matcha = folder / "third_party" / "Matcha-TTS"
    sys.path[:0] = [str(folder), str(matcha)]
    for name in ("matcha", "matcha.utils"):  # their __init__ files import a training framework
        package = types.ModuleType(name)
        package.__path__ = [str(matcha / name.replace(".", "/"))]
        sys.modules[name] = package
    logger = types.ModuleType("matcha.utils.pylogger")
    logger.get_pylogger = logging.getLogger  # type: ignore[attr-defined]
    sys.modules[logger.__name__] = logger
    import huggingface_hub

    huggingface_hub.cached_download = None  # old diffusers imports it and does not use it here
    import diffusers.models.attention  # noqa: F401 - looks for torchaudio, before there is an empty one

    sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))  # imported, not used here
    from cosyvoice.flow.decoder import ConditionalDecoder
    from cosyvoice.flow.flow import MaskedDiffWithXvec
    from cosyvoice.flow.flow_matching import ConditionalCFM
    from cosyvoice.flow.length_regulator import InterpolateRegulator
    from cosyvoice.hifigan.f0_predictor import ConvRNNF0Predictor
    from cosyvoice.hifigan.generator import HiFTGenerator
    from cosyvoice.transformer.encoder import ConformerEncoder
    from omegaconf import DictConfig

    c = config.flow
    encoder = ConformerEncoder(
        input_size=c.width,
        output_size=c.width,
        attention_heads=c.heads,
        linear_units=c.feed_forward,
        num_blocks=c.layers,
        input_layer="linear",
        pos_enc_layer_type="rel_pos_espnet",
        selfattention_layer_type="rel_selfattn",
        use_cnn_module=False,
        macaron_style=False,
    )
    estimator = ConditionalDecoder(
        in_channels=320,
        out_channels=80,
        channels=[c.channels] * 2,
        dropout=0.0,
        n_blocks=c.blocks,
        num_mid_blocks=c.mid_stages,
        num_heads=c.estimator_heads,
        attention_head_dim=c.head_size,
        act_fn="gelu",
    )
    estimator.static_chunk_size = 0
    settings = {"sigma_min": 1e-6, "solver": "euler", "t_scheduler": "cosine", "training_cfg_rate": 0.2}
    matching = ConditionalCFM(
        in_channels=240,
        n_spks=1,
        spk_emb_dim=80,
        estimator=estimator,
        cfm_params=DictConfig(settings | {"inference_cfg_rate": c.guidance, "reg_loss_type": "l1"}),
    )
    flow = MaskedDiffWithXvec(
        input_size=c.width,
        output_size=80,
        spk_embed_dim=192,
        vocab_size=4096,
        input_frame_rate=25,
        encoder=encoder,
        length_regulator=InterpolateRegulator(80, [1, 1, 1, 1]),
        decoder=matching,
    )
    flow.fp16 = False
    hift = HiFTGenerator(
        in_channels=80,
        base_channels=config.hift.channels,
        source_resblock_kernel_sizes=[7, 11],
        f0_predictor=ConvRNNF0Predictor(1, 80, config.hift.pitch_channels),
    )
    return flow.eval(), hift.eval()
