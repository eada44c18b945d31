"""Token2wav on a CPU, ours and the public modules side by side on the same weights.

    python bench/token2wav_cpu.py --out bench/results/token2wav_cpu.json
    python bench/token2wav_cpu.py --public OSUM-EChat/tts --batches 1 16 --tokens 50

`--public` is the folder `OSUM-EChat/tts` of ASLP-lab/OSUM at commit f2bcfac; its modules import einops,
conformer, diffusers 0.27, omegaconf and torchaudio, which must be importable. Without it ours is timed alone.

Half width: flow encoder 6 x 256 with 4 heads, estimator of 128 channels with 4 heads and 12 middle stages,
HiFT 256; float32, nothing compiled. Every case runs in its own process, so that its peak memory is its own.
Seconds are CPU seconds of the process (all threads): other work on the machine disturbs them least.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import resource
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from echat_eval.osum.tiny_voice import random_flow_state, random_hift_state, random_voice  # noqa: E402
from echat_eval.osum.token2wav import Token2Wav  # noqa: E402
from echat_eval.osum.voice_config import FULL_VOICE, FlowConfig, HiftConfig, VoiceConfig, mel_frames  # noqa: E402
from echat_eval.osum.voice_weights import build_flow, build_hift  # noqa: E402

HALF = VoiceConfig(
    flow=FlowConfig(
        width=256, layers=6, heads=4, feed_forward=1024, channels=128, blocks=4, mid_stages=12,
        estimator_heads=4, head_size=64,
    ),
    hift=HiftConfig(channels=256, pitch_channels=256),
)  # fmt: skip
SIZES = {"half": HALF, "full": FULL_VOICE}


class Ours:
    """The package."""

    def __init__(self, config: VoiceConfig, voice: Any, public: str) -> None:
        flow = build_flow(random_flow_state(config.flow), config.flow, where="bench")
        hift = build_hift(random_hift_state(config.hift), config.hift, where="bench")
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
        input_size=c.width, output_size=c.width, attention_heads=c.heads, linear_units=c.feed_forward,
        num_blocks=c.layers, input_layer="linear", pos_enc_layer_type="rel_pos_espnet",
        selfattention_layer_type="rel_selfattn", use_cnn_module=False, macaron_style=False,
    )  # fmt: skip
    estimator = ConditionalDecoder(
        in_channels=320, out_channels=80, channels=[c.channels] * 2, dropout=0.0, n_blocks=c.blocks,
        num_mid_blocks=c.mid_stages, num_heads=c.estimator_heads, attention_head_dim=c.head_size,
        act_fn="gelu",
    )  # fmt: skip
    estimator.static_chunk_size = 0
    settings = {"sigma_min": 1e-6, "solver": "euler", "t_scheduler": "cosine", "training_cfg_rate": 0.2}
    matching = ConditionalCFM(
        in_channels=240, n_spks=1, spk_emb_dim=80, estimator=estimator,
        cfm_params=DictConfig(settings | {"inference_cfg_rate": c.guidance, "reg_loss_type": "l1"}),
    )  # fmt: skip
    flow = MaskedDiffWithXvec(
        input_size=c.width, output_size=80, spk_embed_dim=192, vocab_size=4096, input_frame_rate=25,
        encoder=encoder, length_regulator=InterpolateRegulator(80, [1, 1, 1, 1]), decoder=matching,
    )  # fmt: skip
    flow.fp16 = False
    hift = HiFTGenerator(
        in_channels=80, base_channels=config.hift.channels, source_resblock_kernel_sizes=[7, 11],
        f0_predictor=ConvRNNF0Predictor(1, 80, config.hift.pitch_channels),
    )  # fmt: skip
    return flow.eval(), hift.eval()


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    """Time one case in this process: one short reply to warm up, then the best of `repeats`."""
    torch.set_num_threads(case["threads"])
    voice = random_voice(tokens=case["voice_tokens"], frames=mel_frames(case["voice_tokens"]))
    side = {"ours": Ours, "public": Public}[case["side"]](SIZES[case["size"]], voice, case["public"])
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, 4096, (case["tokens"],), generator=generator) for _ in range(case["batch"])]
    side.speak([rows[0][:2]], [0])
    flow, hift, wave = min(
        (side.speak(rows, list(range(len(rows)))) for _ in range(case["repeats"])),
        key=lambda run: run[0] + run[1],
    )
    return case | {
        "flow_seconds": round(flow, 3),
        "hift_seconds": round(hift, 3),
        "seconds_per_reply": round((flow + hift) / case["batch"], 3),
        "audio_seconds_per_reply": round(mel_frames(case["tokens"]) * 256 / 22_050, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "wave_rms": round(float(wave.square().mean().sqrt()), 6),
    }


def in_own_process(case: dict[str, Any]) -> dict[str, Any]:
    """Run one case in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, __file__, "--case", json.dumps(case)], check=True, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(
        {
            name: result[name]
            for name in ("side", "batch", "tokens", "flow_seconds", "hift_seconds", "peak_mb")
        }
    )
    return result


def compare(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how many times longer the public side took, by batch and tokens, for flow and vocoder apart."""
    ours = {(r["batch"], r["tokens"]): r for r in results if r["side"] == "ours"}
    ratios = []
    for r in results:
        mine = ours.get((r["batch"], r["tokens"]))
        if r["side"] == "public" and mine:
            names = ("flow_seconds", "hift_seconds", "seconds_per_reply", "peak_mb")
            ratio = {name: round(r[name] / mine[name], 2) for name in names}
            ratios.append({"batch": r["batch"], "tokens": r["tokens"], "public_over_ours": ratio})
    return ratios


def processor() -> str:
    """Return the processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    names = (
        [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0].split(":", 1)[1].strip() if names else platform.processor()


def main() -> None:
    """Parse flags, run the cases, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--public", default="", help="the public OSUM-EChat/tts folder")
    parser.add_argument("--size", choices=sorted(SIZES), default="half")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--tokens", type=int, default=100, help="of every reply in the batch comparison")
    parser.add_argument("--lengths", type=int, nargs="*", default=[100, 200, 500, 1000, 2000])
    parser.add_argument("--voice-tokens", type=int, default=231)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--note", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.case:
        print(json.dumps(run_case(flags.case)))
        return
    shared = {name: getattr(flags, name) for name in ("size", "voice_tokens", "threads", "repeats", "public")}
    sides = ["ours", "public"] if flags.public else ["ours"]
    wanted = [(batch, flags.tokens) for batch in flags.batches] + [(1, length) for length in flags.lengths]
    results = [
        in_own_process(shared | {"side": side, "batch": batch, "tokens": tokens})
        for batch, tokens in dict.fromkeys(wanted)
        for side in sides
    ]
    for result in results:
        del result["public"]
    report = {
        "machine": f"{processor()}, {flags.threads} of {torch.get_num_threads()} threads, no GPU",
        "torch": torch.__version__,
        "public": "ASLP-lab/OSUM f2bcfac, one reply at a time, not compiled" if flags.public else None,
        "note": flags.note,
        "ratios": compare(results),
        "cases": results,
    }
    text = json.dumps(report, indent=1)
    print(text)
    if flags.out:
        flags.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
