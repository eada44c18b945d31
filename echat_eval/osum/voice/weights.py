"""Strict loading of flow.pt and hift.pt: exact keys and shapes, and no code is run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from echat_eval.errors import BadData
from echat_eval.osum.checkpoint.torch_file import read_tensors
from echat_eval.osum.voice.flow_matching import FlowMatching
from echat_eval.osum.voice.tensor_names import flow_origins, hift_origins, join, official_shapes
from echat_eval.osum.voice.vocoder import Hift

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from echat_eval.osum.voice.config import FlowConfig, HiftConfig
    from echat_eval.osum.voice.tensor_names import Origin

__all__ = ["build_flow", "build_hift", "load_flow", "load_hift"]

#: Advice for a missing or damaged file.
_SOURCE = "unpack CosyVoice-300M-25Hz.tar there"
#: Maximum of names per kind of fault in a message.
MAX_SHOWN = 3
#: Suffixes of weight norm before torch 2.0, X.weight_g and X.weight_v -> their present names.
OLD_NORM = {"g": "original0", "v": "original1"}


def load_flow(path: Path, config: FlowConfig) -> FlowMatching:
    """Return the flow of a released flow.pt, in eval mode on the CPU, float32.

    Raises:
        BadData: the file is unreadable or not a plain mapping of tensors, or keys are missing, unexpected or
            of a wrong shape.
    """
    return build_flow(read_tensors(path, source=_SOURCE), config, source=str(path))


def load_hift(path: Path, config: HiftConfig) -> Hift:
    """Return the vocoder of a released hift.pt, weight norms folded, in eval mode on the CPU, float32.

    Accepts old and new names of weight norm, and the prefix `generator.` of a complete HiFi-GAN.

    Raises:
        BadData: as in `load_flow`.
    """
    return build_hift(read_tensors(path, source=_SOURCE), config, source=str(path))


def build_flow(state: Mapping[str, Tensor], config: FlowConfig, *, source: str) -> FlowMatching:
    """Return the flow of a state dict with official names; `source` is for error messages."""
    with torch.device("meta"):
        flow = FlowMatching(config)
    origins = flow_origins(flow)
    check(state, origins, source=source, expected_model="the flow of CosyVoice-300M-25Hz")
    flow.load_state_dict({name: join(o, state) for name, o in origins.items()}, strict=True, assign=True)
    return flow.eval().requires_grad_(False)


def build_hift(state: Mapping[str, Tensor], config: HiftConfig, *, source: str) -> Hift:
    """Return the vocoder of a state dict with old or new official names; `source` is for error messages."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        stripped = name.replace("generator.", "")
        new = re.sub(r"\.weight_([gv])$", lambda m: f".parametrizations.weight.{OLD_NORM[m[1]]}", stripped)
        if new in renamed:
            raise BadData(f"{source}: '{name}' is a duplicate of '{new}'; expected each parameter once")
        renamed[new] = value
    hift = Hift(config)
    origins = hift_origins(hift)
    check(renamed, origins, source=source, expected_model="the HiFT vocoder of CosyVoice-300M-25Hz")
    hift.load_state_dict({name: join(o, renamed) for name, o in origins.items()}, strict=True)
    return hift.eval().requires_grad_(False)


def check(
    state: Mapping[str, Tensor], origins: Mapping[str, Origin], *, source: str, expected_model: str
) -> None:
    """Raise one BadData that lists all keys that are missing, unexpected, of a wrong shape or not finite."""
    expected = official_shapes(origins)
    missing = sorted(expected.keys() - state.keys())
    unexpected = sorted(state.keys() - expected.keys())
    shared = sorted(expected.keys() & state.keys())
    misshaped = [
        f"{name} is {tuple(state[name].shape)}, not {expected[name]}"
        for name in shared
        if tuple(state[name].shape) != expected[name]
    ]
    broken = [
        name for name in shared if not (state[name].is_floating_point() and state[name].isfinite().all())
    ]
    faults = [
        f"{len(names)} {fault}: {', '.join(names[:MAX_SHOWN])}{', ...' if len(names) > MAX_SHOWN else ''}"
        for names, fault in (
            (missing, "missing"),
            (unexpected, "unexpected"),
            (misshaped, "of a wrong shape"),
            (broken, "not finite numbers"),
        )
        if names
    ]
    if faults:
        raise BadData(f"{source}: not {expected_model} ({len(expected)} keys): {'; '.join(faults)}")
