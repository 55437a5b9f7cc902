"""A real browser, driven over its debugging pipe: no driver and no port, JSON texts that end with a null byte."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from time import monotonic
from typing import Any

PROGRAM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
_PATIENCE_S = 60.0


class Browser:
    """Headless Chromium with one tab.

    Attributes:
        requests: every address that the tab asked for, its own file among them.
        complaints: errors and warnings of the page's scripts.
    """

    def __init__(self, to: int, answers: int) -> None:
        self._to, self._from, self._pending = to, answers, b""
        self._number, self._session = 0, ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer; events that come in between are noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def open(self, file: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Shows a file at a size and in a colour scheme, and waits until its scripts have run."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=scheme)
        self.requests, self.complaints = [], []
        self.ask("Page.navigate", url=file.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def eval(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, (script, answer)
        return answer["result"].get("value")

    def wait(self, script: str) -> None:
        """Until an expression is true."""
        ends = monotonic() + _PATIENCE_S
        while not self.eval(script):
            assert monotonic() < ends, f"never true: {script}"

    def press(self, key: str) -> None:
        """A key, as the keyboard sends it."""
        codes = {"Tab": 9, "Enter": 13, "ArrowDown": 40, "Space": 32}
        text = {"Enter": "\r", "Space": " "}.get(key, "")
        common = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": codes[key]}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.ask("Input.dispatchKeyEvent", type="keyUp", **common)

    def move(self, x: float, y: float) -> None:
        """The mouse to a place."""
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x: float, y: float) -> None:
        """A click."""
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, file: Path, whole: bool = True) -> Path:
        """A picture of the page, or of what is in view."""
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(data))
        return file

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            ready, _, _ = select([self._from], [], [], _PATIENCE_S)
            assert ready, "the browser is silent"
            part = os.read(self._from, 1 << 16)
            assert part, "the browser has ended"
            self._pending += part
        text, self._pending = self._pending.split(b"\0", 1)
        message: dict[str, Any] = json.loads(text)
        note = _EVENTS.get(message.get("method", ""))
        if note is not None:
            note(self, message["params"])
        return message


def _log(browser: Browser, event: dict[str, Any]) -> None:
    if event["entry"]["level"] in ("error", "warning"):
        browser.complaints.append(event["entry"]["text"])


_EVENTS: dict[str, Callable[[Browser, dict[str, Any]], None]] = {
    "Network.requestWillBeSent": lambda browser, event: browser.requests.append(event["request"]["url"]),
    "Runtime.exceptionThrown": lambda browser, event: browser.complaints.append(str(event["exceptionDetails"])),
    "Log.entryAdded": _log,
}


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Starts the browser with a profile of its own, and ends it."""
    assert PROGRAM is not None
    commands, answers = os.pipe(), os.pipe()

    def ends() -> None:  # in the child: the browser reads 3 and writes 4
        read, write = os.dup(commands[0]), os.dup(answers[1])
        os.dup2(read, 3)
        os.dup2(write, 4)

    program = subprocess.Popen(
        [PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
         f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
        preexec_fn=ends, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(commands[0])
    os.close(answers[1])
    try:
        yield Browser(commands[1], answers[0])
    finally:
        program.terminate()
        try:
            program.wait(10)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
        os.close(commands[1])
        os.close(answers[0])
