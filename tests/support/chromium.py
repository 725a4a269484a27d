"""A headless Chromium under test, driven over its debugging pipe: pages from disk, without a network.

Not for pages that need a server. There is no test without the browser: where none is installed the test fails.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

VARIABLE = "CHROMIUM"
"""Names another browser than those found on the PATH."""
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SECONDS = 60
"""Longest wait for an answer of the browser."""
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)


def executable() -> str:
    """The browser; fails the test where there is none."""
    named = os.environ.get(VARIABLE)
    for name in [named] if named else _NAMES:
        found = shutil.which(name)
        if found:
            return found
    pytest.fail(
        f"no Chromium ({named or ', '.join(_NAMES)}): run scripts/install_system_packages.sh browser, or name one in "
        f"{VARIABLE}; the fleet's report was NOT rendered",
        pytrace=False,
    )


class Chromium:
    """One browser with one page. `requests` are the URLs it asked for, `problems` what its console complained of."""

    def __init__(self, profile: Path) -> None:
        self._log = profile / "stderr.log"
        to_browser, commands = os.pipe()
        answers, from_browser = os.pipe()
        # The browser reads commands from descriptor 3 and writes answers to 4, whatever they are here.
        script = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$@"'
        command = ["bash", "-c", script, "bash", executable(), *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            command, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=self._log.open("wb")
        )
        os.close(to_browser)
        os.close(from_browser)
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = answers
        self._read = b""
        self._number = 0
        self._waiting: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._session: str | None = None
        pages = [page for page in self._send("Target.getTargets")["targetInfos"] if page["type"] == "page"]
        target = {"targetId": pages[0]["targetId"], "flatten": True}
        self._session = self._send("Target.attachToTarget", **target)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            self._send(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._commands.close()
        os.close(self._answers)
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def show(self, path: Path, *, dark: bool = False, width: int = 1_280, height: int = 900) -> None:
        """Opens a file and waits until it is rendered."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._send("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._send("Emulation.setDeviceMetricsOverride", **size)
        self._send("Page.navigate", url=path.as_uri())
        self._event("Page.loadEventFired")

    def evaluate(self, script: str) -> Any:
        """The value of an expression on the page."""
        result = self._send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def accessible(self) -> list[tuple[str, str]]:
        """Role and name of everything that assistive technology is told."""
        nodes = self._send("Accessibility.getFullAXTree")["nodes"]
        told = [node for node in nodes if not node.get("ignored")]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in told]

    def screenshot(self) -> bytes:
        """The whole page as a PNG."""
        return base64.b64decode(self._send("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _event(self, name: str) -> None:
        while True:
            for index, message in enumerate(self._waiting):
                if message["method"] == name:
                    del self._waiting[: index + 1]
                    return
            self._receive()

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._answers], [], [], _SECONDS)
            more = os.read(self._answers, 1 << 20) if ready else b""
            if not more:
                raise AssertionError(f"{executable()} " + (f"ended: {self._said()}" if ready else "does not answer"))
            self._read += more
        raw, _, self._read = self._read.partition(b"\0")
        message = json.loads(raw)
        if "method" in message:
            self._note(message)
        return message

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-2_000:]

    def _note(self, message: dict[str, Any]) -> None:
        self._waiting.append(message)
        parameters = message["params"]
        if message["method"] == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif message["method"] == "Log.entryAdded":
            self.problems.append(parameters["entry"]["text"])
        elif message["method"] == "Runtime.exceptionThrown":
            self.problems.append(str(parameters["exceptionDetails"]))
