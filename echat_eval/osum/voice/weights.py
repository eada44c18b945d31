"""Loading flow.pt and hift.pt: every key there, none besides, each of its shape, and nothing executed."""

from __future__ import annotations

import pickle
import re
import struct
from typing import TYPE_CHECKING

import torch

from echat_eval.errors import BadData
from echat_eval.osum.voice.flow_matching import FlowMatching
from echat_eval.osum.voice.tensor_names import flow_origins, hift_origins, join, official_shapes
from echat_eval.osum.voice.vocoder import Hift

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from echat_eval.osum.voice.config import FlowConfig, HiftConfig
    from echat_eval.osum.voice.tensor_names import Origin

__all__ = ["build_flow", "build_hift", "load_flow", "load_hift", "read_state"]

#: How many names of a kind a refusal shows.
SHOWN = 3
#: Weight norm before torch 2.0: X.weight_g and X.weight_v.
OLD_NORM = {"g": "original0", "v": "original1"}
#: What torch's reader raises on damaged bytes, besides pickle.UnpicklingError.
DAMAGE = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def load_flow(path: Path, config: FlowConfig) -> FlowMatching:
    """Return the flow of a released flow.pt, in eval mode on the CPU, float32.

    Raises:
        BadData: unreadable, not a plain mapping of tensors, or keys missing, unexpected or of a wrong shape.
    """
    return build_flow(read_state(path), config, where=str(path))


def load_hift(path: Path, config: HiftConfig) -> Hift:
    """Return the vocoder of a released hift.pt, weight norms folded, in eval mode on the CPU, float32.

    Old and new names of weight norm and the prefix of a whole HiFi-GAN, `generator.`, are understood.

    Raises:
        BadData: as in `load_flow`.
    """
    return build_hift(read_state(path), config, where=str(path))


def build_flow(state: Mapping[str, Tensor], config: FlowConfig, *, where: str) -> FlowMatching:
    """Return the flow of a state with official names; `where` names it in a refusal."""
    with torch.device("meta"):
        flow = FlowMatching(config)
    origins = flow_origins(flow)
    check(state, origins, where=where, what="the flow of CosyVoice-300M-25Hz")
    flow.load_state_dict({name: join(o, state) for name, o in origins.items()}, strict=True, assign=True)
    return flow.eval().requires_grad_(False)


def build_hift(state: Mapping[str, Tensor], config: HiftConfig, *, where: str) -> Hift:
    """Return the vocoder of a state with official names, of either age; `where` names it in a refusal."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        stripped = name.replace("generator.", "")
        new = re.sub(r"\.weight_([gv])$", lambda m: f".parametrizations.weight.{OLD_NORM[m[1]]}", stripped)
        if new in renamed:
            raise BadData(f"{where}: '{name}' names '{new}' a second time; expected each parameter once")
        renamed[new] = value
    hift = Hift(config)
    origins = hift_origins(hift)
    check(renamed, origins, where=where, what="the HiFT vocoder of CosyVoice-300M-25Hz")
    hift.load_state_dict({name: join(o, renamed) for name, o in origins.items()}, strict=True)
    return hift.eval().requires_grad_(False)


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .pt file by name, on the CPU.

    Raises:
        BadData: missing, damaged, holding anything but tensors by name, or needing code to be run.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BadData(f"{path}: no such file; unpack CosyVoice-300M-25Hz.tar there") from None
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise BadData(f"{path}: not a plain file of tensors ({reason}); refused, nothing was run") from None
    except DAMAGE as error:
        reason = (str(error).splitlines() or ["empty"])[0]
        raise BadData(f"{path}: cannot be read as a torch file ({reason}); download it again") from None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise BadData(
            f"{path}: holds {type(state).__name__} with more than tensors by name; expected a state dict"
        )
    return state


def check(state: Mapping[str, Tensor], origins: Mapping[str, Origin], *, where: str, what: str) -> None:
    """Raise one BadData naming what is missing, unexpected, of a wrong shape or not finite."""
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
        f"{len(names)} {fault}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
        for names, fault in (
            (missing, "missing"),
            (unexpected, "unexpected"),
            (misshaped, "of a wrong shape"),
            (broken, "not finite numbers"),
        )
        if names
    ]
    if faults:
        raise BadData(f"{where}: not {what} ({len(expected)} keys): {'; '.join(faults)}")
