"""`osum serve` as a process: its first lines, its end, and misuse before a model is loaded."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from click.testing import CliRunner

from echat_eval.cli.osum import osum_group
from echat_eval.errors import EChatError, NotInstalled, UnknownName, UsageError

if TYPE_CHECKING:
    import pytest


def serve(*arguments: str) -> Any:
    result = CliRunner().invoke(
        osum_group, ["serve", "--checkpoint", "none.pt", *arguments], standalone_mode=False
    )
    return result.exception


def test_misuse_is_found_before_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        faults: list[tuple[list[str], type[EChatError], str]] = [
            (["--host", "0.0.0.0"], UsageError, "lets other machines use this server"),
            (["--key-env", "NO_SUCH_KEY"], UsageError, "NO_SUCH_KEY holds no key"),
            (["--port", port], UsageError, "Address already in use; set --host or --port"),
            (["--host", "192.0.2.1", "--open"], UsageError, "cannot listen on 192.0.2.1"),
            (["--voice", "me.safetensors"], UsageError, "a voice needs both"),
            (["--mode", "tts"], UsageError, "takes text"),
            (["--set", "mode=tts"], UsageError, "takes text"),
            (["--set", "mode=s2t", "--mode", "s2s"], UsageError, "--mode s2s and --set mode=s2t differ"),
            (["--mode", "understand", "--set", "task=nope", "--port", "0"], UnknownName, "'nope'"),
            (["--port", "0"], NotInstalled, "no checkpoint at none.pt"),
        ]
        for arguments, kind, words in faults:
            error = serve(*arguments)
            assert isinstance(error, kind)
            assert words in str(error)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "echat_eval.serve.server", raising=False)
    assert "needs uvicorn: pip install 'echat-eval[osum,serve]'" in str(serve())


def test_the_command_serves_until_it_is_ended(tiny_folder: Path) -> None:
    command = [sys.executable, "-m", "echat_eval", "osum", "serve", "--checkpoint", str(tiny_folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SERVE_KEY": "sk-12345678"}
    process = subprocess.Popen(
        [*command, "--port", "0", "--key-env", "SERVE_KEY"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("Ctrl-C"):
        lines.append(process.stdout.readline())
        assert lines[-1], process.communicate()[1]
    facts = dict(line.split(maxsplit=1) for line in lines[1:-1])
    assert list(facts) == ["url", "live", "model", "voice", "fingerprint", "licence", "access"]
    assert "no commercial use" in facts["licence"]
    assert facts["access"].strip() == "with the key, this machine"
    url = facts["url"].strip()
    assert httpx.get(f"{url}/models").status_code == 401
    listed = httpx.get(f"{url}/models", headers={"authorization": "Bearer sk-12345678"}).json()["data"]
    assert listed[0]["fingerprint"] == facts["fingerprint"].strip()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out.strip()) == (0, "ended; all replies were finished")
    assert "sk-12345678" not in "".join(lines) + out + err
