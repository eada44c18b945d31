"""Download from the hub, against a local stand-in server."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from echat_eval.errors import BadData, NotInstalled
from echat_eval.osum.checkpoint.hub import download

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = bytes(range(256)) * 500


class StandIn(BaseHTTPRequestHandler):
    declared = hashlib.sha256(CONTENT).hexdigest()
    etag: str | None = None

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        if not self.path.endswith("/language_think_final.pt"):
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0] or 0)
        self.send_response(206 if begin else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{type(self).declared}"')
        self.send_header("X-Linked-ETag", f'"{type(self).declared}"')
        self.send_header("X-Linked-Size", str(len(CONTENT)))
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        if body:
            self.wfile.write(CONTENT[begin:])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path: Path) -> Iterator[str]:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # the stand-in is on loopback
    monkeypatch.setattr(StandIn, "declared", hashlib.sha256(CONTENT).hexdigest())
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_file_is_downloaded_verified_and_its_source_recorded(hub: str, tmp_path: Path) -> None:
    path = download("language-think", tmp_path / "weights", endpoint=hub)
    assert path == tmp_path / "weights" / "language_think_final.pt"
    assert path.read_bytes() == CONTENT
    note = json.loads((path.parent / "language_think_final.pt.source.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert note["sha256_declared_by_the_hub"] == note["sha256"] == digest
    assert (note["commit"], note["repository"], note["size"]) == (COMMIT, "ASLP-lab/OSUM-EChat", len(CONTENT))


def test_file_with_wrong_sha256_is_removed(hub: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(StandIn, "declared", "0" * 64)
    with pytest.raises(BadData, match="the hub declares sha256 0000"):
        download("language-think", tmp_path, endpoint=hub)
    assert not (tmp_path / "language_think_final.pt").exists()


def test_missing_file_is_reported_in_one_line(hub: str, tmp_path: Path) -> None:
    with pytest.raises(
        NotInstalled, match=r"ASLP-lab/OSUM-EChat/nothing\.pt could not be downloaded"
    ) as failure:
        download("nothing.pt", tmp_path, endpoint=hub)
    assert "\n" not in str(failure.value)
