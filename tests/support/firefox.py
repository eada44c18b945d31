"""Firefox over WebDriver BiDi, its own protocol: no driver program is needed.

Debian's `firefox-esr` lacks a command that Playwright needs, and no other driver is on PyPI.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

__all__ = ["FIREFOX", "Firefox"]

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
_ADDRESS = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
#: Seconds until the browser must have answered.
_PATIENCE = 60.0


class Firefox:
    """One tab of a headless browser; records its console and its requests.

    Args:
        profile: an empty folder.
        preferences: of the profile, such as the language.
    """

    def __init__(self, profile: Path, preferences: dict[str, Any] | None = None) -> None:
        assert FIREFOX is not None
        lines = [f"user_pref({json.dumps(n)}, {json.dumps(v)});\n" for n, v in (preferences or {}).items()]
        (profile / "user.js").write_text("".join(lines), encoding="utf-8")
        self.log = profile / "browser.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [FIREFOX, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"],
                stdout=log,
                stderr=log,
            )
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._number = 0
        try:
            self._socket = connect(f"{self._address()}/session", max_size=None, open_timeout=_PATIENCE)
            self.call("session.new", capabilities={})
            self.call("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])
            self._tab = self.call("browsingContext.getTree")["contexts"][0]["context"]
        except BaseException:
            self._process.kill()
            raise

    def _address(self) -> str:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            if (found := _ADDRESS.search(self.log.read_bytes())) is not None:
                return found[1].decode()
            time.sleep(0.05)
        raise AssertionError(f"firefox did not start: {self.log.read_text(errors='replace')[-2000:]}")

    def call(self, method: str, **params: Any) -> Any:
        """Return the result of a command; events that come first are recorded."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=_PATIENCE))
            if answer.get("id") == self._number:
                assert answer["type"] == "success", answer
                return answer["result"]
            self._record(answer)

    def _record(self, event: dict[str, Any]) -> None:
        facts = event.get("params", {})
        if event.get("method") == "log.entryAdded" and facts["level"] in ("error", "warn"):
            self.errors.append(str(facts["text"]))
        if event.get("method") == "network.beforeRequestSent":
            self.requests.append(str(facts["request"]["url"]))

    def resize(self, width: int, height: int = 800) -> None:
        """Set the size of the view."""
        self.call(
            "browsingContext.setViewport", context=self._tab, viewport={"width": width, "height": height}
        )

    def open(self, url: str) -> None:
        """Open an address in a new document and wait until it is loaded."""
        for target in ("about:blank", url):
            self.call("browsingContext.navigate", context=self._tab, url=target, wait="complete")

    def evaluate(self, script: str) -> Any:
        """Return the JSON value of an expression, or of its promise."""
        found = self.call(
            "script.evaluate",
            expression=f"Promise.resolve({script}).then(v => JSON.stringify(v === undefined ? null : v))",
            target={"context": self._tab},
            awaitPromise=True,
        )
        assert found["type"] == "success", found
        return json.loads(found["result"]["value"])

    def wait_for(self, selector: str) -> None:
        """Wait until an element is there."""
        end = time.monotonic() + _PATIENCE
        while not self.evaluate(f"document.querySelector({json.dumps(selector)}) !== null"):
            assert time.monotonic() < end, f"no {selector}"
            time.sleep(0.05)

    def picture(self, path: Path) -> None:
        """Write a picture of the view."""
        found = self.call("browsingContext.captureScreenshot", context=self._tab)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """End the browser."""
        self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=_PATIENCE)
