"""Fetching from a hub: a local fake of its HTTP interface, with large files on another host."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.errors import BadData, RunError, UsageError
from echat_eval.importers.hub import fetch_data_set
from echat_eval.task import find_faults
from tests.support.tones import write_tone

Serve = Callable[[Callable[[Any], None]], Any]
COMMIT = "c0ffee" + "0" * 34


class Hub:
    """A fake hub that lists and serves files; those in `large` are on another host, as on real hubs."""

    def __init__(self, serve: Serve, files: dict[str, bytes], large: Set[str] = frozenset()) -> None:
        self.files, self.large = files, large
        self.listed: list[dict[str, Any]] = [self._entry(name) for name in files]
        self.store = serve(self._store)
        self.hub = serve(self._hub)
        self.status = 200

    def _entry(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        entry: dict[str, Any] = {
            "rfilename": name,
            "size": len(content),
            "blobId": hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest(),
        }
        if name in self.large:
            entry |= {
                "lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)},
                "blobId": "0" * 40,
            }
        return entry

    def _hub(self, h: Any) -> None:
        if h.path.startswith("/api/datasets/lab/set/revision/main?"):
            h.reply(json.dumps({"sha": COMMIT, "siblings": self.listed}), "application/json", self.status)
        elif h.path.startswith(root := f"/datasets/lab/set/resolve/{COMMIT}/"):
            name = h.path.removeprefix(root)
            if name in self.large:
                h.reply(status=302, location=f"{self.store.url}/{name}")
            else:
                h.reply(self.files[name]) if name in self.files else h.reply("no", status=404)
        else:
            h.reply("no such data set", status=404)

    def _store(self, h: Any) -> None:
        h.reply(self.files[h.path[1:]])

    def fetch(self, out: Path, **more: Any) -> Any:
        return fetch_data_set("lab/set", out, hub=self.hub.url, **{"timeout": 5.0, **more})


@pytest.fixture
def files() -> dict[str, bytes]:
    return {"README.md": b"# set\n", "shards/0.tar": b"\0" * 3000, "data/a.jsonl": b"{}\n"}


def test_files_are_fetched_once_and_hashed(serve: Serve, tmp_path: Path, files: dict[str, bytes]) -> None:
    hub = Hub(serve, files, {"shards/0.tar"})
    seen: list[tuple[str, int, int]] = []
    fetched = hub.fetch(tmp_path, token="t0ken", on_progress=lambda *progress: seen.append(progress))
    assert {name: (tmp_path / name).read_bytes() for name in files} == files
    assert fetched.commit == COMMIT
    assert fetched.files == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert fetched.bytes == sum(map(len, files.values())) == seen[-1][1] == seen[-1][2]
    # The token goes to the hub only, not to the host of its large files.
    assert {got[2].get("authorization") for got in hub.hub.received} == {"Bearer t0ken"}
    assert {got[2].get("authorization") for got in hub.store.received} == {None}
    assert hub.fetch(tmp_path).bytes == 0
    (tmp_path / "README.md").write_bytes(b"# sat\n")
    assert hub.fetch(tmp_path).bytes == len(files["README.md"])


def test_only_files_that_match_the_patterns_are_fetched(
    serve: Serve, tmp_path: Path, files: dict[str, bytes]
) -> None:
    assert set(Hub(serve, files).fetch(tmp_path, include=("data/*",)).files) == {"data/a.jsonl"}
    with pytest.raises(UsageError, match="none of its 3 files matches"):
        Hub(serve, files).fetch(tmp_path, include=("*.zip",))


@pytest.mark.parametrize("name", ["README.md", "shards/0.tar"])
def test_file_with_a_wrong_hash_is_deleted(
    serve: Serve, tmp_path: Path, files: dict[str, bytes], name: str
) -> None:
    hub = Hub(serve, files, {"shards/0.tar"})
    files[name] = files[name][:-1] + b"X"
    with pytest.raises(RunError, match="do not match the hub's hash"):
        hub.fetch(tmp_path)
    assert not (tmp_path / name).exists()
    assert not list(tmp_path.rglob("*.tmp"))
    files[name] += b"and more"
    with pytest.raises(RunError, match="longer than"):
        hub.fetch(tmp_path)


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "a\\..\\out.txt"])
def test_file_name_that_leaves_the_folder_is_refused(
    serve: Serve, tmp_path: Path, files: dict[str, bytes], name: str
) -> None:
    hub = Hub(serve, files)
    hub.listed.append({"rfilename": name, "size": 1})
    with pytest.raises(BadData, match="leaves the folder"):
        hub.fetch(tmp_path / "in")


@pytest.mark.parametrize(
    "facts", [{"size": "big"}, {"size": -1}, {"lfs": "yes"}, {"blobId": 5}, {"rfilename": 5}]
)
def test_a_listing_with_a_value_of_the_wrong_type_is_refused(
    serve: Serve, tmp_path: Path, files: dict[str, bytes], facts: dict[str, Any]
) -> None:
    hub = Hub(serve, files)
    hub.listed.append({"rfilename": "x.txt", **facts})
    with pytest.raises(BadData, match="not the listing of a data set"):
        hub.fetch(tmp_path / "in")


@pytest.mark.parametrize(
    ("status", "error"), [(401, UsageError), (404, UsageError), (429, RunError), (503, RunError)]
)
def test_http_error_of_the_hub_is_reported(
    serve: Serve, tmp_path: Path, files: dict[str, bytes], status: int, error: type[Exception]
) -> None:
    hub = Hub(serve, files)
    hub.status = status
    with pytest.raises(error, match=f"HTTP {status}"):
        hub.fetch(tmp_path)


def test_interrupted_download_is_fetched_again(serve: Serve, tmp_path: Path, files: dict[str, bytes]) -> None:
    hub = Hub(serve, files)
    serve_normally = hub._hub
    breaks = [True]

    def script(h: Any) -> None:
        if "a.jsonl" in h.path and breaks.pop():
            breaks.append(False)
            h.send_response(200)
            h.send_header("content-length", "3")
            h.end_headers()
            h.wfile.write(b"{")
            h.close_connection = True
        else:
            serve_normally(h)

    hub.hub = serve(script)
    with pytest.raises(RunError, match="run the same command again"):
        hub.fetch(tmp_path)
    assert not (tmp_path / "data" / "a.jsonl").exists()
    assert hub.fetch(tmp_path).files


def test_import_command_fetches_and_imports_a_data_set(serve: Serve, tmp_path: Path) -> None:
    rows, files = [], {}
    for n, label in enumerate(("<FEMALE>", "<MALE>")):
        write_tone(tmp_path / f"{n}.wav", 200 + 99 * n)
        files[f"wav/{n}.wav"] = (tmp_path / f"{n}.wav").read_bytes()
        rows.append(
            {
                "key": f"k{n}",
                "txt": "好",
                "wav": f"wav/{n}.wav",
                "extra": {"question": "你好", "gender": label},
            }
        )
    files["data.jsonl"] = "".join(json.dumps(r) + "\n" for r in rows).encode()
    hub = Hub(serve, files, {"wav/0.wav"})
    args = [
        "import",
        "echat",
        "--from-hub",
        "lab/set",
        "--hub-url",
        hub.hub.url,
        "--language",
        "zh",
        "--source",
        "synthetic",
    ]
    done = CliRunner().invoke(
        command_line, [*args, "--out", str(tmp_path / "gender")], catch_exceptions=False
    )
    assert "2 samples with cue gender, 1 contrast groups, 0 refused" in done.output
    assert find_faults(tmp_path / "gender") == []
    record = json.loads((tmp_path / "gender-source.fetched.json").read_text())
    assert (record["commit"], set(record["sha256"])) == (COMMIT, set(files))
    assert json.loads((tmp_path / "gender" / "import.json").read_text())["origin"]["commit"] == COMMIT
