"""A run in the offline files of Weights & Biases, parsed by its own message types."""

from __future__ import annotations

import json
import socket
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import echat_eval as ev
from echat_eval.errors import NotInstalled
from echat_eval.ports import Silent
from echat_eval.runner.destinations import receivers_of
from echat_eval.trackers import select_trackers


def payloads(data: bytes) -> Iterator[bytes]:
    """Yield the records of an offline file: LevelDB's log format, in blocks of 32 KiB after the first 7 bytes."""
    assert data[:4] == b":W&B"
    place, parts = 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # padding
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def records_of(folder: Path) -> dict[str, list[Any]]:
    """Return the records of the only offline run in a folder by kind."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found: dict[str, list[Any]] = defaultdict(list)
    for data in payloads(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        found[kind].append(getattr(record, kind))
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_is_written_offline_and_nothing_is_sent(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1"), address
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("WANDB_MODE", "online")  # the experiment decides, not the environment
    run = ev.evaluate(
        "canned",
        data=tones,
        tasks="emotion",
        annotators=[],
        scorers="outcome",
        headline="seconds",
        out=tmp_path / "one",
        settings={"track": "wandb", "track.project": "calls"},
        progress=Silent(),
    )
    found = records_of(run.path)
    (begun,) = found["run"]
    assert (begun.project, begun.display_name) == ("calls", "one")
    config = {update.key: json.loads(update.value_json) for update in begun.config.update}
    assert config["systems"] == {"canned": {}}
    assert config["track"] == [{"use": "wandb", "project": "calls"}]
    summary: dict[str, Any] = {}
    for update in (u for record in found["summary"] for u in record.update):
        summary[update.key or "/".join(update.nested_key)] = json.loads(update.value_json)
    frame = run.leaderboard().to_frame()
    row = frame[(frame["metric"] == "seconds") & (frame["task"] == "all")].iloc[0]
    assert summary["headline"] == "seconds"
    for key, column in (
        ("canned/seconds", "value"),
        ("canned/seconds/low", "low"),
        ("canned/seconds/high", "high"),
    ):
        assert summary[key] == row[column]
    (table,) = run.path.glob("wandb/offline-run-*/files/media/table/*.json")
    content = json.loads(table.read_text())
    assert content["columns"] == list(frame.columns)
    assert len(content["data"]) == len(frame)
    pages = [a for a in found["artifact"] if a.name == "page"]
    assert len(pages) == 1
    assert "index.html" in {entry.path for entry in pages[0].manifest.contents}
    assert ev.load_run(run.path).systems == ["canned"]  # the folder is still a run


def test_online_is_asked_for_by_name_and_is_a_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echat_eval.trackers.wandb_tracker.find_spec", lambda _: object())
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    assert receivers_of([], [], None, select_trackers("wandb")) == []
    (receiver,) = receivers_of([], [], None, select_trackers({"wandb": {"mode": "online"}}))
    assert (receiver.host, receiver.local) == ("api.wandb.ai", False)
    assert {"gold labels", "transcripts", "scores"} <= set(receiver.contents)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.com")
    (receiver,) = receivers_of([], [], None, select_trackers({"wandb": {"mode": "online"}}))
    assert receiver.host == "wandb.example.com"


def test_private_data_are_not_tracked_online_unless_the_host_is_named(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echat_eval.trackers.wandb_tracker.find_spec", lambda _: object())
    path = tones / "emotion" / "task.yaml"
    path.write_text(path.read_text().replace("redistributable: true", "private: true"))
    with pytest.raises(
        ev.UsageError, match=r"api.wandb.ai gets .* from tracker 'wandb'; allow that with --send-to"
    ):
        ev.evaluate(
            "canned", data=tones, tasks="emotion", out=tmp_path / "run", track={"wandb": {"mode": "online"}}
        )
    assert not (tmp_path / "run").exists()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echat_eval.trackers.wandb_tracker.find_spec", lambda _: None)
    with pytest.raises(NotInstalled, match=r"needs wandb; pip install 'echat-eval\[wandb\]'"):
        select_trackers("wandb")


@pytest.mark.parametrize(
    ("track", "line"),
    [
        ("wandbb", "unknown tracker 'wandbb'. Did you mean 'wandb'? Known: wandb"),
        ({"wandb": {"mode": "onlin"}}, "tracker 'wandb': mode='onlin'"),
        ({"wandb": {"projct": "x"}}, "unknown setting of tracker 'wandb': 'projct'. Did you mean 'project'?"),
        (3, "tracker: got int without name, log"),
    ],
)
def test_bad_input_is_one_line(track: Any, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echat_eval.trackers.wandb_tracker.find_spec", lambda _: object())
    with pytest.raises(ev.UsageError) as caught:
        select_trackers(track)
    assert line in str(caught.value)
