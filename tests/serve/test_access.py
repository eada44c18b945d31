"""Keys of the server, and hosts that need one."""

from __future__ import annotations

from pathlib import Path

import pytest

from echat_eval.errors import UsageError, scrub
from echat_eval.serve.access import check_access, read_key


def test_a_key_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_KEY", " sk-12345678 \n")
    file = tmp_path / "key"
    file.write_text("sk-abcdefgh\n")
    assert (read_key("SERVE_KEY", None), read_key(None, file), read_key(None, None)) == (
        "sk-12345678",
        "sk-abcdefgh",
        None,
    )
    assert "sk-12345678" not in scrub("the key sk-12345678")
    faults = [
        ("SERVE_KEY", file, "both name a key"),
        ("NO_SUCH_KEY", None, "NO_SUCH_KEY holds no key; store one there, such as "),
        (None, tmp_path, "cannot be read: Is a directory"),
    ]
    for variable, path, words in faults:
        with pytest.raises(UsageError, match=words):
            read_key(variable, path)
    monkeypatch.setenv("SERVE_KEY", "short")
    with pytest.raises(UsageError, match="has 5 characters; use 8 or more"):
        read_key("SERVE_KEY", None)


def test_another_host_needs_a_key_or_a_wish() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        assert check_access(host, None, is_open=False)
    for host in ("0.0.0.0", "::", "10.0.0.1", "gpu-7"):
        with pytest.raises(UsageError, match="lets other machines use this server: set a key"):
            check_access(host, None, is_open=False)
        assert not check_access(host, "sk-12345678", is_open=False)
        assert not check_access(host, None, is_open=True)
