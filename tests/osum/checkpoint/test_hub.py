"""Download from the hub, against a local stand-in server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from echat_eval.errors import BadData, NotInstalled
from echat_eval.osum.checkpoint.hub import download
from echat_eval.testing import ScriptedServer
from echat_eval.testing.servers import Exchange

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = bytes(range(256)) * 500


#: What the stand-in declares about the file.
DECLARED = {"sha256": hashlib.sha256(CONTENT).hexdigest()}


def answer(exchange: Exchange) -> None:
    """Serve one file, also from a byte on."""
    if not exchange.path.endswith("/language_think_final.pt"):
        exchange.reply(status=404, X_Error_Code="EntryNotFound")
        return
    begin = int(exchange.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0] or 0)
    exchange.reply(
        CONTENT[begin:],
        status=206 if begin else 200,
        X_Repo_Commit=COMMIT,
        ETag=f'"{DECLARED["sha256"]}"',
        X_Linked_ETag=f'"{DECLARED["sha256"]}"',
        X_Linked_Size=str(len(CONTENT)),
    )


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # the stand-in is on loopback
    with ScriptedServer(answer) as server:
        yield server.url


def test_file_is_downloaded_verified_and_its_source_recorded(hub: str, tmp_path: Path) -> None:
    path = download("language-think", tmp_path / "weights", endpoint=hub)
    assert path == tmp_path / "weights" / "language_think_final.pt"
    assert path.read_bytes() == CONTENT
    note = json.loads((path.parent / "language_think_final.pt.source.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert note["sha256_declared_by_the_hub"] == note["sha256"] == digest
    assert (note["commit"], note["repository"], note["size"]) == (COMMIT, "ASLP-lab/OSUM-EChat", len(CONTENT))


def test_file_with_wrong_sha256_is_removed(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DECLARED, "sha256", "0" * 64)
    with pytest.raises(BadData, match="the hub declares sha256 0000"):
        download("language-think", tmp_path, endpoint=hub)
    assert not (tmp_path / "language_think_final.pt").exists()


def test_missing_file_is_reported_in_one_line(hub: str, tmp_path: Path) -> None:
    with pytest.raises(
        NotInstalled, match=r"ASLP-lab/OSUM-EChat/nothing\.pt could not be downloaded"
    ) as failure:
        download("nothing.pt", tmp_path, endpoint=hub)
    assert "\n" not in str(failure.value)
